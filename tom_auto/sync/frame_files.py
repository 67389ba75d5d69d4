"""The file of a frame: what there is of it, or what its archive sends. Done in threads, without the database.

A frame's place is known before anything is written. The file is received beside the data, verified,
flushed and moved into place.
"""

from ..conf import Automation
from ..errors import BadAnswer
from ..files import file_names, storage, whole_file
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
    with storage.room_for(0, limits):  # or the archive need not be asked
        pass
    with storage.part_file() as file:
        received = download(frame.url, frame.filename, file, limits, frame.md5)
        if broken := whole_file.fault(frame.filename, file, received, frame.md5):
            raise BadAnswer(f'{file_names.safe_name(frame.filename)} is not stored: {broken}')
        is_cut = plan.stored is not None and plan.stored.state == StoredFrame.State.CUT
        if there and is_cut and not storage.is_beginning(plan.place, file):
            return None  # somebody has written it
        is_its_own = plan.product is not None and plan.place == plan.name  # and it is broken
        if there and not is_its_own and not is_a_version:  # somebody's work
            plan.place = storage.free_place(plan.place, received.md5)
        storage.move_into_place(file, plan.place, received.size)
    return received
