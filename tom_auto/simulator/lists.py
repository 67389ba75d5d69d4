"""Filters and pages of the lists, as Django REST framework makes them for portal and archive."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from .messages import Call

Row = TypeVar('Row')
Filter = Callable[[Row, list[str]], bool]


class BadFilter(Exception):
    """A filter was given a value that it cannot use: 400, with this for a body."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f'{name}: {reason}')
        self.body = {name: [reason]}


def narrow(
    rows: Sequence[Row], query: Mapping[str, list[str]], filters: Mapping[str, Filter[Row]]
) -> list[Row]:
    """The rows that pass every filter of `query`.

    Measured: a name that is no filter is ignored in silence, and all rows come back.
    """
    kept = list(rows)
    for name in query.keys() & filters.keys():
        try:
            kept = [row for row in kept if filters[name](row, query[name])]
        except ValueError as error:
            raise BadFilter(name, str(error)) from error
    return kept


def number(values: list[str]) -> float:
    """The last of `values` as a number."""
    try:
        return float(values[-1])
    except ValueError:
        raise ValueError('Enter a number.') from None


def moment(values: list[str]) -> datetime:
    """The last of `values` as a time, in UTC unless it says otherwise."""
    try:
        time = datetime.fromisoformat(values[-1])
    except ValueError:
        raise ValueError('Enter a valid date/time.') from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def choices(values: list[str], allowed: Sequence[str]) -> list[str]:
    """`values`, all of them among `allowed`."""
    for value in values:
        if value not in allowed:
            raise ValueError(f'Select a valid choice. {value} is not one of the available choices.')
    return values


def stamp(time: datetime) -> str:
    """A time as JSON has it: 2026-09-12T10:00:00Z."""
    return time.astimezone(UTC).isoformat().replace('+00:00', 'Z')


def page(
    rows: Sequence[Row],
    call: Call,
    show: Callable[[Row], dict[str, Any]],
    *,
    default: int,
    maximum: int | None = None,
    count: int | None = None,
) -> dict[str, Any]:
    """One page of `rows`, with links to its neighbours.

    A limit above `maximum` is reduced to it. `count`, if given, is believed instead of the length
    of `rows`, also for whether there is a next page.
    """
    limit = _whole(call, 'limit') or default
    limit = min(limit, maximum) if maximum else limit
    start = _whole(call, 'offset') or 0
    count = len(rows) if count is None else count
    after = with_query(call.url, limit=limit, offset=start + limit)
    before = with_query(call.url, limit=limit, offset=max(start - limit, 0))
    return {
        'count': count,
        'next': after if start + limit < count else None,
        'previous': before if start else None,
        'results': [show(row) for row in rows[start : start + limit]],
    }


def with_query(url: str, **parameters: object) -> str:
    """`url` with these parameters in the place of its own of the same names."""
    parts = urlsplit(url)
    kept = [(name, value) for name, value in parse_qsl(parts.query) if name not in parameters]
    return urlunsplit(parts._replace(query=urlencode([*kept, *parameters.items()])))


def _whole(call: Call, name: str) -> int | None:
    """A parameter that should be a whole number; anything else counts as not given."""
    text = call.query.get(name, [''])[-1]
    return int(text) if text.isdecimal() else None
