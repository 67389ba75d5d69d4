#!/usr/bin/env python
"""Runs the TOM's commands: `python manage.py help` lists them."""

import os
import sys
from pathlib import Path

from app.scheduling.log import rotate_own_output


def main() -> None:
    """Hand the command line to Django, or say how to get Django."""
    rotate_own_output(Path(__file__).absolute().parent / 'logs' / 'cron.log')
    os.environ.setdefault('DJANGO_SETTINGS_MODULE', '{{ cookiecutter.project_slug }}.settings')
    try:
        from django.core.management import execute_from_command_line
    except ImportError as error:
        raise SystemExit(
            f'Django cannot be imported by {sys.executable} ({error}).\n'
            'Is this the Python of the TOM? The README says how to install its packages '
            'and how to start it.'
        ) from error
    execute_from_command_line(sys.argv)


if __name__ == '__main__':
    main()
