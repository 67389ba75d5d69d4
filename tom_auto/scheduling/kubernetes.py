"""Turns the schedule into Kubernetes CronJobs, and writes them into deploy/, from where `kubectl` takes them."""

import hashlib
import json
import re
from pathlib import Path

from .command_to_type import cluster_name, typed
from .cron_expression import numbers_of
from .definition import FILE, Job, Schedule, ScheduleError, slug_of
from .install import difference
from .plan import CURRENT, NOT_INSTALLED, STALE, START, Site, checked_schedule

LONGEST_NAME = 52  # Kubernetes adds eleven characters of its own, and 63 are the most
#: A run that could not start within this many seconds is skipped.
STARTING_DEADLINE = 600
#: What ends a pod that never starts, for want of its image, say: no later run would start beside it.
#: `schedule run` keeps the timeout of a job itself, after up to 25 minutes of waiting for its turn.
LONGER, DAY = 1800, 86400

DEPLOY = Path('deploy')
CRONJOBS = DEPLOY / 'cronjobs.yaml'
KUSTOMIZATION = DEPLOY / 'kustomization.yaml'
APPLY = 'kubectl apply -k deploy'

#: The pod is that of the web server in deploy/tom.yaml, beside which it runs: the claim is of one node.
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
      activeDeadlineSeconds: {deadline}
      template:
        metadata:
          labels: {labels}
        spec:
          restartPolicy: Never
          affinity:
            podAffinity:
              requiredDuringSchedulingIgnoredDuringExecution:
                - topologyKey: kubernetes.io/hostname
                  labelSelector:
                    matchLabels: {web}
          automountServiceAccountToken: false
          enableServiceLinks: false
          shareProcessNamespace: true
          securityContext:
            runAsNonRoot: true
            runAsUser: 10001
            runAsGroup: 10001
            fsGroup: 10001
            fsGroupChangePolicy: OnRootMismatch
            seccompProfile: {{type: RuntimeDefault}}
          volumes:
            - name: tmp
              emptyDir: {{sizeLimit: 1Gi}}
            - name: cache
              emptyDir: {{sizeLimit: 64Mi}}
            - name: logs
              emptyDir: {{sizeLimit: 100Mi}}
            - name: data
              persistentVolumeClaim: {{claimName: {settings}-data}}
          containers:
            - name: {container}
              image: {image}
              command: {command}
              env:
                - {{name: TERMINAL_LOG, value: INFO}}
              envFrom:
                - secretRef: {{name: "{settings}"}}
                - configMapRef: {{name: "{settings}"}}
              securityContext:
                allowPrivilegeEscalation: false
                readOnlyRootFilesystem: true
                capabilities: {{drop: [ALL]}}
              resources:
                requests: {{cpu: 100m, memory: 512Mi}}
                limits: {{memory: 3Gi}}
              volumeMounts:
                - {{name: tmp, mountPath: /tmp}}
                - {{name: cache, mountPath: /tom/.cache}}
                - {{name: logs, mountPath: /tom/logs}}
                - {{name: data, mountPath: /tom/data, subPath: data}}
                - {{name: data, mountPath: /tom/backups, subPath: backups}}
"""


def manifests(schedule: Schedule, slug: str, image: str) -> str:
    """A CronJob for every enabled job, as YAML for `kubectl`.

    The containers get their settings from the secret and the config map named after the TOM; the data is
    in its claim.
    """
    heading = f'# From {FILE}, by: python3 -m tom_auto.scheduling install\n'
    return heading + '---\n'.join(_manifest(job, slug, image) for job in schedule.enabled())


def _manifest(job: Job, slug: str, image: str) -> str:
    return MANIFEST.format(
        name=_yaml(_short(f'{cluster_name(slug)}-{cluster_name(job.name)}')),
        labels=_labels(slug, 'job'),  # not the name of the job, which may be `web`
        web=_labels(slug, 'web'),
        schedule=_yaml(_expression(job.when)),
        starting_deadline=STARTING_DEADLINE,
        deadline=(job.timeout or DAY) + LONGER,
        container=_yaml(cluster_name(job.name)),
        image=_yaml(image),
        command=_yaml(['python', 'manage.py', *START, job.name]),
        settings=cluster_name(slug),  # quoted: `on` and `no` are not names in YAML
    )


def _labels(slug: str, component: str) -> str:
    labels = {'name': slug.strip('_'), 'component': component}
    return _yaml({f'app.kubernetes.io/{key}': value for key, value in labels.items()})


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


def _short(name: str) -> str:
    if len(name) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f'{name[: LONGEST_NAME - 9].rstrip("-")}-{digest}'


# --- deploy/ ----------------------------------------------------------------------------------


def install(site: Site) -> list[str]:
    """Write the CronJobs into deploy/. Returns the lines to print: what to type then."""
    before, after = _files(site)
    file = site.project / CRONJOBS
    if after is None:
        return ['Beat starts the jobs in this cluster: there are no CronJobs.', *_to_type([])]
    if after == before:
        return [f'Nothing to do: {CRONJOBS} already has these CronJobs.', *_to_type([])]
    part = file.with_name(f'.{file.name}.part')
    try:
        part.write_text(after, encoding='utf-8')
        part.replace(file)
    except OSError as error:
        raise ScheduleError(f'{file} cannot be written: {error}') from error
    gone = [name for name in _names(before) if name not in _names(after)]
    return [f'Written: {CRONJOBS}', *_to_type(gone)]


def preview(site: Site) -> list[str]:
    """What `install` would change in deploy/, as diff(1) would show it."""
    before, after = _files(site)
    if after is None or after == before:
        return [f'Nothing to do: {CRONJOBS} is as it should be.']
    change = difference(before.encode(), after.encode(), str(CRONJOBS))
    return [*change, 'Nothing was changed.']


def status(site: Site) -> tuple[int, list[str]]:
    """Whether deploy/ has the CronJobs of the schedule. In a pod there is no deploy/: then all is well."""
    if not (site.project / KUSTOMIZATION).is_file():
        checked_schedule(site)
        return CURRENT, ['The cluster starts the jobs.']
    before, after = _files(site)
    again = f'Type: {typed(site.project, "schedule install")}'
    if after is None:
        return CURRENT, ['Beat starts the jobs in this cluster.']
    if not before:
        return NOT_INSTALLED, [f'There is no {CRONJOBS}, so the cluster starts no job.', again]
    if after != before:
        return STALE, [f'{CRONJOBS} is out of date: {FILE} says something else.', again]
    return CURRENT, [
        f'{CRONJOBS} has the CronJobs of {FILE}: {", ".join(_names(after)) or "none"}.'
    ]


def _files(site: Site) -> tuple[str, str | None]:
    """The CronJobs that are in deploy/, and those that should be; None if beat takes their place."""
    schedule = checked_schedule(site)
    try:
        wanted = (site.project / KUSTOMIZATION).read_text(encoding='utf-8')
    except OSError as error:
        raise ScheduleError(
            f'{KUSTOMIZATION} cannot be read: {error.strerror}. The jobs of this TOM run in a cluster. '
            'Type this in the directory of the project, outside of the containers. '
            f'To print the CronJobs: {typed(site.project, "schedule show")}'
        ) from error
    slug, file = slug_of(site.project), site.project / CRONJOBS
    before = file.read_text(encoding='utf-8') if file.is_file() else ''
    by_cron = re.search(rf'(?m)^ *- {CRONJOBS.name}', wanted)
    return before, manifests(schedule, slug, cluster_name(slug)) if by_cron else None


def _names(text: str) -> list[str]:
    return re.findall(r'(?m)^  name: "(.*)"$', text)


def _to_type(gone: list[str]) -> list[str]:
    """What to type so that the cluster has the schedule, which is in the image as well."""
    gone = [f'kubectl delete cronjob {" ".join(gone)}'] if gone else []
    return [
        f'{FILE} is part of the image as well. After a change, build and push an image with a new tag, write',
        f'the tag into {KUSTOMIZATION} (KUBERNETES.md), then type:',
        '',
        *(f'    {command}' for command in (APPLY, *gone)),
        '',
    ]
