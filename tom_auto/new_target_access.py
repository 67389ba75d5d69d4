"""Who may see the targets that `updatetargets` makes: `NEW_TARGETS` of the settings."""

from dataclasses import dataclass

from django.contrib.auth.models import Group
from django.core.exceptions import ImproperlyConfigured
from tom_targets.base_models import get_default_target_permission

from .conf import automation

HIDDEN = (
    "Only superusers see the new targets: say in TOM_AUTO['NEW_TARGETS'] who else should see them."
)


@dataclass(frozen=True)
class Access:
    """The groups that may see and change new targets, and the targets' permission."""

    groups: tuple[Group, ...] = ()
    permission: str = ''


def access_to_new_targets() -> Access:
    """What the settings say. Raises ImproperlyConfigured if a group does not exist."""
    wanted = automation().NEW_TARGETS
    names = set(wanted.get('groups', ()))
    groups = tuple(Group.objects.filter(name__in=names))
    if missing := names - {group.name for group in groups}:
        known = ', '.join(Group.objects.order_by('name').values_list('name', flat=True)) or 'none'
        raise ImproperlyConfigured(
            f"TOM_AUTO['NEW_TARGETS'] names {', '.join(sorted(missing))}, but there is no such group. "
            f'The groups are: {known}.'
        )
    return Access(groups, wanted.get('permission', ''))


def is_hidden(access: Access) -> bool:
    """Whether nobody but superusers would see a new target."""
    permission = access.permission or str(get_default_target_permission())
    return permission == 'PRIVATE' and not access.groups
