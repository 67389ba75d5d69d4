"""Asks portals and archives of LCO's kind, and reads the pages of a list as far as they are worth it.

Rows are added and go away while a list is read, and then others slip from one page to another and
are seen twice, or never.
"""

from collections.abc import Iterator
from urllib.parse import urljoin

import requests
from tom_observations.facilities.ocs import OCSFacility, make_request

PAGE = 1000  # rows: a second of the portal's time
A_PAGE_IS_WORTH = 50  # records: what a page costs compared to their single calls


def get_from(
    facility: OCSFacility, setting: str, path: str, query: dict | str = '', **options: object
) -> requests.Response:
    """What the portal or archive of `facility` answers, whose address is in `setting`."""
    url = urljoin(facility.facility_settings.get_setting(setting), path)
    return make_request('GET', url, params=query, headers=facility._portal_headers(), **options)


class Rows:
    """The rows of a list. `whole`: all of them were read; `shifted`: its pages do not fit together.

    Where neither holds, the list was too long.
    """

    def __init__(self, facility: OCSFacility, path: str, sought: int, filters: dict) -> None:
        """`sought`: how many records want them, and so how many pages they are worth."""
        self._facility, self._path, self._filters = facility, path, filters
        self._limit = min(PAGE, 20 * sought)
        self._most = 1 + sought // A_PAGE_IS_WORTH
        self.whole = self.shifted = False

    def __iter__(self) -> Iterator[dict]:
        seen: dict[object, None] = {}
        for _ in range(self._most):
            # Each page begins with the last row of the one before, unless rows were added or went
            # away meanwhile.
            page = self._page(max(len(seen) - 1, 0))
            rows = page['results']
            if seen:
                if not rows or rows[0]['id'] != next(reversed(seen)):
                    self.shifted = True
                    return
                rows = rows[1:]
            seen |= dict.fromkeys(row['id'] for row in rows)
            yield from rows
            if not page['next']:
                self.whole = page['count'] == len(seen)
                self.shifted = not self.whole
                return
            if not rows or page['count'] > self._most * (self._limit - 1):
                return  # the rest would not be worth it

    def _page(self, offset: int) -> dict:
        query = self._filters | {'limit': self._limit, 'offset': offset}
        return get_from(self._facility, 'portal_url', self._path, query).json()
