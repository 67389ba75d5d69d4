"""What `manage.py check` says about the automation's settings."""

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register

from .conf import mistakes


@register(Tags.compatibility)
def check_automation(**kwargs: object) -> list[CheckMessage]:
    """app.E001: AUTOMATION holds something that is no option, or a value that cannot be used."""
    return [
        Error(message, hint=hint, id='app.E001')
        for message, hint in mistakes(getattr(settings, 'AUTOMATION', {}))
    ]
