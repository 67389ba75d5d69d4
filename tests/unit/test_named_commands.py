"""Every command that any text names exists, with its options: J14."""

import re
from pathlib import Path

from django.core.management import get_commands, load_command_class

import tom_auto
from tom_auto.scheduling.cli import ACTIONS

LIBRARY = Path(tom_auto.__file__).resolve().parent
ROOT = LIBRARY.parent
TEMPLATE = ROOT / '{{cookiecutter.project_slug}}'
TEXTS = [
    *LIBRARY.rglob('*.py'),
    *LIBRARY.rglob('*.html'),
    *(ROOT / 'hooks').glob('*.py'),
    *(ROOT / 'docs').glob('*.md'),
    ROOT / 'README.md',
    *(file for file in TEMPLATE.rglob('*') if file.suffix in ('.md', '.toml', '.yaml', '.example')),
]
#: A command as a text has it, or as the code hands it to `typed`; with its words up to the end.
NAMED = [
    re.compile(r'manage\.py(?:"?,)? +"?([a-z]\w+(?:[ ,]+(?:--?)?[\w./-]+)*)'),
    re.compile(r'(?:manage|typed)\((?:[\w.]+, )?f?[\'"]([a-z][^\'"{]*)'),
    re.compile(r'\{\{ \'([a-z][^\']*)\'\|typed'),
]
#: Words after "manage.py" in sentences.
PROSE = re.compile(
    'which|where|the|that|and|is|for|with|in|but|runs|cannot|lib|reads|now|then|help'
)


def commands() -> dict[str, set[Path]]:
    """Every command with its options, and where it is named."""
    found: dict[str, set[Path]] = {}
    for file in TEXTS:
        text = file.read_text(encoding='utf-8')
        for pattern in NAMED:
            for words in pattern.findall(text):
                if not PROSE.fullmatch(words.split()[0].strip(',')):
                    found.setdefault(' '.join(words.split()), set()).add(file)
    return found


def mistake(words: list[str]) -> str:
    """What is wrong with a command, of which the options are known by name only."""
    name, *rest = words
    app = get_commands().get(name)
    if app is None:
        return f'there is no command {name}'
    parser = load_command_class(app, name).create_parser('manage.py', name)
    [*actions] = [action for action in parser._actions if hasattr(action, 'choices')]
    subs = next((a.choices for a in actions if isinstance(a.choices, dict)), {})
    if subs:
        if not rest:
            return ''
        if rest[0] not in subs:
            return f'{name} has no action {rest[0]}'
        parser, rest = subs[rest[0]], rest[1:]
    options = [word for word in rest if word.startswith('-')]
    unknown = [option for option in options if option not in parser._option_string_actions]
    return f'{name} has no option {unknown}' if unknown else ''


def test_every_command_that_a_text_names_exists():
    found = commands()
    assert len(found) > 20
    wrong = {
        words: (told, sorted(file.name for file in files))
        for words, files in found.items()
        if (told := mistake(words.replace(',', ' ').split()))
    }
    assert wrong == {}


def test_and_every_action_of_the_schedule_without_django():
    for file in TEXTS:
        for action in re.findall(r'-m tom_auto\.scheduling ([a-z]+)', file.read_text()):
            assert action in ACTIONS, file
