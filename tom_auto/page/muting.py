"""What people are told, and what they mute: a page for those who may act, and its buttons."""

from datetime import datetime, time, timedelta

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from tom_observations.models import ObservationRecord

from ..access import (
    for_staff,
    for_visitors,
    knows_outcomes,
    may_act,
    number_in,
    seen_by,
    sees_everything,
)
from ..channels import channels, send_test
from ..jobs import MAIN, command_of, jobs
from ..models import Mute, Told
from ..observatories.facilities import facility_classes

SHOWN = 50  # messages
LONGEST = timedelta(days=366)


class MuteForm(forms.Form):
    """What to mute: a record, a facility, or without both everything; until when, and why."""

    record = forms.ModelChoiceField(
        ObservationRecord.objects.none(), required=False, widget=forms.HiddenInput
    )
    facility = forms.ChoiceField(required=False)
    until = forms.DateField(widget=forms.DateInput({'type': 'date'}))
    why = forms.CharField(max_length=200)

    def __init__(self, user: object, *args: object, **options: object) -> None:
        super().__init__(*args, **options)
        self.fields['record'].queryset = seen_by(user, ObservationRecord.objects.all())
        names = [(name, name) for name in facility_classes()[0]]
        self.fields['facility'].choices = [('', 'everything'), *names]

    def clean_until(self) -> datetime:
        """The end of that day."""
        day, today = self.cleaned_data['until'], timezone.localdate()
        if not today <= day <= today + LONGEST:
            raise forms.ValidationError('Choose a day from today on, within a year.')
        return timezone.make_aware(datetime.combine(day, time.max))


@for_visitors
def alerts(request: HttpRequest) -> HttpResponse:
    """What is muted, a form to mute more, and the messages that were sent."""
    if not may_act(request.user):
        raise PermissionDenied
    asked = {name: request.GET.get(name, '') for name in ('record', 'facility')}
    records = seen_by(request.user, ObservationRecord.objects.all())
    record = records.filter(pk=number_in(asked['record']) or 0).first()
    if asked['record'] and record is None:
        raise Http404
    week = timezone.localdate() + timedelta(days=7)
    initial = {'record': record, 'facility': asked['facility'], 'until': week}
    context = {
        'form': MuteForm(request.user, initial=initial),
        'record': record,
        'muted': _seen(request),
        'told': _told(request)[:SHOWN],
        'all_told': knows_outcomes(request.user),
        'channels': channels(),
        'everything': sees_everything(request.user),
    }
    return render(request, 'tom_auto/alerts.html', context)


def _seen(request: HttpRequest) -> list[Mute]:
    """What is muted, as far as the visitor may see the records."""
    muted = Mute.objects.in_force()
    of_records = seen_by(request.user, muted.filter(record__isnull=False), 'record')
    return [*muted.filter(record=None), *of_records.select_related('record')]


def _told(request: HttpRequest) -> QuerySet[Told]:
    """What was told, but for what would tell the visitor that something hidden has failed."""
    if knows_outcomes(request.user):
        return Told.objects.all()
    return Told.objects.exclude(
        job__in=[job.name for job in jobs().jobs if command_of(job) == MAIN]
    )


@for_staff
def mute(request: HttpRequest) -> None:
    form = MuteForm(request.user, request.POST)
    if not form.is_valid():
        for name, errors in form.errors.items():
            messages.error(request, f'{name}: {" ".join(errors)}')
        return
    what = form.cleaned_data
    if what['record']:
        what['facility'] = ''
    Mute.objects.create(by=request.user.get_username(), **what)
    messages.success(request, f'Muted until {what["until"]:%Y-%m-%d}.')


@for_staff
def unmute(request: HttpRequest, pk: int) -> None:
    wanted = {muted.pk: muted for muted in _seen(request)}
    if pk not in wanted:
        get_object_or_404(Mute.objects.none())
    wanted[pk].delete()
    messages.success(request, 'No longer muted.')


@for_staff
def test_message(request: HttpRequest) -> None:
    """Send a test message to all who get alerts, and say whether it was taken."""
    for channel, error in send_test(request.user.get_username()):
        if error:
            messages.error(request, f'The message by {channel} did not arrive: {error}')
        else:
            messages.success(request, f'A test message was sent by {channel}.')
