"""A simulated observatory: portal and archive over real HTTP on this machine, nothing else.

`manage.py demo` and the tests talk to it through the same facility classes that talk to Las
Cumbres Observatory. It behaves as the open-source servers behind LCO, SOAR and BLANCO were
measured to behave (observation portal 4.18.9, science archive 2.7.2), or worse when told to:

    with Observatory() as sky:
        sky.add_request(1234, target='M 31')
        sky.complete(1234, frames=2)
        sky.break_('/frames/', faults.status(503, retry_after=30), times=2)
        ...                                    # FACILITIES = {'LCO': sky.settings()}
        assert len(sky.requests_seen) == 7

| module | what it holds |
|---|---|
| `observatory` | `Observatory`: the whole, started and stopped |
| `timetable`, `night`, `model` | what happened: requests, observations, frames |
| `portal`, `portal_json`, `archive`, `store` | what each of the three services answers |
| `lists` | filters and pages, which portal and archive share |
| `bodies`, `cards`, `sky` | what the files contain; only `sky` needs numpy and astropy |
| `faults` | what can go wrong |
| `server`, `messages`, `logbook` | HTTP |

No Django in here: it runs alone, as `python -m app.observatory`.
"""

from . import faults
from .model import Frame, Observation, Request, RequestGroup, Version
from .observatory import Observatory

__all__ = [
    'Frame',
    'Observation',
    'Observatory',
    'Request',
    'RequestGroup',
    'Version',
    'faults',
]
