"""Crontabs as they lie about: comments, other programs' blocks, bytes that are no text."""

import random

LINES = [
    b'',
    b'# a comment',
    b'#',
    b'   # indented',
    b'MAILTO="me@example.org"',
    b'SHELL=/bin/tcsh',
    b'0 * * * * /usr/bin/backup --all',
    b'*/5 * * * * echo "100\\% sure" | mail me',
    b'@reboot sleep 5',
    b'1 2 * * * with a carriage return\r',
    b'3 4 * * * caf\xe9 \xff\xfe',
    b'\t',
    b'# >>> conda initialize >>>',
    b'# <<< conda initialize <<<',
    b'# >>> tom-auto other_tom /not/mine >>>',
    b'# <<< tom-auto other_tom /not/mine <<<',
    b'# >>> tom-auto >>>',
    b'# From schedule.toml. Change it there, then install it again: README.md says how.',
    b'5 * * * * echo "# >>> tom-auto my_tom /x >>>"',
]
BYTES = [byte for byte in range(1, 256) if byte != 10]


def random_line(chance: random.Random) -> bytes:
    """One of these lines, or any bytes."""
    return chance.choice(LINES) if chance.random() < 0.9 else bytes(chance.choices(BYTES, k=20))


def random_table(chance: random.Random) -> bytes:
    """A crontab of up to eight lines, with or without a newline at its end."""
    lines = [random_line(chance) for _ in range(chance.randrange(9))]
    return b'\n'.join(lines) + chance.choice([b'', b'\n', b'\n\n'])
