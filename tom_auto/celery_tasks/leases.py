"""What one process at a time does, on one host or many, kept by the database and in its time."""

from datetime import timedelta

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.db.models.functions import Now

from ..models import Lease

BEAT = 'beat'


def hold(name: str, holder: str, seconds: float) -> bool:
    """Have the lease `name`, or prolong it; False where another holder has it."""
    mine = {'holder': holder, 'until': Now() + timedelta(seconds=seconds)}
    leases = Lease.objects.filter(name=name)
    if leases.filter(holder=holder).update(**mine):
        return True
    # Or one of a time to come, that the database's clock had while it was ahead.
    is_free = Q(until__lt=Now()) | Q(until__gt=Now() + timedelta(seconds=2 * seconds))
    if leases.filter(is_free).update(**mine, since=Now()):
        return True
    try:
        with transaction.atomic():
            Lease.objects.create(name=name, **mine, since=Now())
    except IntegrityError:
        return False
    return True


def leave(name: str, holder: str) -> None:
    """Let another one have it at once."""
    Lease.objects.filter(name=name, holder=holder).update(until=Now())


def holder_of(name: str) -> Lease | None:
    """Who has the lease now; None where nobody has."""
    return Lease.objects.filter(name=name, until__gte=Now()).first()


def last_holder_of(name: str) -> Lease | None:
    """Who had it last, or has it; None where nobody ever had."""
    return Lease.objects.filter(name=name).first()
