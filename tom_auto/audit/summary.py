"""When the last round of the audit ended, and what it found, for the page and doctor."""

from collections import Counter

from django.template.defaultfilters import filesizeformat
from django.utils import timezone

from ..models import AuditedFile, AuditRound
from .report import BAD


def last_round() -> AuditRound | None:
    """The last round that has ended."""
    return AuditRound.objects.filter(state=AuditRound.State.CLOSED).first()


def is_late(last: AuditRound | None, length: object) -> bool:
    """Whether a round should have ended since: each may take twice its time."""
    first = last or AuditRound.objects.last()
    return bool(first) and timezone.now() - (first.ended or first.began) > 2 * length


def in_trouble() -> int:
    """How many files are not as they should be."""
    return AuditedFile.objects.filter(verdict__in=BAD).count()


def words_of_verdicts() -> str:
    """How many files are not as they were stored, by verdict; empty where all are."""
    rows = AuditedFile.objects.exclude(verdict=AuditedFile.Verdict.SOUND).order_by()
    found = Counter(rows.values_list('verdict', flat=True))
    labels = dict(AuditedFile.Verdict.choices)
    return ', '.join(f'{found[name]} {labels[name]}' for name in labels if found[name])


def words_of_round(last: AuditRound) -> str:
    """What the last round found, in words."""
    labels = dict(AuditedFile.Verdict.choices)
    found = ', '.join(f'{last.found[name]} {labels[name]}' for name in labels if name in last.found)
    files = '1 file' if last.files == 1 else f'{last.files} files'
    read = filesizeformat(last.size).replace('\xa0', ' ')  # which Django's space keeps together
    return f'{files}, {read}: {found or "all as they were stored"}'
