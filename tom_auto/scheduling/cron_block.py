"""Finds and replaces a project's marked block in a crontab, and touches nothing else.

A block is the lines from `# >>> tom-auto SLUG PATH >>>` to `# <<< tom-auto SLUG PATH <<<`. It
belongs to the project in the directory PATH.
"""

import os
import re
from pathlib import Path
from typing import NamedTuple

from .cron_line import quoted
from .definition import ScheduleError
from .interpreter import COMPOSE_FILE
from .moved import is_gone, is_of

NOTE = b'# From schedule.toml. Change it there, then install it again: README.md says how.\n'
#: Written before the block if the table had no newline at its end, so that `remove` can undo it.
NO_NEWLINE = b'# (The line above had no newline at its end. This goes with the block below.)\n'
LINE = re.compile(rb'[^\n]*\n|[^\n]+')  # splitlines() would also cut at a carriage return
MARKER = re.compile(rb'\s*# (>>>|<<<) tom-auto \S+ (.+) \1\s*')


class Block(NamedTuple):
    """A block in a table: its bytes are `table[start:end]`."""

    start: int
    end: int
    path: bytes


class _Marker(NamedTuple):
    line: int
    start: int
    end: int
    opens: bool
    path: bytes


def find_block(table: bytes, project: Path) -> Block | None:
    """The block of the project in `table`, or None.

    If none has its path, a block whose path leads or led to it is its own: the project was moved.
    Raises ScheduleError if the markers are damaged, so that the end of the block is unknown.
    """
    markers = _markers(table)
    paths = dict.fromkeys(marker.path for marker in markers)
    here = os.fsencode(project)
    own = [here] if here in paths else [path for path in paths if is_of(project, path)]
    return _pair(markers, own[0]) if own else None


def abandoned(table: bytes, project: Path) -> dict[int, bytes]:
    """The paths of other projects' blocks whose project is gone, by line number."""
    return {
        marker.line: marker.path
        for marker in _markers(table)
        if marker.opens and is_gone(marker.path) and not is_of(project, marker.path)
    }


def _markers(table: bytes) -> list[_Marker]:
    return [
        _Marker(number, *line.span(), marker[1] == b'>>>', marker[2])
        for number, line in enumerate(re.finditer(LINE, table), start=1)
        if (marker := MARKER.fullmatch(line.group()))
    ]


def _pair(markers: list[_Marker], path: bytes) -> Block:
    """The one block among the markers that has this path."""
    where = [index for index, marker in enumerate(markers) if marker.path == path]
    first, last = where[0], where[-1]
    whole = len(where) == 2 and last == first + 1  # no other marker may be in between
    if not whole or [markers[first].opens, markers[last].opens] != [True, False]:
        lines = ', '.join(str(markers[index].line) for index in where)
        raise ScheduleError(
            f'The marker lines of this project in your crontab are damaged (line {lines}). There '
            'must be one "# >>> tom-auto …" and after it one "# <<< tom-auto …". Nothing was '
            'changed. Fix them with `crontab -e`, or delete the lines of the project, then run '
            'this again.'
        )
    return Block(markers[first].start, markers[last].end, path)


def with_block(
    table: bytes, project: Path, slug: str, lines: list[bytes], old: Block | None
) -> bytes:
    """`table` with `lines` as the project's block, in place of `old` or at the end."""
    if old:
        return table[: old.start] + _block(project, slug, lines) + _after(table, old)
    if table and not table.endswith(b'\n'):
        table += b'\n' + NO_NEWLINE
    return table + _block(project, slug, lines)


def without_block(table: bytes, old: Block) -> bytes:
    """`table` as it was before the block `old` was put in."""
    before, after = table[: old.start], _after(table, old)
    if before.endswith(b'\n' + NO_NEWLINE) and not MARKER.match(after):
        before = before.removesuffix(NO_NEWLINE if after else b'\n' + NO_NEWLINE)
    return before + after


def _block(project: Path, slug: str, lines: list[bytes]) -> bytes:
    name = b'tom-auto ' + slug.encode() + b' ' + os.fsencode(project)
    inside = b''.join(line + b'\n' for line in lines)
    return b'# >>> ' + name + b' >>>\n' + NOTE + inside + b'# <<< ' + name + b' <<<\n'


def _after(table: bytes, block: Block) -> bytes:
    """What follows the block, after any foreign lines that were put inside it by hand."""
    ours = _names_of(block.path)
    inside = re.findall(LINE, table[block.start : block.end])[1:-1]
    known = (NOTE.strip(), *ours)
    strays = [line for line in inside if not any(name in line for name in known)]
    return b''.join(strays) + table[block.end :]


def _names_of(path: bytes) -> tuple[bytes, ...]:
    """What a line contains if it runs a job of the project in the directory `path`."""
    return (
        quoted(os.path.join(path, b'manage.py')),  # noqa: PTH118
        quoted(os.path.join(path, COMPOSE_FILE.encode())) + b' exec -T ',  # noqa: PTH118
    )


def copies_outside(table: bytes, block: Block | None, lines: list[bytes]) -> dict[int, bytes]:
    """The `lines` that are outside the block, by line number: somebody copied them by hand."""
    if block:  # blank it, so that the lines after it keep their numbers
        rest = b'\n' * table.count(b'\n', block.start, block.end)
        table = table[: block.start] + rest + table[block.end :]
    rows = enumerate(table.split(b'\n'), start=1)
    return {number: row.strip() for number, row in rows if row.strip() in lines}


def all_copied(table: bytes, lines: list[bytes]) -> bool:
    """Whether somebody copied all `lines` by hand into a table that has no block."""
    return set(copies_outside(table, None, lines).values()) == set(lines) != set()


def refuse_what_cannot_be_kept(table: bytes) -> None:
    r"""Raise ScheduleError if somebody else's line may not be what it looks like.

    Debian's `crontab -l` shows a carriage return as `\r`, and writing that back would change the line.
    The lines of a TOM are safe: in them it can only be part of a path.
    """
    names = [name for marker in _markers(table) for name in _names_of(marker.path)]
    for number, line in enumerate(table.split(b'\n'), start=1):
        if b'\\r' in line and not MARKER.match(line) and not any(name in line for name in names):
            raise ScheduleError(
                f'Line {number} of your crontab has a carriage return, or a backslash and an r. '
                'crontab shows both in the same way, so the line might be damaged. Nothing was '
                'changed. Remove it with `crontab -e`, then run this again.'
            )
