"""Takes a file as it is, because a person says that it is right."""

from django.utils import timezone

from ..files import storage
from ..models import AuditedFile
from .report import BAD


def accept(name: str) -> bool:
    """Take the content of the file in trouble `name` as the right one; whether there is such a file."""
    row = AuditedFile.objects.filter(name=name, verdict__in=BAD).first()
    if row is None or not storage.is_proper(name) or not storage.exists(name):
        return False
    try:
        received = storage.read(name)
    except OSError:
        return False
    row.verdict, row.said = AuditedFile.Verdict.CHANGED, ''
    row.md5, row.size, row.right_at = received.md5, received.size, timezone.now()
    row.save()
    return True
