"""What Celery is at, and the button for hooks that fail again and again."""

from datetime import timedelta

from django.contrib import messages
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from ..access import for_staff, for_visitors, may_act, seen_by, sees_target
from ..celery_tasks import setup
from ..hooks.owed import due, keep_failing, owed
from ..jobs import beat
from ..models import TaskWorker

SILENT = timedelta(minutes=2)
SHOWN = 5  # of the files whose hooks fail


@for_visitors
def at_work(request: HttpRequest) -> HttpResponse:
    """Workers, queues and hooks owed: a part of the automation page, loaded after it."""
    if not (setup.in_use() and may_act(request.user)):
        return HttpResponse()
    queues, away = setup.queues()
    failing = seen_by(request.user, keep_failing(), 'record').order_by('-hooks_failures')
    target_seen = sees_target(request.user, 'record__target_id')
    context = {
        'workers': TaskWorker.objects.filter(
            refused='', alive_at__gte=timezone.now() - SILENT
        ).order_by('name'),
        'refused': setup.refused_workers(),
        'queues': queues,
        'away': away,
        'beat': beat()[1],
        'owed': seen_by(request.user, owed(), 'record').count(),
        'due': seen_by(request.user, due(), 'record').count(),
        'failing': failing.annotate(target_seen=target_seen)[:SHOWN],
        'failing_count': failing.count(),
    }
    return render(request, 'tom_auto/at_work.html', context)


@for_staff
def retry_hooks(request: HttpRequest) -> None:
    """Have the hooks that fail again and again run once more, now."""
    failing = seen_by(request.user, keep_failing(), 'record')
    count = failing.filter(hooks_holder='').update(hooks_due=Now())
    away = setup.tell_workers() if setup.in_use() else ''
    files = '1 file' if count == 1 else f'{count} files'
    when = 'now' if setup.in_use() else 'at the next run'
    text = f'The hooks for {files} are run again {when}.'
    messages.info(request, f'{text} {away}' if away else text)
