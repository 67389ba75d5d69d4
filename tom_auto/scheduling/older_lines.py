"""Finds the lines of a crontab that run an older command of a project, and what else they do.

A line may make a backup as well, or continue cadences: whoever switches it off switches off that, too.
It may also set the variables without which the TOM would use another database.
"""

import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, takewhile
from pathlib import Path

from . import cron_block
from .cron_expression import BadExpression, five_fields

#: What `schedule init --replace` puts in front of a line.
REPLACED = b'# Replaced by tom-auto: '
#: The commands that `updatedata` replaces.
OLD = r'updatestatus|downloaddata|updatedata'
NAMES = re.compile(rf'(?:^|[\s;&/\'"(])manage\.py[\'"]?\s+({OLD})(?![\w-])')
LINE = re.compile(rb'\s*(@\w+\s+|(?:\S+\s+){5})(.*?)\s*')
#: What only prepares the command behind it, or has to do with how it ended.
PREPARES = re.compile(
    r'(?:cd|pushd|source|\.|export|set|umask|ulimit|sleep|test|\[|true|:|exit'
    r'|module load|workon|(?:conda|mamba|micromamba|pyenv) activate)(?: |$)'
    r'|(?:\w+=\S*(?: |$))+$'
    r'|(?:(?:\d )?[<>&]+ \S+(?: |$))+$'  # where the output of several goes
)
WITHIN = re.compile(r'`|\$\(|[<>]\(')  # another command, as a part of one
#: What is done with the output of such a command, and does nothing without it.
KEEPS_OUTPUT = re.compile(r'(?:tee|logger|systemd-cat|ts|cat|grep|tail)(?: |$)')
VARIABLE = re.compile(r'([A-Za-z_]\w*)=')
#: The variables that make no difference to a TOM, or only find its Python.
HARMLESS = re.compile(r'PATH|SHELL|MAILTO|MAILFROM|HOME|USER|LOGNAME|LANG|LC_\w+|TZ|VIRTUAL_ENV')
#: What activates an environment, and what a shell reads when it starts.
ACTIVATES = re.compile(
    r'(?:.*/)?(?:activate|conda\.sh|mamba\.sh)'
    r'|(?:~|\$HOME|\$\{HOME\}|.*)/\.(?:profile|bashrc|bash_profile|zshrc|kshrc)|/etc/profile'
)
WITH_A_FILE = re.compile(r'(?:.*/)?(envdir|dotenv|direnv|pipenv)|(--env-file)(?:=.*)?')
#: Options of each command of Django.
OPTIONS = {'--settings': 'DJANGO_SETTINGS_MODULE', '--pythonpath': 'PYTHONPATH'}


@dataclass(frozen=True)
class OlderLine:
    """A line of a crontab. `when` is a word of schedule.toml where one has that meaning, or five fields."""

    start: int
    end: int
    text: bytes
    when: str
    commands: tuple[str, ...]  # the older ones
    does_more: bool  # also where that cannot be made out
    gives: tuple[str, ...]  # "sets X", "reads Y": what a new line would not give the command
    readers: tuple[str, ...]  # the programs that get its output


def older_lines(table: bytes, project: Path) -> list[OlderLine]:
    """The lines of `table` that run an older command of this project."""
    block = cron_block.find_block(table, project)
    found = []
    for line in re.finditer(cron_block.LINE, table):
        inside = block and block.start <= line.start() < block.end
        entry = LINE.fullmatch(line.group())
        if inside or entry is None or line.group().lstrip().startswith(b'#'):
            continue
        command = os.fsdecode(entry[2])
        names = tuple(dict.fromkeys(NAMES.findall(command)))
        if names and _is_about(command, project):
            when = _when(os.fsdecode(entry[1]).split())
            gives, readers = tuple(dict.fromkeys(_given(command))), tuple(_readers(command))
            more = bool(gives) or _does_more(command)
            found.append(OlderLine(*line.span(), line.group(), when, names, more, gives, readers))
    return found


def replaced_lines(table: bytes, project: Path) -> list[OlderLine]:
    """The lines of this project that are comments since `schedule init --replace`."""
    lines = [line for line in re.findall(cron_block.LINE, table) if line.startswith(REPLACED)]
    return older_lines(b''.join(line.removeprefix(REPLACED) for line in lines), project)


def _is_about(command: str, project: Path) -> bool:
    """Whether a command names the directory of the project, as a path or by a `cd`."""
    for short in ('~/', '$HOME/', '${HOME}/'):
        command = command.replace(short, f'{Path.home()}/')
    here = re.escape(str(project))
    found = re.search(rf'(?:^|[\s\'"=;&(]){here}(?:/manage\.py)?/?(?=[\s\'";&)]|$)', command)
    return found is not None


def _does_more(command: str) -> bool:
    """Whether a command line does anything but run the older commands."""
    try:
        parts = _parts(command)
    except ValueError:  # a quotation mark without another
        return True
    runs_something = WITHIN.search(command) is not None
    first = next((n for n, (words, _) in enumerate(parts) if NAMES.search(' '.join(words))), 0)
    behind = any(words[0] in ('source', '.') for words, _ in parts[first:])
    return runs_something or behind or not all(_is_replaced(*part) for part in parts)


def _given(command: str) -> Iterator[str]:
    """What a command line gives the older commands: "sets X" for a variable, "reads Y" for a file."""
    parts, last = _up_to_older(command)
    for words, _ in parts[: last + 1]:
        older = next((n for n, word in enumerate(words) if 'manage.py' in word), len(words))
        yield from _given_before(words[:older])
        options = (word.partition('=')[0] for word in words[older:])
        yield from (f'sets {OPTIONS[option]}' for option in options if option in OPTIONS)
        for inner in _inner(words):
            yield from _given(inner)


def _given_before(words: list[str]) -> Iterator[str]:
    """The same, of the words in front of an older command, or of a command before it."""
    for word in words:
        variable, file = VARIABLE.match(word), WITH_A_FILE.fullmatch(word)
        if variable and not HARMLESS.fullmatch(variable[1]):
            yield f'sets {variable[1]}'
        if file:
            yield f'reads a file of variables with {file[1] or file[2]}'
    sourced = words[1] if len(words) > 1 and words[0] in ('source', '.') else ''
    if sourced and not ACTIVATES.fullmatch(sourced):
        yield f'reads {sourced}'


def _readers(command: str) -> Iterator[str]:
    """The programs that get the output of the older commands, beside those that only keep it."""
    parts, last = _up_to_older(command)
    for words, _ in takewhile(lambda part: part[1], parts[last + 1 :]):
        if not KEEPS_OUTPUT.match(' '.join(words)):
            yield words[0]
    for inner in _inner(parts[last][0]) if parts else ():
        yield from _readers(inner)


def _up_to_older(command: str) -> tuple[list[tuple[list[str], bool]], int]:
    """The commands of a line, and the index of the last older one; none if the line is not clear."""
    try:
        parts = _parts(command)
    except ValueError:
        return [], 0
    older = [n for n, (words, _) in enumerate(parts) if NAMES.search(' '.join(words))]
    return parts, max(older, default=0)


def _inner(words: list[str]) -> list[str]:
    """The command lines with older commands that are words of a command: after `sh -c`."""
    return [word for word in words if NAMES.search(word)]


def _parts(command: str) -> list[tuple[list[str], bool]]:
    """The words of each command of a line, and whether it gets the output of the one before it."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
    lexer.whitespace_split, lexer.commenters = True, ''
    parts, piped = [], False
    for separates, words in groupby(lexer, lambda word: re.fullmatch(r'[();|&]+', word)):
        if separates:
            piped = re.search(r'(?<!\|)\|&?$', separates.group()) is not None
        else:
            parts.append((list(words), piped))
    return parts


def _is_replaced(words: list[str], piped: bool) -> bool:
    """Whether a command may go with the older ones: it is one, or is of no use without them."""
    if inner := _inner(words):
        return not any(map(_does_more, inner))
    text = ' '.join(words)
    if piped:
        return KEEPS_OUTPUT.match(text) is not None
    return bool(NAMES.search(text) or PREPARES.match(text))


def _when(fields: list[str]) -> str:
    text = ' '.join(fields)
    words = {'@hourly': 'hourly', '@daily': 'daily', '@midnight': 'daily'}
    if text in words:
        return words[text]
    if re.fullmatch(r'\d+ \* \* \* \*', text):
        return 'hourly'
    try:
        five_fields(text, '', '')
        return text
    except BadExpression:
        return 'hourly'
