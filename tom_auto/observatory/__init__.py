"""A simulated observatory: portal and archive over real HTTP on this machine, nothing else.

`manage.py demo` and the tests talk to it through the same facility classes that talk to Las
Cumbres Observatory. It behaves as the open-source servers behind LCO, SOAR and BLANCO were
measured to behave (observation portal 4.18.9, science archive 2.7.2), or worse when told to
(`tests/shared/faults.py` has the faults):

    with Observatory() as sky:
        sky.add_request(1234, target='M 31')
        sky.complete(1234, frames=2)
        sky.break_('/frames/', faults.status(503, retry_after=30), times=2)
        ...                                    # FACILITIES = {'LCO': sky.settings()}
        assert len(sky.requests_seen) == 7

| module | what it does |
|---|---|
| `observatory` | `Observatory`: the whole, started and stopped, and what goes wrong |
| `model` | Requests, observations, frames and their bytes |
| `night` | What happened: who asked for what, and what was observed |
| `portal` | What the observation portal answers (`/api/`) |
| `archive` | What the science archive and its file store answer (`/frames/`, `/store/`) |
| `lists` | Filters and pages, which portal and archive share |
| `sky` | Draws the pictures, as FITS files; only this module needs numpy and astropy |
| `server` | HTTP: connections that stay open, and an end that really is one |
| `messages` | A question, its answer, and the log of the questions |

No Django in here: it runs alone, as `python -m tom_auto.observatory`.
"""

from .observatory import Observatory

__all__ = ['Observatory']
