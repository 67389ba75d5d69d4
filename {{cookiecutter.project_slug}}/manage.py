#!/usr/bin/env python
"""Runs the TOM's commands: `python manage.py help` lists them."""

import os
import sys
from pathlib import Path


def main() -> None:
    """Pass the command line to Django, or say what is missing."""
    project = Path(__file__).absolute().parent
    try:
        from tom_auto import startup
        from tom_auto.scheduling.job_log import rotate_own_output
    except ImportError as error:
        raise SystemExit(
            f'The library tom_auto is missing or too old ({error}). Copy the directory tom_auto of the '
            f'template to {project / "tom_auto"}, or install it with pip.'
        ) from error
    startup.begins()
    rotate_own_output(project / 'logs' / 'cron.log')
    os.environ.setdefault('DJANGO_SETTINGS_MODULE', '{{ cookiecutter.project_slug }}.settings')
    try:
        from django.core.management import execute_from_command_line
    except ImportError as error:
        raise SystemExit(
            f'{sys.executable} cannot import Django ({error}).\n'
            'Is this the Python of the TOM? The README says how to install its packages '
            'and how to activate it.'
        ) from error
    from django.db import OperationalError

    from tom_auto.environment import BadSetting, no_database

    try:
        execute_from_command_line(sys.argv)
    except BadSetting as mistake:
        raise SystemExit(str(mistake)) from None
    except OperationalError as error:
        if '--traceback' in sys.argv:
            raise
        raise SystemExit(no_database(error)) from None


if __name__ == '__main__':
    main()
