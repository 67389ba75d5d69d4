"""`python -m tom_auto.scheduling`: the schedule without Django, before the packages are installed.

It works on the project in the current directory.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

from .. import __version__
from .cli import act, add_actions
from .plan import Site


def main() -> int:
    parser = argparse.ArgumentParser(prog='python -m tom_auto.scheduling', description=__doc__)
    parser.add_argument('--version', action='version', version=f'tom-auto {__version__}')
    add_actions(parser)
    options = vars(parser.parse_args())
    return act(options, print, partial(print, file=sys.stderr), Site(project=Path.cwd()))


if __name__ == '__main__':
    sys.exit(main())
