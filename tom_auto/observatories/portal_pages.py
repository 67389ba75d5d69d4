"""Reads the pages of a list of a portal of LCO's kind, as far as they are worth it.

Rows are added and go away while a list is read, and then others slip from one page to another and
are seen twice, or never.
"""

from collections.abc import Iterator
from urllib.parse import urlencode, urljoin

from tom_observations.facilities.ocs import make_request

PAGE = 1000  # rows: a second of the portal's time
A_PAGE_IS_WORTH = 50  # records: what a page costs compared to their single calls
Portal = tuple[str, dict]  # address and headers


class Rows:
    """The rows of a list. `whole`: all of them were read; `shifted`: its pages do not fit together.

    Where neither holds, the list was too long.
    """

    def __init__(self, portal: Portal, path: str, sought: int, filters: dict) -> None:
        """`sought`: how many records want them, and so how many pages they are worth."""
        address, self._headers = portal
        self._url, self._filters = urljoin(address, path), filters
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
        query = urlencode({**self._filters, 'limit': self._limit, 'offset': offset}, doseq=True)
        return make_request('GET', f'{self._url}?{query}', headers=self._headers).json()
