"""Turns the schedule into Kubernetes CronJobs."""

import hashlib
import json

from .cron_expression import numbers_of
from .definition import FILE, Job, Schedule
from .plan import START

LONGEST_NAME = 52  # Kubernetes adds eleven characters of its own, and 63 are the most
#: A run that could not start within this many seconds is skipped.
STARTING_DEADLINE = 600

MANIFEST = """\
apiVersion: batch/v1
kind: CronJob
metadata:
  name: {name}
  labels: {labels}
spec:
  schedule: {schedule}
  timeZone: Etc/UTC
  concurrencyPolicy: Forbid
  startingDeadlineSeconds: {starting_deadline}
  successfulJobsHistoryLimit: 3
  failedJobsHistoryLimit: 3
  jobTemplate:
    spec:
      backoffLimit: 0
      template:
        metadata:
          labels: {labels}
        spec:
          restartPolicy: Never
          containers:
            - name: {container}
              image: {image}
              command: {command}
              envFrom:
                - secretRef:
                    name: {secret}
"""


def manifests(schedule: Schedule, slug: str, image: str) -> str:
    """A CronJob for every enabled job, as YAML for `kubectl apply -f -`.

    The containers get their settings from the secret named after the TOM.
    """
    heading = f'# From {FILE}. The secret {_name(slug)} holds what is in .env elsewhere.\n'
    return heading + '---\n'.join(_manifest(job, slug, image) for job in schedule.enabled())


def _manifest(job: Job, slug: str, image: str) -> str:
    labels = {'name': slug.strip('_'), 'component': job.name}
    labels = {f'app.kubernetes.io/{key}': value for key, value in labels.items()}
    return MANIFEST.format(
        name=_yaml(_short(f'{_name(slug)}-{_name(job.name)}')),
        labels=_yaml(labels),
        schedule=_yaml(_expression(job.when)),
        starting_deadline=STARTING_DEADLINE,
        container=_yaml(_name(job.name)),
        image=_yaml(image),
        command=_yaml(['python', 'manage.py', *START, job.name]),
        secret=_yaml(_name(slug)),  # quoted: `on` and `no` are not names in YAML
    )


def _expression(when: str) -> str:
    """`when`, with Sunday as 0: Kubernetes does not accept 7."""
    *others, weekdays = when.split()
    numbers = numbers_of(when)[-1]
    if numbers is not None:
        weekdays = ','.join(str(number) for number in sorted({number % 7 for number in numbers}))
    return ' '.join([*others, weekdays])


def _yaml(value: object) -> str:
    """`value` as YAML: JSON is valid YAML."""
    return json.dumps(value, ensure_ascii=False)


def _name(text: str) -> str:
    """`text` as a Kubernetes name: lower case letters, digits and -."""
    return text.replace('_', '-').strip('-')


def _short(name: str) -> str:
    if len(name) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f'{name[: LONGEST_NAME - 9].rstrip("-")}-{digest}'
