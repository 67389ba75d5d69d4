"""`python -m app.scheduling`: the schedule without Django, before the packages are installed."""

import argparse
import sys
from functools import partial

from .cli import act, add_actions


def main() -> int:
    """Do what the command line asks for, and return the exit status."""
    parser = argparse.ArgumentParser(prog='python -m app.scheduling', description=__doc__)
    add_actions(parser)
    options = vars(parser.parse_args())
    return act(options, say=print, complain=partial(print, file=sys.stderr))


if __name__ == '__main__':
    sys.exit(main())
