"""The automation's tables in Django's administration pages, read-only."""

from django import forms
from django.apps import apps
from django.contrib import admin
from django.http import HttpRequest

from .models import RecordSync, RunFailure, ServiceTarget, Submission, UpdateRun


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

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """What was submitted would be submitted again."""
        return False


class Wish(forms.ModelForm):
    """Which data service is to be asked for the data of a target."""

    service = forms.ChoiceField(choices=lambda: [(name, name) for name in services_with_data()])


@admin.register(ServiceTarget)
class ServiceTargetAdmin(admin.ModelAdmin):
    """Each row has `updatetargets` ask a service for the reduced data of a target."""

    form = Wish
    fields = ('target', 'service')
    raw_id_fields = ('target',)
    list_display = ('target', 'service', 'asked_at', 'answered_at')
    list_filter = ('service',)
    list_select_related = ('target',)

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """One asks again, or does not ask: there is nothing to change."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Whoever may delete a target may delete what hangs on it."""
        return True


def services_with_data() -> list[str]:
    """The installed data services that store reduced data."""
    if not apps.is_installed('tom_dataservices'):
        return []
    from tom_dataservices.dataservices import get_data_service_classes

    from .targets.selection import has_data

    return sorted(name for name, own in get_data_service_classes().items() if has_data(own))
