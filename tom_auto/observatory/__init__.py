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

No Django in here: it runs alone, as `python -m tom_auto.observatory`.

| module | what it does |
|---|---|
| `archive` | The science archive: which frames there are (`/frames/`) |
| `bodies` | What a file contains: given bytes, a picture drawn when someone looks, or any size of filler |
| `cards` | The FITS header of a frame, keyword by keyword, as LCO writes it. Plain values: no astropy |
| `faults` | What can go wrong between a TOM and an observatory |
| `lists` | Filters and pages of the lists, as Django REST framework makes them for portal and archive |
| `logbook` | Who asked for what: the log that tests read |
| `messages` | One question and its answer, as the services see them |
| `model` | Requests, observations and frames, as the observatory keeps them. Times are aware, in UTC |
| `night` | What was observed: the frames, on top of the timetable. No HTTP in here |
| `observatory` | The observatory as a whole: a night, three services that tell of it, and what goes wrong |
| `portal` | The observation portal: who asked for what, and what became of it (`/api/`) |
| `portal_json` | How the portal writes requests, request groups and observations as JSON |
| `server` | HTTP/1.1 with connections that stay open, a thread for each, and an end that really is one |
| `sky` | Draws star fields and wraps them in FITS. A name gives the same sky, to the byte, every time |
| `store` | The file store: the bytes of the frames, for whoever has a presigned address (`/store/`) |
| `timetable` | Who asked for what, and when it is to be observed: people, requests, the schedule |
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
