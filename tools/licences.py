"""Lists the packages of a generated TOM with their licences, from the locks and what is installed.

TOM_PYTHON tools/licences.py            writes docs/licences.md: `make licences` does
TOM_PYTHON tools/licences.py --check    ends with 1 if that file is out of date
"""

import re
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = ROOT / '{{cookiecutter.project_slug}}'
#: Celery's packages are in the second.
LOCKS = (
    TEMPLATE / 'requirements.txt',
    TEMPLATE / "{% if cookiecutter.task_engine == 'celery' %}requirements-celery.txt{% endif %}",
)
PLACE = ROOT / 'docs' / 'licences.md'
HEAD = """\
# Licences

The code of this repository, and of a generated TOM, is under the [MIT licence](../LICENSE). These are the
packages that a generated TOM installs, with the licences that they name themselves. `make licences` writes this
list from the lock files, with and without Celery.

tomtoolkit is under the GPL, version 3 only. Running a TOM, for your group or for the public, puts no obligation on
you. If you distribute the code of your TOM together with tomtoolkit, for example in a container image, you do so
under the terms of the GPL, version 3.

Bootstrap and Alpine.js (MIT) are among the static files of a generated TOM; their licences lie beside them.

| package | licence |
|---|---|
"""
#: What a licence is called that a package gives by its text alone.
TEXTS = {
    'Permission is hereby granted, free of charge': 'MIT',
    'Redistribution and use in source and binary forms': 'BSD',
    'Apache License': 'Apache',
    'GNU GENERAL PUBLIC LICENSE': 'GPL',
}
LONGEST = 60  # characters: some packages have the whole text in the place of a name


def locked() -> list[str]:
    """The packages of the locks that this machine installs."""
    text = ''.join(lock.read_text() for lock in LOCKS)
    rows = re.findall(r'^([\w.-]+)(?:\[.*?\])?==[^\s;\\]+ *(;[^\\\n]*)?', text, re.M)
    return [name for name, marker in rows if 'win32' not in marker]


def licence(name: str) -> str:
    """What the installed package says of its licence. Raises PackageNotFoundError."""
    said = metadata.metadata(name)
    if expression := said.get('License-Expression'):
        return expression
    classified = [
        line.rpartition(' :: ')[2]
        for line in said.get_all('Classifier') or ()
        if line.startswith('License :: OSI Approved ::')
    ]
    written = ' '.join((said.get('License') or '').split())
    if classified:
        return ', '.join(classified)
    return written if 0 < len(written) <= LONGEST else _by_its_text(name, written)


def _by_its_text(name: str, written: str) -> str:
    files = [file for file in metadata.files(name) or () if 'LICEN' in file.name.upper()]
    text = ' '.join(' '.join([written, *(file.read_text() for file in files)]).split())
    return next((licence for words, licence in TEXTS.items() if words in text), 'see the package')


def page() -> str:
    """The whole list. What another Python or system installs is as it was when it was written there."""
    before = dict(re.findall(r'^\| ([\w.-]+) \| (.+) \|$', PLACE.read_text(), re.M))
    rows = {}
    for name in sorted(set(locked())):
        try:
            rows[name] = licence(name)
        except metadata.PackageNotFoundError:
            rows[name] = before.get(name, 'see the package')
    return HEAD + ''.join(f'| {name} | {said} |\n' for name, said in rows.items())


def main() -> int:
    text = page()
    if '--check' in sys.argv:
        return int(PLACE.read_text(encoding='utf-8') != text)
    PLACE.write_text(text, encoding='utf-8')
    return 0


if __name__ == '__main__':
    sys.exit(main())
