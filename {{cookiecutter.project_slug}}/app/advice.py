"""Says what a person can do about a failure.

The texts of failures come from `sync`; test_advice.py has one of each kind. Imports nothing.
"""

import re

WAIT = 'Nothing, unless it lasts: it is tried again by itself.'
KEY = 'Put a valid API key into .env, then retry.'
LOG = 'Read logs/tom.log, which has the traceback.'
DOCTOR = 'Run: python manage.py doctor'

#: What a failure says, and what to do about it. The first that is found in it counts.
ADVICE = (
    (r'^could not be asked$', 'Superusers of this TOM see why.'),
    (r'refuses its credentials|without an API key', KEY),
    (r'\(404\)', 'Look it up at the observatory. If it is gone there, delete it here; if it is '
                  "another account's, check the API key."),
    (r'does not understand the question', 'Look it up at the observatory: its number may be wrong.'),
    (r'no room|downloads stop|No space left|Disk quota', f'Make room on the disk. {DOCTOR}'),
    (r'the database of this TOM|a file cannot be read or written|storage did not keep', DOCTOR),
    (r'the hook ', f'Mend the hook, which is code of this TOM. {LOG}'),
    (r'broke on the answer|cannot be one|nobody here knows|a time that is none|saved what is no',
     f'Tell those who wrote the facility class. {LOG}'),
    (r'no free place|taken over, or deleted', f'Retry. If it lasts: {LOG}'),
    (r'does not answer|asks to come back|answered|could not be asked|did not arrive|broke off|'
     r'is not stored|on its way|list of frames|lists a frame|in circles|address of the file', WAIT),
)  # fmt: skip
ELSE = f'{LOG} {DOCTOR}'


def what_to_do(error: str) -> str:
    """What to do about a failure that says `error`; empty where there is none."""
    if not error:
        return ''
    return next((told for found, told in ADVICE if re.search(found, error)), ELSE)
