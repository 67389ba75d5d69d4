"""A simulated observatory: portal, archive and a broker over real HTTP on this machine.

`manage.py demo` and the tests use it through the same facility classes that talk to Las Cumbres
Observatory. It behaves as the open-source servers behind LCO, SOAR and BLANCO do, as measured
(observation portal 4.18.9, science archive 2.7.2). What goes wrong is in `tests/shared/`:

    with Observatory() as sky:
        sky.add_request(1234, target='M 31')
        sky.complete(1234, frames=2)
        sky.announce('2026ab', ra=10.0, dec=20.0)  # DATA_SERVICES = {'TNS': sky.broker_settings()}
        ...                                    # FACILITIES = {'LCO': sky.settings()}

It needs no Django, and also runs alone: `python -m tom_auto.simulator`.

| module | what it does |
|---|---|
| `observatory` | `Observatory`: a night, and the services that report it |
| `model` | Requests, observations, frames and their files, as the observatory stores them |
| `night` | What happened: who asked for what, and what was observed |
| `portal` | The observation portal: requests and their states (`/api/`) |
| `submissions` | The portal takes requests: what it checks, and what becomes of them |
| `broker` | A broker of transients, which speaks as the Transient Name Server does (`/broker/`) |
| `archive` | The science archive (`/frames/`) and its file store (`/store/`) |
| `lists` | Filters and pages of the lists, as Django REST framework makes them |
| `sky` | Draws star fields as FITS files; only this module needs numpy and astropy |
| `server` | An HTTP/1.1 server: persistent connections, a thread for each, and a clean stop |
| `messages` | One HTTP request and its answer; the log of requests, for tests to read |
"""

from .observatory import Observatory

__all__ = ['Observatory']
