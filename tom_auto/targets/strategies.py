"""How a cadence's strategy is run: because of which observation, and in UTC.

A strategy is `run()` without arguments, and does not say why it submits. So it is run for one
trigger at a time: a failed observation, or the newest one of its group.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import NamedTuple

from dateutil.parser import parse
from django.db.models import Q
from django.utils.timezone import override
from tom_observations.cadences import resume_cadence_after_failure, retry_failed_observations
from tom_observations.cadences.retry_failed_observations import RetryFailedObservationsStrategy
from tom_observations.facilities import ocs
from tom_observations.facility import get_service_class
from tom_observations.models import DynamicCadence, ObservationGroup, ObservationRecord

from ..errors import CannotRepeat, NotSubmitted
from ..explain import told
from ..models import Submission
from ..stand_in import in_the_place_of
from .ceiling import longest_ago_first
from .submissions import submission_for

#: As it is while nobody stands in its place: a class may have taken over that alone.
RETRY_ALL = RetryFailedObservationsStrategy.run


def retries(strategy: type) -> bool:
    """Whether it replaces every failed observation of its group, as tomtoolkit's own `run` does.

    Others look at the newest one, or do what nobody knows: a class may have a `run` of its own.
    """
    return strategy.run in (RETRY_ALL, RetryFailedObservationsStrategy.run)


class Triggers(NamedTuple):
    """Because of which observations a strategy may submit something.

    `named`: those for which we cannot tell, and why.
    """

    due: list[ObservationRecord]
    named: list[tuple[ObservationRecord, CannotRepeat]]


def triggers_of(cadence: DynamicCadence, strategy: type) -> Triggers:
    """The observations because of which `strategy` may submit something."""
    group = cadence.observation_group
    records = list(group.observation_records.order_by('-created', '-pk'))
    if not records:
        raise NotSubmitted('its group has no observations to go on from')
    if not retries(strategy):
        # Not by its time: a clock may have been ahead, and it would be the newest one for months.
        return Triggers([max(records, key=attrgetter('pk'))], [])
    odd = {record: reason for record in records if (reason := _what_is_odd_of(record))}
    records = [record for record in records if record not in odd]
    ours = numbers_submitted_for(group, records)
    # tomtoolkit's own command notes no user; a form does.
    others = [one for one in records if one.user_id is None and one.observation_id not in ours]
    failed = [record for record in records if record.failed]
    due, doubtful = _without_replaced(cadence, failed, others)
    return Triggers(longest_ago_first(due, 'trigger'), [*odd.items(), *doubtful])


def _what_is_odd_of(record: ObservationRecord) -> CannotRepeat | None:
    """Why nobody can tell whether it has failed, or what to submit in its place."""
    try:
        if not record.failed:
            return None
        get_service_class(record.facility)().get_start_end_keywords()
    except Exception as error:  # its class is not installed, or has no such method
        why = told(error)
    else:
        if isinstance(record.parameters, dict):
            return None
        why = 'it has no parameters'
    its = f'{record.observation_id} of {record.facility}'
    return CannotRepeat(f'observation {its} cannot be submitted again: {why}')


def numbers_submitted_for(group: ObservationGroup, records: list[ObservationRecord]) -> set[str]:
    """The requests that were submitted because of `records` of `group`."""
    its = Q(trigger__in=records) | Q(cadence__observation_group=group)
    found = Submission.objects.filter(its).values_list('observation_ids', flat=True)
    return {number for numbers in found for number in numbers}


def is_due(cadence: DynamicCadence, strategy: type, trigger: ObservationRecord) -> bool:
    """Whether `trigger` is still one of them: somebody may have changed the group meanwhile."""
    try:
        return trigger in triggers_of(cadence, strategy).due
    except NotSubmitted:
        return False


def _without_replaced(
    cadence: DynamicCadence, failed: list[ObservationRecord], others: list[ObservationRecord]
) -> Triggers:
    """`failed` without those that one of `others`, of tomtoolkit's own command, replaces.

    Each of `others` replaces one: that of the same parameters, in the window before. Which one it
    replaces otherwise, after a change of the cadence say, nobody can tell.
    """
    open_ones = [one for one in reversed(failed) if others and submission_for(one) is None]
    replaced, doubtful = set(), {}
    for other in reversed(others):
        may_be = [record for record in open_ones if _may_replace(other, record)]
        sure = [record for record in may_be if _is_next(cadence, other, record)]
        if sure:
            replaced.add(next((record for record in sure if record not in replaced), sure[0]))
        else:
            doubtful |= dict.fromkeys(may_be, other)
    due = [record for record in failed if record not in replaced and record not in doubtful]
    unsure = {record: other for record, other in doubtful.items() if record not in replaced}
    return Triggers(due, [(one, _perhaps_replaced(one, other)) for one, other in unsure.items()])


def _perhaps_replaced(record: ObservationRecord, other: ObservationRecord) -> CannotRepeat:
    failed, its = record.observation_id, other.observation_id
    return CannotRepeat(
        f'observation {failed} has failed, and {its} may be its replacement: nobody can tell'
    )


def _may_replace(other: ObservationRecord, record: ObservationRecord) -> bool:
    """Whether `other` may have been submitted because of `record`.

    Those that one form has made have one window. A replacement has all that the form was filled in
    with; a record of a request that was made elsewhere has not, and cannot be repeated either.
    """
    return (
        other.facility == record.facility
        and isinstance(other.parameters, dict)
        and bool(record.parameters.keys() - made_elsewhere(record.facility))
        and other.pk > record.pk
        and record.parameters.keys() <= other.parameters.keys()
        and _begins_later(other, record)
    )


def _is_next(cadence: DynamicCadence, other: ObservationRecord, record: ObservationRecord) -> bool:
    """Whether `other` is what tomtoolkit's strategy makes of `record`."""
    start, end = get_service_class(record.facility)().get_start_end_keywords()
    if any(
        other.parameters[name] != value
        for name, value in record.parameters.items()
        if name not in (start, end)
    ):
        return False
    try:
        later = timedelta(hours=cadence.cadence_parameters['cadence_frequency'])
        return _moment(other.parameters[start]) - _moment(record.parameters[start]) == later
    except (LookupError, TypeError, ValueError, OverflowError):
        return False


def made_elsewhere(facility: str) -> set[str]:
    """All that `findrequests` knows of a request; the page that adds existing ones knows nothing."""
    return {'name', 'proposal', *get_service_class(facility)().get_start_end_keywords()}


def _begins_later(other: ObservationRecord, record: ObservationRecord) -> bool:
    start, _ = get_service_class(record.facility)().get_start_end_keywords()
    try:
        return _moment(other.parameters[start]) > _moment(record.parameters[start])
    except (LookupError, TypeError, ValueError, OverflowError):  # nobody knows, so it may
        return True


def refuse_what_is_missing(trigger: ObservationRecord) -> None:
    """Raise CannotRepeat if `trigger` lacks what a form needs: it was made elsewhere, for one.

    tomtoolkit's strategy that retries does not look whether the form is valid.
    """
    facility = get_service_class(trigger.facility)()
    keywords, kind = facility.get_start_end_keywords(), trigger.parameters.get('observation_type')
    try:
        form = facility.get_form(kind)(data=trigger.parameters)
        fields = {*form.errors, *(one for one in keywords if one not in trigger.parameters)}
    except Exception as error:  # a class of one's own may know no such kind
        its = f'{trigger.observation_id} of {trigger.facility}'
        words = f'observation {its} cannot be submitted again: {told(error)}'
        raise CannotRepeat(words) from error
    if fields:
        words = f'the record of observation {trigger.observation_id} has not all that the form of '
        words += f'{trigger.facility} needs (missing, or not valid: {", ".join(sorted(fields))})'
        raise CannotRepeat(words)


def next_to_replace(cadence: DynamicCadence) -> Triggers:
    """The first failed observation of its group that nothing was submitted for; and those before it
    that cannot be submitted again.
    """
    failed, named = triggers_of(cadence, RetryFailedObservationsStrategy)
    for record in failed:
        if submission_for(record) is not None:
            continue
        try:
            refuse_what_is_missing(record)
        except CannotRepeat as reason:
            named.append((record, reason))
        else:
            return Triggers([record], named)
    return Triggers([], named)


@contextmanager
def in_utc() -> Iterator[None]:
    """While this lasts, tomtoolkit's strategies reckon in UTC, as portals do.

    They take the machine's time for it, and cannot compare it with a time that has a zone. The forms
    that they fill in drop the zone of a time, and read what is left in the TOM's zone.
    """
    before = os.environ.get('TZ')
    os.environ['TZ'] = 'UTC'
    time.tzset()
    try:
        with (
            override(UTC),
            in_the_place_of(resume_cadence_after_failure, 'parse', _moment),
            in_the_place_of(retry_failed_observations, 'parse', _moment),
            in_the_place_of(ocs, 'parse', _as_utc),
        ):
            yield
    finally:
        del os.environ['TZ']
        if before is not None:
            os.environ['TZ'] = before
        time.tzset()


def _moment(text: str) -> datetime:
    """The time that `text` says, in UTC and without a zone."""
    return _as_utc(text).replace(tzinfo=None)


def _as_utc(text: str) -> datetime:
    """The time that `text` says, in UTC; without a zone if `text` has none."""
    moment = parse(text)
    return moment.astimezone(UTC) if moment.tzinfo else moment
