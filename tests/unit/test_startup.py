"""What the garbage collector does while a TOM starts, and afterwards."""

import subprocess
import sys
from pathlib import Path

LIBRARY_AND_PROJECT = (Path(__file__).parents[2], Path(__file__).parents[1])

#: A start as that of a generated project's manage.py; with which thresholds it leaves the collector.
STARTS = """
import gc, os, sys
sys.path[:0] = sys.argv[1:]
os.environ['DJANGO_SETTINGS_MODULE'] = 'project.settings'
import django
from tom_auto import startup
gc.set_threshold(611, 7, 5)
startup.begins()
gc.callbacks.append(lambda phase, _: print('looked'))
django.setup()
gc.callbacks.clear()
print(gc.get_threshold(), gc.get_freeze_count() > 50_000)
"""


def test_a_start_looks_for_no_garbage_and_leaves_the_collector_as_it_was() -> None:
    places = [str(place) for place in LIBRARY_AND_PROJECT]
    done = subprocess.run(
        [sys.executable, '-c', STARTS, *places], capture_output=True, text=True, check=False
    )
    assert done.stdout == '(611, 7, 5) True\n', done.stderr
