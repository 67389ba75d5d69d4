"""The fault matrix: everything that can go wrong, all in one run, and two clean runs after it.

Dozens of records meet another fault each while healthy ones stand between them, the credentials
of one facility expire half way, and no two clocks agree. What is promised: the run says of every
record that failed what was wrong with it and blames no other; it stores whole frames and nothing
else; and two runs later every frame that exists is at home, once.

Five requests in a row without an answer set a host aside for the run (rule 3), which would keep
its other records from meeting their faults. So each facility's records are checked one after
another (`--workers 1`), and behind each that is in trouble stands a healthy one.
"""

import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count, cycle
from pathlib import Path

import pytest
from django.utils import timezone
from tom_observations.models import ObservationRecord

import faults
from fault_table import APART, CIRCUMSTANCES, ELSEWHERE, MATRIX, Trouble, then
from home import only_frames_are_stored, two_clean_runs
from simulated import Break, Observatory
from tom_auto.models import RunFailure, UpdateRun
from unit.running import updatedata

pytestmark = pytest.mark.django_db(transaction=True)

DOCS = Path(__file__).resolve().parents[2] / 'docs' / 'faults.md'
AT_WORK = ('LCO', 'LCORedirect', 'SOAR')  # BLANCO is for the credentials that expire
SMALL, LARGE = 2 * 2880, 140 * 2880  # bytes: in one piece, and in two

PATHS = {
    'status': r'/api/requests/{request}/$',
    'schedule': r'/api/requests/{request}/observations/',
    'list': r'/frames/\?.*request_id={request}\b',
    'file': r'/store/.*/{file}\?',
}

#: How often the request that meets the fault was sent, in the words of the documentation.
ASKED = {
    'tries once': (1,),
    'tries three times': (3,),
    'follows 30 times': (30, 31),  # for a status, the missing slash at the end takes one
    'stops after 1,000 pages': (1000,),
}


class Scene:
    """Three observatories, the TOM's records at them, and what each of these meets."""

    def __init__(self, add_record, settings) -> None:
        self.add_record = add_record
        self.numbers = count(1)
        true, ahead, behind = (
            Observatory(clock=clock, token=f'a-token-{number}')
            for number, clock in enumerate([None, five_hours_ahead, five_hours_behind])
        )
        self.skies = {'LCO': true, 'LCORedirect': true, 'SOAR': ahead, 'BLANCO': behind}
        self.all = (true, ahead, behind)
        self.settings = settings
        self.troubled: dict[str, tuple[Trouble, ObservationRecord]] = {}
        self.healthy: list[ObservationRecord] = []
        self.breaks: dict[str, Break] = {}

    def open(self) -> None:
        """Point the facilities at their observatories."""
        self.settings.FACILITIES = self.settings.FACILITIES | {
            name: self.skies[name].settings() for name in ('LCO', 'SOAR', 'BLANCO')
        }
        for sky in self.all:  # so that each record is asked for singly, and meets its trouble
            sky.break_('/api/requestgroups/', faults.status(404))

    def observed(self, facility: str, names: tuple[str, ...], size: int) -> ObservationRecord:
        """A record whose request is completed, with a frame for each of `names`."""
        sky, record = self.skies[facility], self.add_record(facility, status='')
        request = int(record.observation_id)
        sky.add_request(request)
        sky.complete(request, frames=0)
        for name in names:
            number = next(self.numbers)  # the three share one archive, as those of LCO do
            content = a_fits_file(number, size)
            sky.add_frame(request, frame_id=number, filename=name or None, content=content)
        return record

    def add_healthy(self, facility: str) -> None:
        self.healthy.append(self.observed(facility, ('', ''), SMALL))

    def add_troubled(self, trouble: Trouble, facility: str) -> None:
        """A record that meets `trouble` at `facility`, or where the trouble has to be."""
        facility = trouble.facility or facility
        size = LARGE if 'file' in trouble.meets else SMALL
        record = self.observed(facility, trouble.filenames, size)
        self.troubled[trouble.name] = trouble, record
        sky, request = self.skies[facility], int(record.observation_id)
        for question, fault in trouble.meets.items():
            first = sky.frames_of[request][0].filename
            where = PATHS[question].format(request=request, file=re.escape(first))
            self.breaks[trouble.name] = sky.break_(where, fault, trouble.times)
        self.add_healthy(facility)

    def credentials_expire(self) -> None:
        """BLANCO's token is refused from the third of its eight records on."""
        for _ in range(8):
            self.add_healthy('BLANCO')
        sky, third = self.skies['BLANCO'], self.healthy[-6]
        path = PATHS['status'].format(request=third.observation_id)

        def revoke() -> None:
            self.before = len(sky.requests_seen)
            sky.revoke(sky.token)

        sky.break_(path, then(revoke), times=1)

    def refusals(self) -> Counter[str]:
        """How often BLANCO's portal and its archive have refused since then."""
        since = self.skies['BLANCO'].requests_seen[self.before :]
        return Counter(seen.path.split('/')[1] for seen in since if seen.had_token)

    def mend(self) -> None:
        """All is well again, and what was still to come has come."""
        for sky in self.all:
            sky.mend()
        blanco = self.skies['BLANCO']
        blanco.add_token(blanco.token, proposals=[blanco.proposal], username='demo')
        for trouble, record in self.troubled.values():
            trouble.later(self.skies[record.facility], int(record.observation_id))

    def frames_of(self, record: ObservationRecord) -> set[str]:
        frames = self.skies[record.facility].frames_of[int(record.observation_id)]
        return {str(frame.id) for frame in frames}


def a_fits_file(number: int, size: int) -> bytes:
    """One that is whole, with `number` in its header."""
    values = {'SIMPLE': 'T', 'BITPIX': 8, 'NAXIS': 1, 'NAXIS1': size - 2880, 'NUMBER': number}
    cards = ''.join(f'{key:<8}= {value:>20}'.ljust(80) for key, value in values.items())
    return f'{cards}END'.encode().ljust(2880) + bytes(size - 2880)


def five_hours_ahead() -> datetime:
    return datetime.now(UTC) + timedelta(hours=5)


def five_hours_behind() -> datetime:
    return datetime.now(UTC) - timedelta(hours=5)


@pytest.fixture
def scene(add_record, settings) -> Iterator[Scene]:
    scene = Scene(add_record, settings)
    ELSEWHERE.break_('/', faults.html())
    with ELSEWHERE, scene.all[0], scene.all[1], scene.all[2]:
        scene.open()
        yield scene


def test_all_faults_in_one_run_and_two_clean_runs(scene, automation, monkeypatch):
    automation['TRANSFER_TIMEOUT'] = 2
    for trouble, facility in zip(MATRIX, cycle(AT_WORK), strict=False):
        scene.add_troubled(trouble, facility)
    scene.credentials_expire()

    with monkeypatch.context() as patch:
        patch.setattr(timezone, 'now', five_hours_ahead)
        status, report = updatedata('--workers', '1')

    assert (status, report['status']) == (1, 'failed')
    each_failure_is_told(scene, report)
    assert UpdateRun.objects.get().failed == RunFailure.objects.count() == report['failed']
    questions_are_as_many_as_documented(scene)
    all_that_can_be_had_is_home(scene, only_frames_are_stored(*scene.all))
    no_token_went_elsewhere(scene)

    scene.mend()
    two_clean_runs(*scene.all)
    everything_has_its_status(scene)


def each_failure_is_told(scene: Scene, report: dict) -> None:
    """Every record that failed is named with its reason, and no other is."""
    told = {failure['observation_id']: failure['error'] for failure in report['failures']}
    # The portal's, or the archive's, or both: several records are under way at that moment.
    credentials = [failure for failure in report['failures'] if failure['record'] is None]
    assert {failure['facility'] for failure in credentials} <= {'BLANCO', "BLANCO's archive"}
    expired = CIRCUMSTANCES['credentials: expired in the middle of a run']
    assert all(fits(expired, failure['error']) for failure in credentials)
    del told['']
    refused = [told.pop(record.observation_id, None) for record in scene.healthy[-8:]]
    errors = [error for error in refused if error]
    assert all(fits(expired, error) for error in errors)
    assert len(errors) == 3, 'three times in a row, and records set aside have not failed'
    # Of both together, as they are one host here, with one account: and then nobody is asked any more.
    assert scene.refusals()['api'] + scene.refusals()['frames'] == 3
    by_name = {
        name: told.pop(record.observation_id, '')
        for name, (trouble, record) in scene.troubled.items()
    }
    assert told == {}, 'healthy records were blamed'
    wrong = {
        name: (trouble.says, by_name[name])
        for name, (trouble, record) in scene.troubled.items()
        if not fits(trouble.says, by_name[name])
    }
    assert not wrong, '\n'.join(map(str, wrong.items()))


def fits(says: str, error: str) -> bool:
    """Whether `error` is what the table of faults says; nothing where it says nothing."""
    return any(message in error for message in says.split(' | ')) if says else not error


def questions_are_as_many_as_documented(scene: Scene) -> None:
    """Not one more than `docs/faults.md` says: an unattended job must not be a nuisance."""
    wrong = {}
    for name, (_, does) in documented().items():
        for words, times in ASKED.items():
            if words in does and scene.breaks[name].happened not in times:
                wrong[name] = does, scene.breaks[name].happened
    assert wrong == {}


def all_that_can_be_had_is_home(scene: Scene, stored: set[str]) -> None:
    """Neither another record's trouble nor that of another frame keeps a frame away."""
    for record in scene.healthy:
        if record.facility != 'BLANCO':
            assert scene.frames_of(record) <= stored, 'a healthy record did not get its frames'
    for trouble, record in scene.troubled.values():
        missing = len(scene.frames_of(record) - stored)
        if not trouble.says:
            assert missing == 0, trouble.name
        elif 'file' in trouble.meets:
            assert missing == 1, trouble.name


def no_token_went_elsewhere(scene: Scene) -> None:
    """No request that was redirected to another host carried a token."""
    paths = [seen.path for seen in ELSEWHERE.requests_seen]
    assert {path.split('/')[2] for path in paths} == {'api', 'frames', 'store'}
    assert not [seen for seen in ELSEWHERE.requests_seen if seen.had_token]
    for sky in scene.all:
        assert not [seen for seen in ELSEWHERE.requests_seen if sky.token in seen.target]


def everything_has_its_status(scene: Scene) -> None:
    """Also those whose status could not be read at first, or made no sense."""
    assert set(ObservationRecord.objects.values_list('status', flat=True)) == {'COMPLETED'}


def test_the_documentation_has_every_fault_and_what_the_run_says_of_it():
    promised = {trouble.name: trouble.says for trouble in MATRIX} | CIRCUMSTANCES | APART
    assert len(promised) == len(MATRIX) + len(CIRCUMSTANCES) + len(APART), 'two of one name'
    assert {name: messages for name, (messages, _) in documented().items()} == {
        name: says.split(' | ') if says else [] for name, says in promised.items()
    }


def documented() -> dict[str, tuple[list[str], str]]:
    """The faults of `docs/faults.md`: the messages of each, and what the run does."""
    lines = [line for line in DOCS.read_text().splitlines() if line.startswith('| ')]
    rows = [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]
    faults = (row for row in rows if len(row) == 4 and ':' in row[0])
    return {name: (re.findall('`([^`]+)`', says), does) for name, says, does, _ in faults}
