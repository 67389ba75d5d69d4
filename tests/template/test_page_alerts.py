"""The first minutes of a newcomer, and the page of alerts, in a real Chromium: wide, on a phone, light, dark."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from browser import served
from page_windows import (
    PHONE,
    WIDE,
    Mails,
    answer,
    came,
    show,
    windows,
)
from test_page_browser import assert_it_fits, violations

pytestmark = pytest.mark.xdist_group('browser')


def is_fine(page: Page) -> None:
    """It fits, and passes axe, wide and on a phone."""
    for viewport in (WIDE, PHONE):
        page.set_viewport_size(viewport)
        assert_it_fits(page)
        assert violations(page) == [], (page.url, viewport)


@pytest.mark.parametrize('look', ['', 'dark'])  # the light one has no name
def test_from_the_first_page_to_a_muted_facility(
    look: str,
    scene: Callable,
    tom: Path,
    chrome: Browser,
    observatory: dict[str, str],
    mails: Mails,
) -> None:
    """No other server is asked: `windows` sees to that."""
    variables, subjects = mails
    until = datetime.now(UTC).date() + timedelta(days=30)
    server = served(tom, workers=1, LOOK=look, **observatory, **variables)
    with server as url, windows(chrome, url) as window:
        scene('fresh')  # with its users
        page = window('admin')
        for story in ('fresh', 'by_hand'):
            scene(story)
            show(page, f'{url}/automation/')
            assert answer(page) == 'updatedata has never been run by the schedule.'
            is_fine(page)
        scene('failing')
        show(page, f'{url}/automation/')
        assert answer(page).startswith('updatedata has been failing')
        page.click('text=alerts and what is muted')
        page.wait_for_url(f'{url}/automation/alerts/')
        is_fine(page)
        page.click('text=Send a test message')
        expect(page.locator('#told ~ div td').nth(4)).to_have_text('yes')
        # The web server may just have told of the failure as well: it looks every few minutes.
        assert len([one for one in came(subjects, within=3) if 'test message' in one]) == 1
        page.select_option('[name=facility]', 'SOAR')
        page.fill('[name=until]', str(until))
        page.fill('[name=why]', 'the dome is closed')
        page.click('button:text-is("Mute")')
        muted = page.locator('form:has(button:text-is("Unmute"))')
        expect(muted).to_contain_text(f'SOAR until {until}, by admin: the dome is closed')
        is_fine(page)
        assert 'SOAR' not in answer(show(page, f'{url}/automation/'))
        show(page, f'{url}/automation/alerts/').click('[aria-label="Unmute SOAR"]')
        expect(muted).to_have_count(0)
        assert 'SOAR' in answer(show(page, f'{url}/automation/'))
