"""Frames, as the archives of observatories and facility classes list them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral
from pathlib import PurePath
from urllib.parse import urlencode, urljoin, urlsplit
from uuid import UUID

from tom_observations.facilities.ocs import OCSFacility, make_request
from tom_observations.models import ObservationRecord

from .errors import BadAnswer, NoKey, Unsupported

PAGE = 1000  # frames: more are cut off without a word
BATCH = 100  # frames in one question to the database
MOST_PAGES = 1000  # of one list, in case its "next" never ends
QUERY = re.compile(r'\?[\w.~%-]+=.*', re.DOTALL)  # of an address


@dataclass(frozen=True)
class Frame:
    """A file that an archive offers; `md5` is empty where the archive publishes none."""

    product_id: str
    filename: str
    url: str
    md5: str = ''


def frame_of(product: object, facility: str) -> Frame:
    """The frame of one entry of `data_products`: a dictionary with id, filename and url."""
    try:
        return Frame(_named(product['id']), _filename(product['filename']), _named(product['url']))
    except (TypeError, KeyError):
        raise Unsupported(f'{facility} lists products without id, filename and url') from None


def archived_frames(facility: OCSFacility, record: ObservationRecord) -> Iterator[Frame]:
    """The frames of one record, page by page, from the archive of an OCS facility.

    Without an API key the archive shows public frames only and does not say that others are
    missing, so a completed record without any is an error then.
    """
    facility_settings, empty = facility.facility_settings, True
    for frame in _listed(facility, record.observation_id):
        empty = False
        yield frame
    completed = record.status in facility_settings.get_successful_observing_states()
    if completed and empty and not facility_settings.get_setting('api_key'):
        name = facility_settings.facility_name
        raise NoKey(f'no frames can be seen without an API key: set {name}_API_KEY in .env')


def in_batches(frames: Iterator[Frame]) -> Iterator[list[Frame]]:
    """`frames`, BATCH at a time: also those that came before the list broke off."""
    some: list[Frame] = []
    try:
        for frame in frames:
            some.append(frame)
            if len(some) == BATCH:
                yield some
                some = []
    except Exception:
        yield some
        raise
    yield some


def _listed(facility: OCSFacility, request_id: str) -> Iterator[Frame]:
    """The archive's whole list of the frames of one request.

    tomtoolkit asks by REQNUM, whose count, and so its `next`, is an estimate that can lose
    frames in silence; `request_id` counts exactly. Measured: science archive 2.7.2.
    """
    url = urljoin(facility.facility_settings.get_setting('archive_url'), '/frames/')
    query = urlencode({'request_id': request_id, 'limit': PAGE, 'include_related_frames': 'false'})
    asked = set()
    while query and query not in asked and len(asked) < MOST_PAGES:
        asked.add(query)
        page = make_request('GET', f'{url}?{query}', headers=facility._portal_headers()).json()
        if not isinstance(page, dict) or not isinstance(page.get('results'), list):
            raise BadAnswer('the archive answered something other than a list of frames')
        yield from map(_ocs_frame, page['results'])
        # Only the query of `next` is used: the token must not follow it to another host.
        query = urlsplit(str(page.get('next') or '')).query
    if query:
        raise BadAnswer('the list of frames has no end')


def _ocs_frame(entry: object) -> Frame:
    try:
        versions = entry.get('version_set') or [{}]
        return Frame(
            product_id=_named(entry['id']),
            filename=_filename(entry['filename']),
            url=_named(entry['url']),
            md5=str(versions[0].get('md5') or '').lower(),
        )
    except (AttributeError, KeyError, TypeError, IndexError):
        raise BadAnswer('the archive lists a frame without id, filename or url') from None


def _text(value: object) -> str:
    """`value` as text; raises TypeError where it stands for none, as null and objects do."""
    if isinstance(value, bool) or not isinstance(value, str | Integral | UUID | PurePath):
        raise TypeError(type(value))
    return str(value)


def _named(value: object) -> str:
    """`value` as text that is not empty; raises TypeError where it is no such thing."""
    if not (text := _text(value)).strip():
        raise TypeError('empty')
    return text


def _filename(value: object) -> str:
    """`value` as a file's name: some classes take it from an address, signature and all."""
    return QUERY.sub('', _text(value))
