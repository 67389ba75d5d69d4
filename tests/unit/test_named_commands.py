"""Every command that any text names exists, with its options: J14."""

import re
from contextlib import redirect_stderr, redirect_stdout
from importlib.util import find_spec
from io import StringIO
from pathlib import Path

from django.core.management import CommandError, get_commands, load_command_class

import tom_auto
from tom_auto.scheduling.cli import ACTIONS

LIBRARY = Path(tom_auto.__file__).resolve().parent
ROOT = LIBRARY.parent
TEMPLATE = ROOT / '{{cookiecutter.project_slug}}'
#: Also one whose name has a condition around it.
TEXT = re.compile(r'\.(md|toml|ya?ml|example)\b')
TEXTS = [
    *LIBRARY.rglob('*.py'),
    *LIBRARY.rglob('*.html'),
    *(ROOT / 'hooks').glob('*.py'),
    *(ROOT / 'docs').glob('*.md'),
    ROOT / 'README.md',
    *(file for file in TEMPLATE.rglob('*') if TEXT.search(file.name) and file.is_file()),
]
#: A command as a text has it, or as the code hands it to `typed`; with its words up to the end.
NAMED = [
    re.compile(r'manage\.py(?:"?,)? +"?([a-z]\w+(?:[ ,]+(?:--?)?[\w./-]+)*)'),
    re.compile(r'(?:manage|typed)\((?:[\w.]+, )?f?[\'"]([a-z][^\'"{]*)'),
    re.compile(r'\{\{ \'([a-z][^\']*)\'\|typed'),
]
MODULE = re.compile(r'-m ((?:\{\{[^}]*\}\}|\w+)\.\w+)(?: ([a-z]+))?')
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


#: Named as a part of a command.
PARTS = {'schedule', 'schedule remove --format', 'updatedata --workers'}


def mistake(words: list[str]) -> str:
    """What the command itself has to say against these words; NAME, N and such stand for anything."""
    name, *rest = words
    app = get_commands().get(name)
    if app is None:
        return f'there is no command {name}'
    parser = load_command_class(app, name).create_parser('manage.py', name)
    said = StringIO()
    try:
        with redirect_stderr(said), redirect_stdout(said):
            parser.parse_args(['1' if word.isupper() else word for word in rest])
    except (CommandError, SystemExit) as refusal:
        return f'{refusal} {said.getvalue()}'
    return ''


def test_every_command_that_a_text_names_exists():
    found = commands()
    assert len(found) > 20
    wrong = {
        words: (told, sorted(file.name for file in files))
        for words, files in found.items()
        if words not in PARTS and (told := mistake(words.replace(',', ' ').split()))
    }
    assert wrong == {}


def test_and_every_module():
    """What `python -m` runs, with or without Django, and its actions."""
    for file in TEXTS:
        for module, action in MODULE.findall(file.read_text()):
            assert '{' not in module, (file, module)
            assert find_spec(module), (file, module)
            if module == 'tom_auto.scheduling' and action:
                assert action in ACTIONS, file
