"""How fast this machine is now: bars of CPU are meant for one that has nothing else to do."""

import sqlite3
from functools import cache
from statistics import median
from time import process_time

ROWS, IDLE = 100_000, 0.018  # so many rows are joined with as many in these seconds of CPU
MOST = 4


def within(seconds: float, bar: float) -> bool:
    """Whether so many seconds of CPU are below the bar, or would be if this machine were idle."""
    return seconds < bar or seconds < bar * slower()


def slower() -> float:
    """How many times the CPU it takes here to do the same as on such a machine: from 1 to MOST.

    Who shares a core, its caches or the memory can treble what a process uses, most of all where it
    goes through much of it, as a database does: so that is what is measured.
    """
    taken = []
    for _ in range(5):
        begun = process_time()
        _database().execute('SELECT count(*) FROM a JOIN b USING (id) WHERE a.n <> b.n').fetchone()
        taken.append(process_time() - begun)
    return min(MOST, max(1, median(taken) / IDLE))


@cache
def _database() -> sqlite3.Connection:
    made = sqlite3.connect(':memory:')
    for table in 'ab':
        made.execute(f'CREATE TABLE {table} (id INTEGER PRIMARY KEY, n INTEGER, text TEXT)')
        rows = ((number, number % 1000, 'text' * 25) for number in range(ROWS))
        made.executemany(f'INSERT INTO {table} VALUES (?, ?, ?)', rows)
    return made
