"""The file of a frame: what there is of it, or what its archive sends. Done in threads, without the database.

A frame's place is known before anything is written. The file is received beside the data, verified,
flushed and moved into place.
"""

from typing import IO

from ..conf import Automation
from ..errors import BadAnswer
from ..files import file_names, storage, whole_file
from ..files.disk_room import room_for
from ..files.downloads import download
from ..files.whole_file import Received
from ..models import StoredFrame
from .frame_plans import Action, Plan


def adopt(plan: Plan) -> Received | None:
    """What others have stored, if it is whole; None where it has to be fetched.

    Where a row was told of another file than the one that was stored for it, or something else lies
    there than was verified once, that is its owner's, and only what is no file at all may go: a web
    page stores what it gets. It leaves the file that was stored in its place; somebody who has put
    that away has meant what is there, even if it is empty.
    """
    owners = plan.is_its_owners
    before = plan.stored.name if plan.stored else ''
    fault = whole_file.no_file if owners else whole_file.fault
    filename = plan.name if owners else plan.frame.filename
    with storage.opened(plan.name) as file:
        received = whole_file.read(file)
        is_meant = owners and received.size == 0 and not storage.exists(before)
        if not is_meant and fault(filename, file, received):
            return None
    # A web page that was slower has put its own copy in the place of what was stored here.
    if before not in ('', plan.name) and plan.stored.md5 == received.md5 and storage.exists(before):
        is_double = not storage.are_one(before, plan.name)
        plan.double = before if is_double and storage.read(before).md5 == received.md5 else ''
    return received


def fetch(plan: Plan, limits: Automation) -> Received | None:
    """Bring the file of `plan` into its place; None where its owner has changed what is there."""
    frame = plan.frame
    there = storage.read(plan.place) if storage.exists(plan.place) else None
    if there and there.md5 == frame.md5:
        return there  # left by a run that was killed, or a database that is gone
    # As the archive had it, so that nobody has changed it since.
    known = {plan.stored.archive_md5 if plan.stored else '', *frame.older}
    is_a_version = there is not None and there.md5 in known
    if there and plan.action is Action.RENEW and not is_a_version:
        return None
    with room_for(0, limits):  # or the archive need not be asked
        pass
    with storage.part_file() as file:
        received = download(frame.url, frame.filename, file, limits, frame.md5)
        if broken := whole_file.fault(frame.filename, file, received, frame.md5):
            raise BadAnswer(f'{file_names.safe_name(frame.filename)} is not stored: {broken}')
        is_cut = plan.stored is not None and plan.stored.state == StoredFrame.State.CUT
        if there and is_cut and not storage.is_beginning(plan.place, file):
            return None  # somebody has written it
        if there and not is_a_version and not _may_go(plan, there, file):  # somebody's work
            plan.place = storage.free_place(storage.relative(plan.place), received.md5)
        storage.move_into_place(file, plan.place, received.size)
    return received


def _may_go(plan: Plan, there: Received, file: IO[bytes]) -> bool:
    """Whether the frame in `file` may take the place of what lies there.

    That is the broken file of its row. Where nobody has verified it before, it may be anything: then
    only if it is what servers send in place of a file, or the beginning of the frame.
    """
    if plan.product is None or plan.place != plan.name:
        return False
    if plan.stored is not None and plan.stored.md5:
        return True
    with storage.opened(plan.place) as stored:
        is_no_file = whole_file.no_file(plan.place, stored, there)
    return bool(is_no_file) or storage.is_beginning(plan.place, file)
