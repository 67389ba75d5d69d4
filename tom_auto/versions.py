"""Which versions a TOM has: of the library, of the template that made it, of the packages they need."""

import tomllib
from importlib import metadata
from pathlib import Path

from django.conf import settings
from packaging.specifiers import SpecifierSet

from . import __version__

#: The packages that the library needs, as pyproject.toml has them: a library that was replaced by
#: hand brings no other list along.
NEEDS = {
    'tomtoolkit': '>=3.1,<3.2',
    'cron-descriptor': '>=2.0,<3',
    'cronsim': '>=2.7,<3',
    'requests': '>=2.32.4,<3',
    'urllib3': '>=2.6.3,<3',
}


def template() -> str:
    """The version of the template that made this TOM or last updated it; empty if none did."""
    try:
        file = (Path(settings.BASE_DIR) / 'pyproject.toml').read_text(encoding='utf-8')
        return str(tomllib.loads(file)['tool']['tom-auto']['template'])
    except (OSError, KeyError, TypeError, ValueError):
        return ''


def words() -> str:
    """The versions, for a person."""
    made = template()
    of_template = f' (template {made})' if made else ''
    return f'tom-auto {__version__}{of_template}, tomtoolkit {metadata.version("tomtoolkit")}'


def lacking() -> list[str]:
    """The packages of NEEDS that are not there, or not in a version that the library works with."""
    return [f'{name}{wanted}' for name, wanted in NEEDS.items() if not _is_there(name, wanted)]


def _is_there(name: str, wanted: str) -> bool:
    try:
        return SpecifierSet(wanted).contains(metadata.version(name), prereleases=True)
    except metadata.PackageNotFoundError:
        return False
