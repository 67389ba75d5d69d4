"""docs/reference.md and messages.md are made from the code: what it has is all there."""

import sys

import pytest

from tom_auto import errors
from tom_auto.management.endings import BUSY

from .test_house import LIBRARY

sys.path.append(str(LIBRARY.parent / 'tools'))
import messages  # noqa: E402
import reference  # noqa: E402

PAGE = reference.PLACE.read_text(encoding='utf-8')


@pytest.mark.parametrize('maker', [reference, messages])
def test_a_page_is_up_to_date(maker):
    assert maker.page() == maker.PLACE.read_text(encoding='utf-8'), 'run: make reference'


def test_it_has_what_people_look_up():
    """If the page were made of nothing, it would be up to date as well."""
    for words in (
        '| `--target_id ID` | only this target |',
        '| `WORKERS` | `8` | Requests in flight to one host, at most. |',
        f'| {BUSY} | another run of the same command is in progress |',
        '| `waiting_after_failures` |',
        '| storage away |',
        '| `tom_auto.E001` |',
        '| overdue | is overdue |',
    ):
        assert words in PAGE
    assert all(f'\n| {kind} | ' in PAGE for kind in errors._kinds)


def test_every_kind_of_message_is_found():
    """One each, of an error with a type, a wrong usage, a mistake in a file, doctor and a page."""
    said = {one.text for one in messages.all_messages()}
    for words in (
        '… does not answer (…)',
        'There is no facility …. The facilities are: ….',
        '…: …=…. Write true or false.',
        'No worker is running',
        'Only staff may update all observations. The schedule does; each page says when.',
    ):
        assert words in said
