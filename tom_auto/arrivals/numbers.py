"""The numbers of the frames that came in: whoever has read up to one misses none before it.

PostgreSQL gives a number before its row is seen, so a lower one may come to light after a higher
one. Whoever is about to get a number says above which it will be, as long as their transaction
lasts; nobody is told of frames above that meanwhile. SQLite lets one write after the other.
"""

from django.db import connection
from django.db.models import Max

from .models import Arrival

KEY = 0x746F6D  # of the locks by which that is said
_OTHERS = """
    SELECT min(objid::bigint) FROM pg_locks
    WHERE locktype = 'advisory' AND objsubid = 2 AND classid = %s AND pid <> pg_backend_pid()
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


def say_one_is_to_come() -> None:
    """To be called in the transaction that is to note a frame, before it has a number."""
    if connection.vendor == 'postgresql':
        with connection.cursor() as cursor:
            cursor.execute('SELECT pg_advisory_xact_lock_shared(%s, %s)', [KEY, _newest()])


def newest_frame() -> int:
    """The number up to which no frame is still to be committed; 0 if there are no frames."""
    newest = _newest()  # first: what comes after this is not told of
    if connection.vendor == 'postgresql':
        with connection.cursor() as cursor:
            cursor.execute(_OTHERS, [KEY])
            [lowest] = cursor.fetchone()
        return newest if lowest is None else min(newest, lowest)
    return newest


def _newest() -> int:
    return Arrival.objects.order_by().aggregate(newest=Max('pk'))['newest'] or 0
