"""Where the TOM writes its log: the terminal, and a file that rotates.

With TERMINAL_LOG=INFO in the environment, the terminal shows everything too, as in containers.
"""

import os
import sys
from pathlib import Path

from .scheduling.job_log import owner_only, rotate

FORMAT = '[{asctime}] {levelname} {name}: {message}'
MAX_BYTES = 5_000_000  # of one file


def logging_for(directory: Path) -> dict:
    """Django's LOGGING: warnings to the terminal, everything to `directory/tom.log`.

    Several processes append to the file at the same time, which needs no lock: a full one is set
    aside when a process starts, and the others notice. Where the file cannot be written (it is
    another user's, say, or in a read-only container), everything goes to the terminal instead: a
    log must never stop the TOM.
    """
    file = directory / 'tom.log'
    rotate(file, MAX_BYTES)
    writable = _can_be_written(file)
    quiet = writable and not os.environ.get('TERMINAL_LOG')
    level = os.environ.get('TERMINAL_LOG') or ('WARNING' if writable else 'INFO')
    handlers = {'console': {'class': 'logging.StreamHandler', 'level': level}}
    if writable:
        handlers['file'] = {
            'class': 'logging.handlers.WatchedFileHandler',
            'filename': str(file),
            'encoding': 'utf-8',
            'delay': True,
        }
    # Tokens and signed addresses never reach a log, whoever logs them.
    dated = {'()': 'tom_auto.redact.RedactingFormatter', 'format': FORMAT, 'style': '{'}
    # Of what strangers ask for under a wrong name, say, Django would mail ADMINS each time.
    loggers = {'django.security': {'handlers': list(handlers), 'propagate': False}}
    if quiet:  # of a retry that succeeds nobody has to know, and one that fails is in the result
        loggers['urllib3'] = {'handlers': ['file'], 'propagate': False}
    return {
        'version': 1,
        'disable_existing_loggers': False,
        'formatters': {'dated': dated},
        'handlers': {name: each | {'formatter': 'dated'} for name, each in handlers.items()},
        'loggers': loggers,
        'root': {'handlers': list(handlers), 'level': 'INFO'},
    }


def _can_be_written(file: Path) -> bool:
    """Whether this process can append to `file`; says once why not."""
    try:
        with open(file, 'ab', opener=owner_only):  # noqa: PTH123
            return True
    except OSError as error:
        if file.parent.is_dir():
            # Not by logging, which is being set up.
            sys.stderr.write(f'No log in {file}: {error.strerror}. It goes to the terminal.\n')
        return False
