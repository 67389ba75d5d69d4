"""Runs the command as cron does, and looks at what is stored."""

import json
from io import StringIO
from pathlib import Path

from django.conf import settings
from django.core.management import call_command

from simulated import Observatory
from tom_auto.files.storage_id import MARK


def updatedata(*arguments: str) -> tuple[int, dict]:
    """Run `updatedata --json` with `arguments`; its exit status and what it printed."""
    return ran('updatedata', *arguments)


def ran(command: str, *arguments: str) -> tuple[int, dict]:
    """Run a command with `--json`; its exit status and what it printed."""
    output, status = StringIO(), 0
    try:
        call_command(command, '--json', *arguments, stdout=output)
    except SystemExit as end:
        status = end.code
    return status, json.loads(output.getvalue())


def files() -> dict[str, bytes]:
    """Every file in the media folder, hidden ones too, by its name there; not the storage's id."""
    root = Path(settings.MEDIA_ROOT)
    return {
        str(file.relative_to(root)): file.read_bytes()
        for file in root.rglob('*')
        if file.is_file() and file.name != MARK
    }


def contents(sky: Observatory) -> list[bytes]:
    """What every frame of the observatory holds, sorted."""
    return sorted(frame.content for frame in sky.frames.values())
