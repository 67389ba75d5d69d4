"""A mail server of this machine, in a process of its own, with the port as its argument.

Writes the subject of each mail to its output, a line each; it ends with its input. A second
argument is a directory, which gets each mail as a file.
"""

import sys
from email import message_from_bytes
from pathlib import Path

from aiosmtpd.controller import Controller


class Subjects:
    """Every mail that has come, as `aiosmtpd` wants to be given it."""

    async def handle_DATA(self, server: object, session: object, envelope: object) -> str:
        for place in sys.argv[2:]:
            number = len(list(Path(place).iterdir()))
            Path(place, f'{number}.eml').write_bytes(envelope.content)
        print(message_from_bytes(envelope.content)['Subject'], flush=True)  # noqa: T201
        return '250 OK'


server = Controller(Subjects(), hostname='127.0.0.1', port=int(sys.argv[1]), ready_timeout=60)
server.start()
print('ready', flush=True)  # noqa: T201
sys.stdin.read()
server.stop()
