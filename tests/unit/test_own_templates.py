"""What a generated TOM puts in the place of tomtoolkit's own templates and files still fits them."""

import re
from pathlib import Path

import django_bootstrap5.core
import pytest
import tom_common

import tom_auto

from .conftest import TEMPLATE

LIBRARY = Path(tom_auto.__file__).parent

THEIRS = Path(tom_common.__file__).parent / 'templates' / 'tom_common' / 'base.html'


def lines(text: str) -> set[str]:
    return {line.strip() for line in text.splitlines()}


def test_the_base_template_is_tomtoolkits_but_for_what_is_meant_to_differ():
    ours = (TEMPLATE / 'templates' / 'tom_common' / 'base.html').read_text()
    missing = lines(THEIRS.read_text()) - lines(ours)
    assert sorted(re.sub(r'class="\S+?"', '', line)[:45] for line in missing) == [
        '<!-- Loading AlpineJS from a CDN For now, tod',
        '<a  href="{% url \'home\' %}"><img src="{% stat',
        '<html lang="en">',
        '<script defer src="https://cdn.jsdelivr.net/n',
    ], 'tomtoolkit has another base template: copy it anew'


@pytest.mark.parametrize(
    ('kind', 'name'),
    [('css_url', 'bootstrap.min.css'), ('javascript_url', 'bootstrap.bundle.min.js')],
)
def test_bootstrap_is_the_version_that_django_bootstrap5_means(kind, name):
    [version] = re.findall(
        r'bootstrap@([\d.]+)/', django_bootstrap5.core.BOOTSTRAP5_DEFAULTS[kind]['url']
    )
    vendor = TEMPLATE / 'static' / 'vendor'
    assert f'v{version} ' in (vendor / name).read_text(encoding='utf-8')[:200]
    assert f'| {version} |' in (vendor / 'README.md').read_text(encoding='utf-8')


def test_no_page_of_the_automation_holds_a_script():
    for file in (LIBRARY / 'templates').rglob('*.html'):
        text = file.read_text(encoding='utf-8')
        assert '<script' not in text or file.name == 'head.html', file
