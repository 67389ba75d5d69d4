"""Turns "hourly" into the five fields of cron, and refuses fields that cron would misread.

cron accepts `*/90`, `10-5`, `0~59` or the 31st of February, and then silently does something else than
was meant, or nothing. So this parser is stricter than cron.
"""

import hashlib
import os
import re
import secrets
from typing import NamedTuple

WORDS = ('hourly', 'every 15 minutes', 'every 6 hours', 'daily')
ADVICE = (
    'Write "hourly", "every 15 minutes", "every 6 hours", "daily", or five fields (minute, '
    'hour, day of month, month, day of week) such as "17 * * * *".'
)
ANY = ('*', '*/1')
LONGEST_MONTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class BadExpression(ValueError):
    """A schedule that cron would refuse or misread."""


class Field(NamedTuple):
    """One of the five fields, and the range of its numbers."""

    name: str
    first: int
    last: int


FIELDS = (
    Field('minute', 0, 59),
    Field('hour', 0, 23),
    Field('day of month', 1, 31),
    Field('month', 1, 12),
    Field('day of week', 0, 7),
)


def five_fields(when: object, seed: str, job: str) -> str:
    """`when` as five fields with single spaces between them.

    A word becomes times that depend only on `seed`, which is the project's own, and on `job`. Raises
    BadExpression, also if there is no seed for a word.
    """
    if not isinstance(when, str):
        raise BadExpression(f'it must be text. {ADVICE}')
    words = when.split()
    if ' '.join(words) in WORDS:
        if not seed:
            raise BadExpression(
                'this needs an id at the top of the file, because host and containers know the project '
                f'by different paths. For example: id = "{secrets.token_hex(4)}"'
            )
        return _times_of_its_own(' '.join(words), seed, job)
    if len(words) != len(FIELDS):
        raise BadExpression(f'cron needs five fields, and this has {len(words)}. {ADVICE}')
    numbers = [_numbers(field, text) for field, text in zip(FIELDS, words, strict=True)]
    _refuse_dates_that_never_come(days=numbers[2], months=numbers[3], weekday=words[4])
    _refuse_days_that_are_read_in_two_ways(day=words[2], weekday=words[4])
    return ' '.join(words)


def numbers_of(expression: str) -> list[list[int] | None]:
    """For each field of an expression its numbers in order, or None if it matches any."""
    return [
        None if text in ANY else sorted(_numbers(field, text))
        for field, text in zip(FIELDS, expression.split(), strict=True)
    ]


def _times_of_its_own(word: str, seed: str, job: str) -> str:
    """Spread over the hour and the day, so that TOMs do not all call an observatory at once.

    Never at minute 0, when everyone calls. Never once between 0 and 4 o'clock, because a change of
    clocks skips or repeats some of those hours, and each scheduler has a way of its own with that.
    """
    digest = hashlib.sha256(os.fsencode(seed) + b'\n' + job.encode()).digest()
    one, other = int.from_bytes(digest[:8], 'big'), int.from_bytes(digest[8:16], 'big')
    minute = 1 + one % 59
    quarters = ','.join(map(str, range(1 + one % 14, 60, 15)))
    hours = ','.join(map(str, range(4 + other % 2, 24, 6)))
    return {
        'hourly': f'{minute} * * * *',
        'every 15 minutes': f'{quarters} * * * *',
        'every 6 hours': f'{minute} {hours} * * *',
        'daily': f'{minute} {4 + other % 20} * * *',
    }[word]


def _numbers(field: Field, text: str) -> set[int]:
    return set().union(*(_item(field, item) for item in text.split(',')))


def _item(field: Field, item: str) -> range:
    shape = re.fullmatch(r'(?:(\*)|([0-9]{1,2})(?:-([0-9]{1,2}))?)(?:/([0-9]{1,2}))?', item)
    if not shape:
        raise BadExpression(
            f'"{item}" is not a valid {field.name}. A field has numbers, with , - / and * between '
            f'them. {ADVICE}'
        )
    star, start, end, step = shape.groups()
    if star:
        first, last = field.first, 6 if field.last == 7 else field.last  # Sunday once, not twice
    else:
        first, last = int(start), int(end or start)
    if not field.first <= first <= last <= field.last:
        raise BadExpression(
            f'"{item}" is not a valid {field.name}: use numbers from {field.first} to {field.last}, '
            f'the smaller one first. {ADVICE}'
        )
    if step is not None and first == last:
        raise BadExpression(
            f'"{item}" has a step after one number. Write a range for it, such as '
            f'"{first}-{field.last}/{step}".'
        )
    if step is not None and not 1 <= int(step) <= last - first:
        raise BadExpression(
            f'"{item}" has a step of {int(step)}: from {first} to {last} it must be from 1 to '
            f'{last - first}. {ADVICE}'
        )
    return range(first, last + 1, int(step or 1))


def _refuse_dates_that_never_come(days: set[int], months: set[int], weekday: str) -> None:
    if min(days) > max(LONGEST_MONTHS[month - 1] for month in months):
        so = 'the job would never run' if weekday in ANY else 'only its weekdays would count'
        raise BadExpression(f'there is no such date, so {so}. {ADVICE}')


def _refuse_days_that_are_read_in_two_ways(day: str, weekday: str) -> None:
    """`*/2` beside a weekday: for cron both must match, for Kubernetes one is enough."""
    for one, other in ((day, weekday), (weekday, day)):
        starred = one.startswith('*') and one not in ANY
        if starred and other not in ANY:
            raise BadExpression(
                f'schedulers disagree about "{one}" together with another day field. List its '
                'numbers instead: then the job runs on the days in either field.'
            )
