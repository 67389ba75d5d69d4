"""A simulated observatory: portal and archive over real HTTP on this machine.

`manage.py demo` and the tests use it through the same facility classes that talk to Las Cumbres
Observatory. It behaves as the open-source servers behind LCO, SOAR and BLANCO do, as measured
(observation portal 4.18.9, science archive 2.7.2), or worse if a test wants that:

    with Observatory() as sky:
        sky.add_request(1234, target='M 31')
        sky.complete(1234, frames=2)
        sky.break_('/frames/', faults.status(503, retry_after=30), times=2)
        ...                                    # FACILITIES = {'LCO': sky.settings()}
        assert len(sky.requests_seen) == 7

It needs no Django, and also runs alone: `python -m tom_auto.observatory`.

| module | what it does |
|---|---|
| `archive` | The science archive: which frames there are (`/frames/`) |
| `bodies` | The content of a file: given bytes, an image drawn on demand, or filler of any size |
| `cards` | The FITS header of a frame, as LCO writes it, as plain values without astropy |
| `faults` | What can go wrong between a TOM and an observatory |
| `lists` | Filters and pages of the lists, as Django REST framework makes them for portal and archive |
| `logbook` | The requests that arrived, for tests to read |
| `messages` | One HTTP request and its answer, as the services see them |
| `model` | Requests, observations and frames, as the observatory stores them; times are aware, in UTC |
| `night` | What was observed: the frames, on top of the timetable |
| `observatory` | `Observatory`: a night, three services that report it, and the faults; started and stopped |
| `portal` | The observation portal: requests and their states (`/api/`) |
| `portal_json` | How the portal writes requests, request groups and observations as JSON |
| `server` | An HTTP/1.1 server: persistent connections, a thread for each, and a clean stop |
| `sky` | Draws star fields as FITS files; the same name always gives the same bytes |
| `store` | The file store: the frames, by presigned URL (`/store/`) |
| `timetable` | People, requests, and the schedule of observations |
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
