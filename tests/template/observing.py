"""A simulated observatory for a TOM's own process, and records of what it has observed."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from baking import TEMPLATE
from running import clean_environment, tom_python

#: Runs until its input ends: completed requests 1 to 3, of two small frames each.
OBSERVATORY = """
import json, sys
from tom_auto.simulator import Observatory
with Observatory() as sky:
    for number in (1, 2, 3):
        sky.add_request(number)
        sky.complete(number, frames=2, pixels=32)
    print(json.dumps(sky.settings()), flush=True)
    sys.stdin.read()
"""

#: Makes a record as tomtoolkit's pages do, which leave the status empty: facility and request.
RECORD = """
from tom_observations.models import ObservationRecord
from tom_targets.models import Target
target, _ = Target.objects.get_or_create(
    name='M 31', defaults={{'type': 'SIDEREAL', 'ra': 10.7, 'dec': 41.3}}
)
for facility, request in {requests}:
    ObservationRecord.objects.create(
        target=target, facility=facility, observation_id=request, parameters={{}}
    )
"""

#: Prints the status of each record, and how many files came home for it.
BROUGHT_HOME = """
import json, pathlib
from tom_dataproducts.models import DataProduct
from tom_observations.models import ObservationRecord
print(json.dumps([
    [record.facility, record.status, sum(
        pathlib.Path(product.data.path).stat().st_size > 0
        for product in DataProduct.objects.filter(observation_record=record)
    )]
    for record in ObservationRecord.objects.order_by('pk')
]))
"""


@contextmanager
def observatory(project: Path) -> Iterator[dict[str, str]]:
    """An observatory for `project`, on this machine alone: its entry of FACILITIES."""
    process = subprocess.Popen(
        [tom_python(), '-c', OBSERVATORY],
        cwd=TEMPLATE,
        env=clean_environment(project, PYTHONDONTWRITEBYTECODE='1'),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.stdin.close()
            process.wait(timeout=60)
