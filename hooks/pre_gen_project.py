"""Refuses what would make a project that does not work, or spoil one, before anything is written.

Cookiecutter renders this file and runs it with its own Python, which may be older than the project's:
nothing here needs more than Python 3.9. tests/template/test_pre_gen.py has the table of what is refused,
and keeps the lists below complete.
"""

from __future__ import annotations

import json
import keyword
import re
import shutil
import sys
import unicodedata
from pathlib import Path

# JSON in a raw string: values may contain quotes and backslashes.
ANSWERS = json.loads(r""" {{ cookiecutter | tojson }} """)

LONGEST_SLUG = 40

#: The files and directories of the project that its package would replace or hide, and the
#: names that Python and Django give to something else.
OWN_NAMES = """
    app conftest data deploy docs local_settings logs manage static templates tests
    tom_auto tomtoolkit
"""

#: The top-level modules of Python 3.11 to 3.13 that a package of the project would hide.
PYTHON_MODULES = """
    abc aifc antigravity argparse array ast asynchat asyncio asyncore atexit audioop base64
    bdb binascii bisect builtins bz2 calendar cgi cgitb chunk cmath cmd code codecs codeop
    collections colorsys compileall concurrent configparser contextlib contextvars copy
    copyreg crypt csv ctypes curses dataclasses datetime dbm decimal difflib dis distutils
    doctest email encodings ensurepip enum errno faulthandler fcntl filecmp fileinput
    fnmatch fractions ftplib functools gc genericpath getopt getpass gettext glob graphlib
    grp gzip hashlib heapq hmac html http idlelib imaplib imghdr imp importlib inspect io
    ipaddress itertools json keyword lib2to3 linecache locale logging lzma mailbox mailcap
    marshal math mimetypes mmap modulefinder msilib msvcrt multiprocessing netrc nis nntplib
    nt ntpath nturl2path numbers opcode operator optparse os ossaudiodev pathlib pdb pickle
    pickletools pipes pkgutil platform plistlib poplib posix posixpath pprint profile pstats
    pty pwd py_compile pyclbr pydoc pydoc_data pyexpat queue quopri random re readline
    reprlib resource rlcompleter runpy sched secrets select selectors shelve shlex shutil
    signal site smtpd smtplib sndhdr socket socketserver spwd sqlite3 sre_compile sre_constants
    sre_parse ssl stat statistics string stringprep struct subprocess sunau symtable sys
    sysconfig syslog tabnanny tarfile telnetlib tempfile termios test textwrap this threading
    time timeit tkinter token tokenize tomllib trace traceback tracemalloc tty turtle
    turtledemo types typing unicodedata unittest urllib uu uuid venv warnings wave weakref
    webbrowser winreg winsound wsgiref xdrlib xml xmlrpc zipapp zipfile zipimport zlib
    zoneinfo
"""

#: The import names of the packages in requirements.txt and requirements-dev.txt,
#: and those of Celery.
LOCKED_PACKAGES = """
    aiosmtpd alerce allauth apscheduler asdf asdf_astropy asdf_coordinates_schemas asdf_standard
    asdf_transform_schemas asdf_wcs_schemas asgiref astroplan astropy astropy_iers_data
    astroquery asttokens attr attrs backports bs4 certifi cffi charset_normalizer colorama
    contourpy crispy_bootstrap5 crispy_forms cron_descriptor cronsim
    cryptography cycler dateutil dj_database_url django django_bootstrap5 django_comments
    django_extensions django_filters django_gravatar django_htmx django_stubs_ext django_tables2
    django_tasks dotenv erfa executing fido2 fits2image guardian gunicorn gwcs html5lib idna
    importlib_metadata importlib_resources iniconfig ipython_pygments_lexers jaraco jedi jeepney
    jmespath jupyterlab_plotly keyring kiwisolver lazy_importer markdown matplotlib
    matplotlib_inline more_itertools mpl_toolkits ndcube numpy packaging pandas parso pexpect
    plotly pluggy prompt_toolkit psutil psycopg psycopg_binary ptyprocess public
    pure_eval pycparser pygments pylab pyparsing pytest pytest_django pytz pyvo qrcode requests
    rest_framework ruff scipy secretstorage semantic_version six soupsieve specutils sqlparse
    stack_data tenacity traitlets typing_extensions tzdata tzlocal urllib3 wcwidth webencodings
    whitenoise win32 win32com yaml zipp
    amqp async_timeout billiard boto3 botocore celery click click_didyoumean click_plugins
    click_repl kombu redis s3transfer storages vine
"""

#: What installs packages, and what the packages import if it happens to be installed.
IMPORTED_IF_THERE = """
    bottleneck brotli brotlicffi cchardet chardet cython dask h2 h5py hypothesis ipython
    jinja2 jsonschema lxml mock numba numexpr openpyxl orjson pil pip pkg_resources pyarrow
    setproctitle setuptools simplejson socks sqlalchemy tables tornado tqdm ujson uvloop wheel
    xarray zstandard
"""

#: The keywords of Python 3.9 to 3.13, whichever of them runs this.
KEYWORDS = ' '.join([*keyword.kwlist, 'case', 'match', 'type'])


def wrong_with_name(name: str) -> str | None:
    """Why `name` cannot be the name of the TOM, or None if it can."""
    if not name.strip():
        return 'it is empty, but the name is shown on every page'
    if any(unicodedata.category(letter) in {'Cc', 'Cs', 'Zl', 'Zp'} for letter in name):
        return 'it contains a line break or another control character, but must be one line of text'
    if any('{' + mark in name for mark in '%#{'):
        return 'Cookiecutter reads two braces in a row, {' + '% and {' + '# as instructions'
    return None


def wrong_with_slug(slug: str) -> str | None:
    """Why `slug` cannot be the name of the package and the directory, or None if it can."""
    if '___' in slug or slug.endswith('_'):
        return 'Docker allows neither three _ in a row nor one at the end in the name of an image'
    if not re.fullmatch(r'[a-z][a-z0-9_]*', slug):
        return (
            'it must start with a lower case letter from a to z, followed only by such letters, '
            'digits and _'
        )
    if len(slug) > LONGEST_SLUG:
        return f'it has {len(slug)} characters, but at most {LONGEST_SLUG} are allowed'
    if slug.startswith('tom_'):
        return "names that begin with tom_ are reserved for tomtoolkit's own packages"
    for names, what in (
        (KEYWORDS, 'a word of the Python language'),
        (PYTHON_MODULES, 'a module of Python itself, which the TOM could no longer import'),
        (LOCKED_PACKAGES, 'a package that the TOM needs and could no longer import'),
        (IMPORTED_IF_THERE, 'a package that another one imports if it is there, and finds the TOM'),
        (OWN_NAMES, 'taken by something else in every TOM'),
    ):
        if slug in names.split():
            return f'that is {what}'
    return None


def slug_that_passes(slug: str) -> str:
    """A slug similar to `slug` that would be accepted."""
    plain = re.sub(r'[^a-z0-9]+', '_', slug.lower()).strip('_')
    if not wrong_with_slug(plain):
        return plain
    near = ('my_' + (plain or 'tom'))[:LONGEST_SLUG].rstrip('_')
    return 'my_tom' if wrong_with_slug(near) else near


def refusals(answers: dict[str, str]) -> list[str]:
    """A message for each answer that cannot be used."""
    name, slug = answers['project_name'], answers['project_slug']
    environment, crontab = answers.get('environment', 'virtualenv'), answers.get('crontab', 'print')
    database = answers.get('database', 'sqlite')
    without_sqlite = wrong_with_sqlite(answers.get('task_engine', 'none'), environment)
    reasons = (
        ('project_name', name, wrong_with_name(name), 'My TOM'),
        ('project_slug', slug, wrong_with_slug(slug), slug_that_passes(slug)),
        ('database', database, database == 'sqlite' and without_sqlite, 'postgresql'),
        ('crontab', crontab, crontab == 'install' and wrong_with_crontab(environment), 'print'),
    )
    return [
        f'{answer} = {json.dumps(value, ensure_ascii=False)} cannot be used: {reason}.\n'
        f'    For example: {answer} = "{example}"'
        for answer, value, reason, example in reasons
        if reason
    ]


def wrong_with_sqlite(engine: str, environment: str) -> str | None:
    """Why SQLite cannot be the database, or None if it can."""
    if environment == 'kubernetes':
        return (
            'the pods of a cluster need one database that all of them reach, and several pods cannot share '
            'a file of SQLite'
        )
    if engine == 'celery':
        return (
            'workers on many machines need one database that all of them reach, and SQLite is a file of '
            'one machine'
        )
    return None


def wrong_with_crontab(environment: str) -> str | None:
    """Why no crontab line can be installed, or None if one can."""
    if environment == 'kubernetes':
        return 'in a cluster no crontab starts the jobs: deploy/ has what does'
    return None


def living(project: Path) -> str:
    """Why nothing may be written into the directory of the project; empty if it may.

    Only a project that is in use has a `.env`. Cookiecutter with `-f` would write over its settings
    and its schedule.
    """
    if not (project / '.env').exists():
        return ''
    return (
        f'{project} is a TOM that is in use: it has a file .env. Its settings and its schedule would be '
        'overwritten.\n    For a newer library or newer packages, see "Updates" in its README.md. '
        'For another TOM, choose another project_slug, or another directory with -o.'
    )


def clear_library(library: Path) -> None:
    """Remove the library of a former bake, as Cookiecutter does, which then copies it anew.

    A zip archive of the template has a small file in the place of the library, and Cookiecutter
    would fail to write that over a directory.
    """
    if library.is_dir() and not library.is_symlink():
        shutil.rmtree(library)


def main() -> int:
    """Refuse, and say what to do instead; or say nothing."""
    refused = refusals(ANSWERS) or [*filter(None, [living(Path.cwd())])]
    closing = ['No project was made. What follows is how Cookiecutter stops:'] if refused else []
    for text in refused + closing:
        # A lone surrogate or a narrow terminal encoding must not become a traceback.
        sys.stderr.buffer.write((text + '\n').encode(sys.stderr.encoding, 'backslashreplace'))
    sys.stderr.flush()
    if refused:
        return 1
    clear_library(Path.cwd() / 'tom_auto')
    return 0


if __name__ == '__main__':
    sys.exit(main())
