"""Who may see a new observation record: those who may see what it comes from."""

from django.conf import settings
from django.contrib.auth.models import Group
from django.db.models import Model
from guardian.shortcuts import assign_perm, get_groups_with_perms, get_users_with_perms
from tom_observations.models import ObservationRecord
from tom_targets.base_models import BaseTarget

VERBS = ('view', 'change', 'delete')
EVERYBODY = 'Public'  # tomtoolkit puts every user into this group


def share(source: Model, record: ObservationRecord) -> None:
    """Give those who have rights to `source`, a target or another record, the same to `record`.

    Its user gets all, as from tomtoolkit's own API. Only where records have rights of their own.
    """
    if getattr(settings, 'TARGET_PERMISSIONS_ONLY', True):
        return
    users = get_users_with_perms(source, attach_perms=True, with_group_users=False)
    for holder, rights in (get_groups_with_perms(source, attach_perms=True) | users).items():
        _give(holder, [right.partition('_')[0] for right in rights], record)
    if record.user is not None:
        _give(record.user, VERBS, record)
    if isinstance(source, BaseTarget) and source.permissions != BaseTarget.Permissions.PRIVATE:
        for everybody in Group.objects.filter(name=EVERYBODY):
            _give(everybody, ['view'], record)


def _give(holder: object, verbs: list[str] | tuple[str, ...], record: ObservationRecord) -> None:
    for verb in verbs:
        if verb in VERBS:
            assign_perm(f'tom_observations.{verb}_observationrecord', holder, record)
