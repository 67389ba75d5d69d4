"""The automation's tables in Django's administration pages, read-only."""

from django.contrib import admin
from django.http import HttpRequest

from .models import RecordSync, RunFailure, Submission, UpdateRun


class ReadOnly:
    """Only the automation writes these tables."""

    def has_add_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    has_change_permission = has_add_permission


class RunFailureInline(ReadOnly, admin.TabularInline):
    model = RunFailure
    fields = ('facility', 'observation_id', 'error')
    extra = 0


@admin.register(UpdateRun)
class UpdateRunAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ('started', 'job', 'status', 'due', 'checked', 'saved', 'failed')
    list_filter = ('job', 'status')
    inlines = (RunFailureInline,)


@admin.register(RecordSync)
class RecordSyncAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ('record', 'state', 'status', 'checked_at', 'next_check', 'failures', 'error')
    list_select_related = ('record__target',)


@admin.register(Submission)
class SubmissionAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ('pk', 'created', 'facility', 'name', 'state', 'observation_ids', 'error')
    list_filter = ('state', 'facility')
