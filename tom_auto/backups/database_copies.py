"""Copies of the whole database: made, proved, and put back; by the database's own means.

SQLite has an interface for backups, PostgreSQL the programs pg_dump, pg_restore and psql.
"""

import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryFile
from typing import IO

from django.db import connection

from ..redact import redact

WAIT = 60  # seconds, for whoever uses the database
LONGEST = 6 * 3600  # seconds that a program of PostgreSQL may take
CONNECT = '10'  # seconds
#: A Ctrl-C in the middle of COMMIT would leave open what has become of that, and one that undoes a
#: restore must not be stopped. `restore` heeds signals between its steps.
UNDISTURBED = {'start_new_session': True}

#: Empties the schema in a transaction: tables that the copy does not know must not stay.
EMPTY = """
BEGIN;
SET LOCAL lock_timeout = '%ds';
SET LOCAL client_min_messages = warning;
DO $$
DECLARE item record;
BEGIN
    FOR item IN
        SELECT relname, nspname, CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'
            WHEN 'f' THEN 'FOREIGN TABLE' WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind
        FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE nspname = '%s' AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
            AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_class.oid AND deptype = 'e')
        ORDER BY relkind = 'S'
    LOOP
        EXECUTE format('DROP %%s IF EXISTS %%I.%%I CASCADE', item.kind, item.nspname, item.relname);
    END LOOP;
END $$;
"""
#: Lines of the list of contents of a copy.
OF_EXTENSION = re.compile(rb' (?:EXTENSION -|COMMENT - EXTENSION) "?([^\s"]+)')
OF_SCHEMA = re.compile(rb'\d+; \d+ \d+ (?:(?:COMMENT|ACL) - )?SCHEMA ')
OF_RIGHTS = re.compile(rb'\d+; \d+ \d+ (?:DEFAULT )?ACL ')
#: From here on what fails is left out, and the transaction goes on; and no longer.
FORGIVING = b'\\set ON_ERROR_STOP 0\n\\set ON_ERROR_ROLLBACK on\n'
STRICT = b'\\set ON_ERROR_STOP 1\nSELECT 1;\n'


class BackupError(Exception):
    """There is no backup, or none can be restored; the text says why and what to do."""


def size() -> int:
    """About how many bytes the database has."""
    question = (
        'SELECT pg_database_size(current_database())'
        if connection.vendor == 'postgresql'
        else 'SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()'
    )
    with connection.cursor() as cursor:
        cursor.execute(question)
        return cursor.fetchone()[0]


def dump(file: Path) -> None:
    """Copy the database into `file`, as it is at one moment; nobody has to stop for it."""
    if _is_sqlite():
        connection.ensure_connection()
        with closing(sqlite3.connect(file)) as copy:
            connection.connection.backup(copy, progress=_patience())
            copy.execute('PRAGMA journal_mode=DELETE')  # all of it in the one file
        return
    wait = f'--lock-wait-timeout={WAIT * 1000}'
    schema = _schema()  # others may belong to other programs. With the usual one go the extensions
    only = [] if schema in ('', 'public') else [f'--schema="{schema}"']
    _run('pg_dump', '--format=custom', '--no-owner', *only, wait, f'--file={file}', *_where())


def prove(file: Path) -> None:
    """Raise BackupError unless all of the copy `file` can be read."""
    if _is_sqlite():
        try:
            with closing(sqlite3.connect(file)) as copy:
                found = copy.execute('PRAGMA integrity_check').fetchone()[0]
        except sqlite3.Error as error:
            found = str(error)
        if found != 'ok':
            raise BackupError(
                f'The copy of the database is damaged: {found}. Is the database itself?'
            )
        return
    _run('pg_restore', '--file=/dev/null', str(file))


def load(file: Path) -> list[str]:
    """Make the database what the copy `file` is, in one transaction: all of it, or nothing.

    Returns which rights of other users of the server could not be given again, as it says that.
    """
    refused: list[str] = []
    try:
        if _is_sqlite():
            connection.close()
            name = str(connection.settings_dict['NAME'])
            with closing(sqlite3.connect(file)) as copy, closing(sqlite3.connect(name)) as live:
                copy.backup(live, progress=_patience())
        else:
            refused = _load_postgresql(file)
    except sqlite3.Error as error:
        raise BackupError(f'The database cannot be restored: {error}. It is as it was.') from error
    return refused


def _is_sqlite() -> bool:
    if connection.vendor not in ('sqlite', 'postgresql'):
        raise BackupError(f'There is no backup of {connection.vendor} here: use its own programs.')
    return connection.vendor == 'sqlite'


def _patience() -> Callable[[int, int, int], None]:
    """Ends SQLite's backup if somebody keeps the database locked: it would go on trying forever."""
    end = time.monotonic() + WAIT

    def look(status: int, remaining: int, total: int) -> None:
        if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) and time.monotonic() > end:
            raise BackupError(
                f'Another program has kept the database locked for {WAIT} seconds. Stop the web '
                'server and the scheduler, and try again.'
            )

    return look


def _extensions() -> set[bytes]:
    """The extensions of the server that this database has, such as q3c."""
    with connection.cursor() as cursor:
        cursor.execute('SELECT extname FROM pg_extension')
        return {name.encode() for (name,) in cursor.fetchall()}


def _schema() -> str:
    """The schema of the tables that this TOM sees; empty if it has none."""
    with connection.cursor() as cursor:
        cursor.execute(
            'SELECT nspname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace '
            "WHERE pg_class.oid = to_regclass('django_migrations')"
        )
        return (cursor.fetchone() or [''])[0]


def _seen() -> list[str]:
    """The schemas in which this TOM looks for its tables, and that are there."""
    with connection.cursor() as cursor:
        cursor.execute('SELECT current_schemas(false)')
        return cursor.fetchone()[0]


def _schema_of(contents: bytes) -> str:
    """The schema of the tables in a copy. Raises BackupError unless they come to where the TOM's are."""
    found = re.search(rb'^\d+; \d+ \d+ TABLE (\S+) django_migrations ', contents, re.MULTILINE)
    if found is None:
        raise BackupError('The copy of the database has no tables of a TOM. Nothing was changed.')
    schema, here = found[1].decode(), _schema()
    if here not in ('', schema):
        raise BackupError(
            f'The tables of the copy are in the schema {schema}, and those of this TOM in {here}. '
            'Nothing was changed.'
        )
    if schema not in _seen():
        raise BackupError(
            f'The tables of the copy are in the schema {schema}, in which this TOM does not look for '
            f'them. Create it (CREATE SCHEMA {schema}), or let DATABASE_URL name it in search_path.'
        )
    return schema


def _contents(file: Path) -> tuple[str, list[bytes], list[bytes]]:
    """The schema of a copy, what is to be restored of it, and the rights in it: lines of its contents.

    Not what lies in another schema, nor a schema itself: EMPTY spares both. Not the extensions that are
    there, nor a comment on one: only who has made one, mostly the server's administrator, may remove it.
    """
    there, rights, others = _extensions(), [], []
    listed = _output('pg_restore', '--list', str(file))
    schema = _schema_of(listed)
    ours = re.compile(rb'\d+; \d+ \d+ [A-Z ]+ (?:-|%s) ' % re.escape(schema.encode()))
    connection.close()
    for line in listed.splitlines(keepends=True):
        extension = OF_EXTENSION.search(line)
        if not ours.match(line) or OF_SCHEMA.match(line):
            continue
        if OF_RIGHTS.match(line):
            rights.append(line)
        elif not extension or extension[1] not in there:
            others.append(line)
    return schema, others, rights


def _load_postgresql(file: Path) -> list[str]:
    """Without the last word, COMMIT, the server takes nothing: also where this process is killed.

    The rights come last. Another server may lack the users who had them: then those alone are left out.
    """
    schema, contents, rights = _contents(file)
    psql = ('psql', '--no-psqlrc', '--quiet', '--set=ON_ERROR_STOP=1', *_where())
    with TemporaryFile() as said, TemporaryFile() as complaint:
        writer = _start(
            *psql, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said, **UNDISTURBED
        )
        programs = [(writer, said)]
        with writer, suppress(BrokenPipeError):  # it says why it ended
            writer.stdin.write((EMPTY % (WAIT, schema.replace("'", "''"))).encode())
            programs.append((_write_script(file, contents, writer.stdin, complaint), complaint))
            writer.stdin.write(FORGIVING)
            programs.append((_write_script(file, rights, writer.stdin, complaint), complaint))
            if not any(program.returncode for program, _ in programs):
                writer.stdin.write(STRICT + b'COMMIT;\n')
            writer.stdin.close()
        for program, errors in programs:
            if program.returncode:
                raise BackupError(f'{_reason(program, errors)} The database is as it was.')
        said.seek(0)
        lines = said.read().decode(errors='replace').splitlines()
    return [redact(line) for line in lines if line.startswith('ERROR')]


def _write_script(
    file: Path, contents: list[bytes], to: IO[bytes], complaint: IO[bytes]
) -> subprocess.Popen[bytes]:
    """Have `pg_restore` write the script that restores these `contents`; the program, at its end."""
    with NamedTemporaryFile() as wanted:
        wanted.writelines(contents)
        wanted.flush()
        options = ('--clean', '--if-exists', '--no-owner', f'--use-list={wanted.name}')
        pg_restore = 'pg_restore', *options, '--file=-', str(file)
        reader = _start(*pg_restore, stdout=subprocess.PIPE, stderr=complaint, **UNDISTURBED)
        with reader:
            shutil.copyfileobj(reader.stdout, to)
            reader.stdout.close()
            reader.wait(WAIT)
    return reader


def _where() -> tuple[str, ...]:
    """The options by which the programs find the database; its password is in no command line."""
    return tuple(connection.client.settings_to_cmd_args_env(connection.settings_dict, [])[0][1:])


def _options() -> dict[str, str]:
    """What the settings ask of a connection, a schema for example, as variables of these programs.

    They have one for nearly each option, and ignore all others. Of Django they get only a few.
    """
    options = connection.settings_dict['OPTIONS'].items()
    return {f'PG{name.replace("_", "").upper()}': str(value) for name, value in options}


def _start(*command: str, **pipes: int | bool | IO[bytes]) -> subprocess.Popen[bytes]:
    _, secrets = connection.client.settings_to_cmd_args_env(connection.settings_dict, [])
    # Those of a conda environment lie beside its Python, and cron knows nothing of it.
    path = os.pathsep.join([os.environ.get('PATH', os.defpath), str(Path(sys.executable).parent)])
    ours = {'PATH': path, 'PGCONNECT_TIMEOUT': CONNECT}
    environment = os.environ | ours | _options() | (secrets or {})
    try:
        return subprocess.Popen(command, **{'stdin': subprocess.DEVNULL} | pipes, env=environment)
    except FileNotFoundError:
        raise BackupError(
            f'{command[0]} is not installed. Install the client programs of PostgreSQL, of the version '
            'of the server or a newer one (on Debian: postgresql-client).'
        ) from None


def _run(*command: str) -> None:
    """Run a program of PostgreSQL to its end. Raises BackupError with what it says."""
    _output(*command)


def _output(*command: str) -> bytes:
    """The same, and what it has printed."""
    with TemporaryFile() as said, TemporaryFile() as printed:
        process = _start(*command, stdout=printed, stderr=said)
        with process:
            try:
                process.wait(LONGEST)
            except BaseException:  # SIGTERM, Ctrl-C, or too long
                process.kill()
                raise
        if process.returncode:
            raise BackupError(_reason(process, said))
        printed.seek(0)
        return printed.read()


def _reason(program: subprocess.Popen[bytes], said: IO[bytes]) -> str:
    said.seek(0)
    lines = said.read().decode(errors='replace').strip().splitlines() or ['without a word']
    return redact(f'{program.args[0]} ended with status {program.returncode}: {lines[0]}.')
