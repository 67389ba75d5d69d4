"""Where the TOM writes its log: the terminal, and a file that rotates.

With TERMINAL_LOG=INFO in the environment, the terminal shows everything too, as in containers.
"""

import os
from pathlib import Path

FORMAT = '[{asctime}] {levelname} {name}: {message}'
MAX_BYTES = 5_000_000  # of one file
BACKUPS = 5


def logging_for(directory: Path) -> dict:
    """Django's LOGGING: warnings to the terminal, everything to `directory/tom.log`.

    The web server and cron's job may write to the file at the same time, so the handler rotates it
    under a lock. If the directory cannot be written (in a read-only container), everything goes to the
    terminal instead: a log must never stop the TOM.
    """
    writable = directory.is_dir() and os.access(directory, os.W_OK)
    handlers = {
        'console': {
            'class': 'logging.StreamHandler',
            'formatter': 'dated',
            'level': os.environ.get('TERMINAL_LOG') or ('WARNING' if writable else 'INFO'),
        }
    }
    if writable:
        handlers['file'] = {
            'class': 'concurrent_log_handler.ConcurrentRotatingFileHandler',
            'formatter': 'dated',
            'filename': str(directory / 'tom.log'),
            'maxBytes': MAX_BYTES,
            'backupCount': BACKUPS,
            'encoding': 'utf-8',
        }
    return {
        'version': 1,
        'disable_existing_loggers': False,
        'formatters': {
            # Removes tokens and signed URLs, whichever code logs them.
            'dated': {
                '()': 'tom_auto.sync.redact.RedactingFormatter',
                'format': FORMAT,
                'style': '{',
            }
        },
        'handlers': handlers,
        'root': {'handlers': list(handlers), 'level': 'INFO'},
    }
