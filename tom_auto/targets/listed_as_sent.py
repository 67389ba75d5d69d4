"""Whether a request group that a portal lists can be the one that was sent.

A portal adds fields of its own, and writes numbers and times in its own format. So we compare only the
windows, the target, the exposures, the constraints and the priority, and only where the portal lists them.
"""

from datetime import UTC, datetime
from math import isclose

from dateutil.parser import parse

#: What is compared of a group besides its requests.
OF_A_GROUP = 'ipp_value', 'observation_type'
#: What is compared of a request, at whatever depth; of these parts all is.
KEPT = {
    'windows', 'start', 'end', 'configurations', 'instrument_type', 'target', 'name', 'ra', 'dec',
    'constraints', 'instrument_configs', 'exposure_time', 'exposure_count', 'optical_elements',
}  # fmt: skip
WHOLE = {'constraints', 'optical_elements'}
TIMES = {'start', 'end'}
SAME_TIME = 1  # seconds
SAME_NUMBER = 1e-4  # degrees or seconds


def agrees(sent: object, listed: object) -> bool:
    """Whether nothing that the portal lists of a group is other than in the payload `sent`."""
    its, theirs = (
        part.get('requests') if isinstance(part, dict) else None for part in (sent, listed)
    )
    if not (isinstance(its, list) and isinstance(theirs, list)):
        return True
    if not all(_agree(sent.get(name), listed.get(name)) for name in OF_A_GROUP):
        return False
    if len(its) != len(theirs):
        return False
    # A portal may list them in another order.
    return all(any(_agree(one, other) for other in theirs) for one in its) and all(
        any(_agree(one, other) for one in its) for other in theirs
    )


def _agree(sent: object, listed: object, key: str = '') -> bool:
    if sent is None or listed is None:
        return True
    if isinstance(sent, dict) and isinstance(listed, dict):
        names = sent.keys() if key in WHOLE else sent.keys() & KEPT
        return all(_agree(sent[name], listed.get(name), name) for name in names)
    if isinstance(sent, list) and isinstance(listed, list):
        same_length = len(sent) == len(listed)
        return same_length and all(map(_agree, sent, listed))
    try:
        if key in TIMES:
            return abs((_moment(sent) - _moment(listed)).total_seconds()) <= SAME_TIME
        return isclose(float(sent), float(listed), rel_tol=0, abs_tol=SAME_NUMBER)
    except (TypeError, ValueError, OverflowError):
        return str(sent) == str(listed)


def _moment(text: object) -> datetime:
    """The time that `text` says; without a zone it is UTC."""
    moment = parse(str(text))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
