"""The README lists every option and setting, and no others."""

import json
from dataclasses import fields
from datetime import timedelta

import pytest
from django.core.management import load_command_class

from tom_auto.conf import Automation

from .conftest import TEMPLATE
from .test_house import LIBRARY

README = (TEMPLATE / 'README.md').read_text(encoding='utf-8')
OPTIONS = (LIBRARY / 'README.md').read_text(encoding='utf-8')
#: Where the options of a command are: these are off in a new TOM.
ELSEWHERE = {
    'updatetargets': 'targets',
    'updatecadences': 'targets',
    'findrequests': 'targets',
    'auditdata': 'audit',
}
DJANGO = {
    '--help', '--version', '--verbosity', '--settings', '--pythonpath', '--traceback',
    '--no-color', '--force-color', '--skip-checks',
}  # fmt: skip


def flags(command: str) -> set[str]:
    """The long options of `command`, apart from those of every Django command."""
    parser = load_command_class('tom_auto', command).create_parser('manage.py', command)
    found = {name for action in parser._actions for name in action.option_strings}
    return {name for name in found if name.startswith('--')} - DJANGO


@pytest.mark.parametrize(
    'command', ['updatedata', 'updatetargets', 'updatecadences', 'findrequests', 'auditdata']
)
def test_every_option_of_a_command_is_in_the_readme(command):
    place = ELSEWHERE.get(command)
    its = (LIBRARY / place / 'README.md').read_text(encoding='utf-8') if place else README
    section = its.split(f'## `{command}`')[1].split('\n## ')[0]
    for flag in flags(command):
        assert f'| `{flag}' in section


def actions_of_schedule() -> dict[str, set[str]]:
    """The actions of `manage.py schedule`, and the options of each."""
    parser = load_command_class('tom_auto', 'schedule').create_parser('manage.py', 'schedule')
    [actions] = [action for action in parser._actions if action.dest == 'action']
    return {
        name: {flag for action in sub._actions for flag in action.option_strings}
        for name, sub in actions.choices.items()
    }


@pytest.mark.parametrize(('action', 'options'), actions_of_schedule().items())
def test_every_action_of_schedule_is_in_the_readme(action, options):
    [row] = [line for line in README.splitlines() if line.startswith(f'| `schedule {action}`')]
    for option in options - DJANGO - {'-h', '-v'}:
        assert option in row


@pytest.mark.parametrize('option', fields(Automation), ids=lambda option: option.name)
def test_every_setting_of_the_automation_is_in_the_readme(option):
    default = getattr(Automation(), option.name)
    shown = f'{default.days} days' if isinstance(default, timedelta) else str(default) or 'empty'
    assert f'| `{option.name}` | {shown} |' in OPTIONS


def test_the_readme_names_no_setting_that_does_not_exist():
    table = OPTIONS.split('`TOM_AUTO = {…}`')[1].split('\n\n')[1]
    named = {line.split('`')[1] for line in table.splitlines() if line.startswith('| `')}
    assert named == {option.name for option in fields(Automation)}


@pytest.mark.parametrize(
    'words', ['## Backup', '## Updates', '## Add your own', 'observatory', 'command', 'page']
)
def test_h8_what_people_add_and_keep_has_its_place(words):
    section = README.partition('\n## Add your own\n')[2].partition('\n## ')[0]
    assert words in (README if words.startswith('##') else section)


def test_h11_how_to_start_comes_before_how_fast_it_is():
    text = (LIBRARY.parent / 'README.md').read_text(encoding='utf-8')
    order = ['cookiecutter gh:', '## An existing TOM', '## How fast it is']
    places = [text.index(words) for words in order]
    assert places == sorted(places)
    questions = json.loads((LIBRARY.parent / 'cookiecutter.json').read_text(encoding='utf-8'))
    assert 'cron' in questions['__prompts__']['schedule']
