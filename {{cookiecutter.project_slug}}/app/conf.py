"""The options of the automation: `AUTOMATION = {…}` in the settings, each with a default."""

from dataclasses import Field, dataclass, fields
from datetime import timedelta

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

MAY_BE_ZERO = ('RETRIES', 'RETRY_WAIT')


@dataclass(frozen=True)
class Automation:
    """What `AUTOMATION` may say. Times are in seconds where nothing else is named."""

    #: Requests in flight to one facility at most.
    WORKERS: int = 8
    #: A run starts no new work after this, and ends soon after.
    DEADLINE: float = 3000
    #: How long a terminal record is still asked for frames, which may arrive days late.
    DATA_WINDOW: timedelta = timedelta(days=7)
    #: The longest wait for a connection.
    CONNECT_TIMEOUT: float = 10
    #: The longest silence in the middle of an answer.
    READ_TIMEOUT: float = 60
    #: The longest that one answer or one file may take as a whole, however steadily it drips.
    TRANSFER_TIMEOUT: float = 1800
    #: How often one request is repeated, within a run, after a fault that may pass.
    RETRIES: int = 2
    #: The wait before the first repetition; it doubles with each.
    RETRY_WAIT: float = 0.5
    #: The longest that an observatory's Retry-After may hold up one request.
    RETRY_AFTER_MAX: float = 60
    #: How long the history of runs is kept.
    KEEP_RUNS: timedelta = timedelta(days=90)


def automation() -> Automation:
    """The options in force; raises ImproperlyConfigured, naming each mistake, where one is bad."""
    options = getattr(settings, 'AUTOMATION', {})
    found = mistakes(options)
    if found:
        raise ImproperlyConfigured(' '.join(message for message, _ in found))
    return Automation(**options)


def mistakes(options: object) -> list[tuple[str, str]]:
    """What is wrong with `options`, a message and a hint each; an empty list where nothing is."""
    if not isinstance(options, dict):
        return [('AUTOMATION is not a dictionary.', "For example: AUTOMATION = {'WORKERS': 4}")]
    known = {field.name: field for field in fields(Automation)}
    unknown = [
        (f'AUTOMATION has no option {name!r}.', f'There are: {", ".join(known)}.')
        for name in options
        if name not in known
    ]
    return unknown + [
        mistake
        for name, value in options.items()
        if name in known and (mistake := _mistake(known[name], value))
    ]


def _mistake(field: Field, value: object) -> tuple[str, str] | None:
    says, hint = f"AUTOMATION['{field.name}'] is {value!r}", f'The default is {field.default!r}.'
    if field.type is timedelta:
        if not isinstance(value, timedelta) or value < timedelta(0):
            return f'{says}, not a length of time.', hint
    elif isinstance(value, bool) or not isinstance(value, int | float):
        return f'{says}, not a number.', hint
    elif field.type is int and not isinstance(value, int):
        return f'{says}, not a whole number.', hint
    elif value < 0 or (value == 0 and field.name not in MAY_BE_ZERO):
        return f'{says}, which is too small.', hint
    return None
