"""A TOM in a cluster: its manifests, by kubectl, by the schemas of Kubernetes, and by what these leave open."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from baking import bake
from needs import need
from running import manage, run

#: The newest Kubernetes versions whose schemas are there.
VERSIONS = sorted(set(kubernetes_validate.utils.all_versions()), key=lambda one: one.split('.'))[
    -3:
]
NAME, COMPONENT = 'app.kubernetes.io/name', 'app.kubernetes.io/component'
#: With `on`, which YAML takes for true, and the longest name, with two _ in a row.
LONG = 'a__' + 'b' * 35 + '_c'
PROJECTS = ['none my_tom', 'celery my_tom', 'celery on', f'none {LONG}']
#: What the user adds to the schedule: a job may have the name of a part of the TOM.
JOBS = """
[nightly]
when = "5 4 1-7 * 5,7"
command = ["updatedata", "--recheck"]
timeout = 3600
[web]
when = "daily"
command = ["clearsessions"]
[updatetargets]
when = "daily"
enabled = false
"""
SCHEDULING = (sys.executable, '-S', '-m', 'tom_auto.scheduling')  # -S: needs no package


@dataclass
class Cluster:
    """A TOM for a cluster, and what kubectl makes of its deploy/, by kind and name."""

    project: Path
    printed: str
    engine: str
    things: dict[tuple[str, str], dict] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What all names begin with."""
        return self.project.name.replace('_', '-')

    def of(self, kind: str) -> list[dict]:
        """All things of that kind."""
        return [thing for (one, _), thing in self.things.items() if one == kind]

    def pods(self) -> dict[str, dict]:
        """The templates of pods, by what makes them."""
        made = {
            f'{kind} {name}': thing.get('spec', {}) for (kind, name), thing in self.things.items()
        }
        specs = {name: spec.get('jobTemplate', {}).get('spec', spec) for name, spec in made.items()}
        return {name: spec['template'] for name, spec in specs.items() if 'template' in spec}

    def containers(self) -> list[tuple[str, dict, dict]]:
        """Each container: its name, itself, and the pod that it is in."""
        return [
            (f'{name}: {container["name"]}', container, pod['spec'])
            for name, pod in self.pods().items()
            for container in [*pod['spec'].get('initContainers', []), *pod['spec']['containers']]
        ]

    def selected(self, labels: dict) -> list[str]:
        """Whose pods have these labels."""
        return [
            name
            for name, pod in self.pods().items()
            if labels.items() <= pod['metadata']['labels'].items()
        ]


#: One worker a TOM, so that each is made once.
EACH = [pytest.param(one, marks=pytest.mark.xdist_group(one)) for one in PROJECTS]


@pytest.fixture(scope='module', params=EACH)
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """A TOM, with more jobs than at first."""
    engine, slug = request.param.split()
    made = bake(
        tmp_path_factory.mktemp('cluster'),
        environment='kubernetes',
        database='postgresql',
        task_engine=engine,
        project_slug=slug,
    )
    assert made.status == 0, made.printed
    with (made.project / 'schedule.toml').open('a') as file:
        file.write(JOBS)
    done = run(made.project, *SCHEDULING, 'install')
    assert done.returncode == 0, done.stdout
    tom = Cluster(made.project, made.printed, engine)
    documents = list(yaml.safe_load_all(rendered(tom.project)))
    for file in tom.project.glob('deploy/storage.yaml'):
        documents += yaml.safe_load_all(file.read_text())
    tom.things = {(one['kind'], one['metadata']['name']): one for one in documents}
    assert len(tom.things) == len(documents)
    return tom


def rendered(project: Path) -> str:
    """What `kubectl apply -k deploy` would send."""
    kubectl = shutil.which('kubectl')
    need(kubectl, 'needs kubectl (Debian package kubernetes-client)')
    done = subprocess.run(
        [kubectl, 'kustomize', 'deploy'], cwd=project, capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, '')
    return done.stdout


def test_kubernetes_takes_all_of_it(cluster: Cluster) -> None:
    for thing in cluster.things.values():
        for version in VERSIONS:
            kubernetes_validate.validate(thing, version, strict=True)
    kinds = {'ConfigMap', 'Deployment', 'Ingress', 'Job', 'NetworkPolicy', 'Service'}
    further = (
        {'PodDisruptionBudget'}
        if cluster.engine == 'celery'
        else {'CronJob', 'PersistentVolumeClaim'}
    )
    assert {kind for kind, _ in cluster.things} == kinds | further


def test_names_and_labels_are_within_the_limits(cluster: Cluster) -> None:
    for kind, name in cluster.things:
        assert re.fullmatch(r'[a-z]([a-z0-9-]*[a-z0-9])?', name), (kind, name)
        assert len(name) <= (52 if kind == 'CronJob' else 63), (kind, name)
        assert name == cluster.name or name.startswith((f'{cluster.name}-', cluster.name[:20]))
    for thing in [*cluster.things.values(), *cluster.pods().values()]:
        assert thing['metadata']['labels'][NAME] == cluster.project.name
        for value in thing['metadata']['labels'].values():
            assert re.fullmatch(r'[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?', value)
    for where, container, _ in cluster.containers():
        assert re.fullmatch(r'[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?', container['name']), where


def test_selectors_find_the_pods_that_they_mean_and_no_other(cluster: Cluster) -> None:
    """Not those of a job that is called `web`."""
    for deployment in cluster.of('Deployment'):
        me = f'Deployment {deployment["metadata"]["name"]}'
        assert cluster.selected(deployment['spec']['selector']['matchLabels']) == [me]
    for service in cluster.of('Service'):
        me = f'Deployment {service["metadata"]["name"]}'
        assert cluster.selected(service['spec']['selector']) == [me]
        [container] = cluster.pods()[me]['spec']['containers']
        assert service['spec']['ports'][0]['targetPort'] in [
            port['name'] for port in container['ports']
        ]
    for budget in cluster.of('PodDisruptionBudget'):
        me = f'Deployment {budget["metadata"]["name"]}'
        assert cluster.selected(budget['spec']['selector']['matchLabels']) == [me]
        replicas = cluster.things['Deployment', budget['metadata']['name']]['spec']['replicas']
        assert budget['spec']['maxUnavailable'] < replicas, 'one stays while a node is emptied'
    for policy in cluster.of('NetworkPolicy'):
        found = cluster.selected(policy['spec']['podSelector']['matchLabels'])
        one = f'Deployment {policy["metadata"]["name"]}'
        assert found == ([*cluster.pods()] if policy['metadata']['name'] == cluster.name else [one])


def test_from_the_ingress_to_the_web_server(cluster: Cluster) -> None:
    ingress = cluster.things['Ingress', cluster.name]['spec']
    [rule], [tls] = ingress['rules'], ingress['tls']
    backend = rule['http']['paths'][0]['backend']['service']
    [port] = cluster.things['Service', backend['name']]['spec']['ports']
    assert backend['port']['name'] == port['name']
    config = cluster.things['ConfigMap', cluster.name]['data']
    assert [rule['host']] == tls['hosts'] == [config['ALLOWED_HOSTS']]

    [web] = cluster.pods()[f'Deployment {cluster.name}-web']['spec']['containers']
    [port] = web['ports']
    bind = re.search(
        r"^bind = '0\.0\.0\.0:(\d+)'", (cluster.project / 'gunicorn.conf.py').read_text(), re.M
    )
    assert port['containerPort'] == int(bind[1])
    for kind, path in {'startup': '/livez', 'readiness': '/healthz', 'liveness': '/livez'}.items():
        assert web[f'{kind}Probe']['httpGet'] == {'path': path, 'port': port['name']}
    assert 'command' not in web, 'the image starts gunicorn'
    policy = cluster.things['NetworkPolicy', f'{cluster.name}-web']['spec']
    assert policy['ingress'] == [{'ports': [{'port': port['name']}]}]


def test_every_container_is_locked_up(cluster: Cluster) -> None:
    for where, container, pod in cluster.containers():
        assert (
            pod['securityContext'].items()
            >= {
                'runAsNonRoot': True,
                'runAsUser': 10001,
                'runAsGroup': 10001,
                'seccompProfile': {'type': 'RuntimeDefault'},
            }.items()
        ), where
        assert container['securityContext'] == {
            'allowPrivilegeEscalation': False,
            'readOnlyRootFilesystem': True,
            'capabilities': {'drop': ['ALL']},
        }, where
        assert pod['automountServiceAccountToken'] is False, where
        assert pod['enableServiceLinks'] is False, where
        assert container['resources']['limits']['memory'], where
        assert container['resources']['requests'].keys() == {'cpu', 'memory'}, where
    user = re.search(
        r'^USER (\d+):(\d+)$', (cluster.project / 'Dockerfile').read_text(), re.MULTILINE
    )
    assert user.groups() == ('10001', '10001')


def test_volumes_and_mounts_pair_up(cluster: Cluster) -> None:
    for name, pod in cluster.pods().items():
        volumes = {volume['name']: volume for volume in pod['spec']['volumes']}
        mounted = {
            mount['name']
            for where, container, _ in cluster.containers()
            for mount in container['volumeMounts']
            if where.startswith(f'{name}: ')
        }
        assert mounted == volumes.keys(), name
        for volume in volumes.values():
            assert volume.get('emptyDir', {}).get('sizeLimit') or 'persistentVolumeClaim' in volume
    for where, container, _ in cluster.containers():
        places = {mount['mountPath']: mount.get('subPath') for mount in container['volumeMounts']}
        if container['image'].startswith('redis:'):
            assert places.keys() == {container['workingDir']}
            continue
        assert places.keys() >= {'/tmp', '/tom/.cache', '/tom/logs'}, where  # noqa: S108
        data = cluster.engine == 'none' and ('CronJob' in where or 'web: web' in where)
        assert ('/tom/data' in places) == data, f'{where}: what is not kept must not be written'
        if data:
            assert (places['/tom/data'], places['/tom/backups']) == ('data', 'backups')
    made = re.search(
        r'install -d .* (data logs .*)\n', (cluster.project / 'Dockerfile').read_text()
    )[1]
    assert {'data', 'logs', 'backups', '.cache'} <= set(made.split()), 'mounted over'


def test_jobs_run_as_the_web_server_does_and_beside_it(cluster: Cluster) -> None:
    """The one is written by the template, the other by the library."""
    web = cluster.pods()[f'Deployment {cluster.name}-web']['spec']
    own = {'terminationGracePeriodSeconds', 'initContainers', 'containers', 'restartPolicy'}
    of_container = ('image', 'envFrom', 'securityContext', 'resources', 'volumeMounts')
    for cronjob in cluster.of('CronJob'):
        job = cronjob['spec']['jobTemplate']['spec']['template']['spec']
        assert {key: job[key] for key in job.keys() - own} == {
            key: web[key] for key in web.keys() - own
        }
        for key in of_container:
            assert job['containers'][0][key] == web['containers'][0][key], key
    if cluster.engine == 'none':
        [term] = web['affinity']['podAffinity']['requiredDuringSchedulingIgnoredDuringExecution']
        assert cluster.selected(term['labelSelector']['matchLabels']) == [
            f'Deployment {cluster.name}-web'
        ]
        claim = cluster.things['PersistentVolumeClaim', f'{cluster.name}-data']['spec']
        assert claim['accessModes'] == ['ReadWriteOnce']
        assert cluster.things['Deployment', f'{cluster.name}-web']['spec']['replicas'] == 1


def test_what_is_referred_to_is_there_or_is_made_by_the_guide(cluster: Cluster) -> None:
    guide = (cluster.project / 'KUBERNETES.md').read_text()
    for where, container, pod in cluster.containers():
        if container['image'].startswith('redis:'):
            continue
        secret, config = container['envFrom']  # the later wins
        assert f'kubectl create secret generic {secret["secretRef"]["name"]} --from-env' in guide, (
            where
        )
        assert ('ConfigMap', config['configMapRef']['name']) in cluster.things, where
        for volume in pod['volumes']:
            if claim := volume.get('persistentVolumeClaim'):
                assert ('PersistentVolumeClaim', claim['claimName']) in cluster.things
    [tls] = cluster.things['Ingress', cluster.name]['spec']['tls']
    assert f'kubectl create secret tls {tls["secretName"]} ' in guide
    assert not cluster.of('Secret'), 'no secret is in a file'
    for text in (guide, cluster.printed):
        for kind, name in re.findall(r'\b(deployment|job|cronjob)/([a-z][a-z0-9-]*)', text):
            known = {'deployment': 'Deployment', 'job': 'Job', 'cronjob': 'CronJob'}[kind]
            assert (known, name) in cluster.things, name
        for label in re.findall(r'app\.kubernetes\.io/name=(\w+)', text):
            assert label == cluster.project.name
    for block in re.findall(r'```sh\n(.*?)```', guide, re.DOTALL):
        assert run(cluster.project, 'sh', '-n', typed=block).stdout == ''
    for block in re.findall(r'```yaml\n(.*?)```', guide, re.DOTALL):
        scaled = yaml.safe_load(block)['spec']
        assert ('Deployment', scaled['scaleTargetRef']['name']) in cluster.things
        [trigger] = scaled['triggers']
        assert trigger['metadata']['listName'] == f'{cluster.project.name}.hooks'
        assert trigger['metadata']['address'].startswith(f'{cluster.name}-broker.')
    for file in re.findall(r'deploy/(\w+\.yaml)', guide):
        assert (cluster.project / 'deploy' / file).is_file(), file


def test_every_image_has_a_tag_of_its_own(cluster: Cluster) -> None:
    images = {container['image'] for _, container, _ in cluster.containers()}
    own = f'registry.example.org/{cluster.name}:1'
    assert images == {own} | ({'redis:8-bookworm'} if cluster.engine == 'celery' else set())
    assert f'docker build --tag {own} .' in cluster.printed


def test_the_cronjobs_are_the_enabled_jobs(cluster: Cluster) -> None:
    found = {
        container['command'][-1]: job['spec']
        for job in cluster.of('CronJob')
        for container in job['spec']['jobTemplate']['spec']['template']['spec']['containers']
    }
    if cluster.engine == 'celery':
        assert not found
        return
    assert found.keys() == {'updatedata', 'nightly', 'web'}
    assert re.fullmatch(r'\d+ \* \* \* \*', found['updatedata']['schedule'])
    assert found['nightly']['schedule'] == '5 4 1-7 * 0,5'
    deadlines = {
        name: one['jobTemplate']['spec']['activeDeadlineSeconds'] for name, one in found.items()
    }
    assert deadlines == {'updatedata': 88200, 'nightly': 3600 + 1800, 'web': 88200}


def test_what_celery_adds(cluster: Cluster) -> None:
    if cluster.engine == 'none':
        return
    name, slug = cluster.name, cluster.project.name
    pods = cluster.pods()
    for component, words in {'worker': ['worker', '--concurrency', '2'], 'beat': ['beat']}.items():
        [container] = pods[f'Deployment {name}-{component}']['spec']['containers']
        assert container['command'] == ['celery', '-A', slug, *words]
        alive = {one['name']: one['value'] for one in container['env']}['SCHEDULER_ALIVE']
        for probe in ('startupProbe', 'livenessProbe'):
            *_, file, what = container[probe]['exec']['command']
            assert (cluster.project / file).is_file()
            assert what == alive
        assert cluster.things['Deployment', f'{name}-{component}']['spec']['replicas'] == 2
    assert pods[f'Deployment {name}-worker']['spec']['terminationGracePeriodSeconds'] == 120
    address = f'CELERY_BROKER_URL=redis://{name}-broker:6379/0\n'
    assert address in (cluster.project / '.env').read_text()
    [port] = cluster.things['Service', f'{name}-broker']['spec']['ports']
    assert port['port'] == 6379
    policy = cluster.things['NetworkPolicy', f'{name}-broker']['spec']
    [who] = policy['ingress'][0]['from']
    assert set(cluster.selected(who['podSelector']['matchLabels'])) == pods.keys()


def test_an_update_waits_for_its_tables(cluster: Cluster) -> None:
    migrate = cluster.things['Job', f'{cluster.name}-migrate']
    assert migrate['metadata']['labels'][COMPONENT] == 'migrate', 'the guide chooses it by this'
    for deployment in cluster.of('Deployment'):
        pod = deployment['spec']['template']['spec']
        assert pod['terminationGracePeriodSeconds'] >= 30
        if pod['containers'][0]['image'].startswith('redis:'):
            continue
        assert deployment['spec']['strategy']['rollingUpdate'] == {
            'maxUnavailable': 0,
            'maxSurge': 1,
        }
        [wait] = pod['initContainers']
        assert 'until python manage.py migrate --check' in wait['command'][-1]


def test_the_settings_take_what_the_pods_get(cluster: Cluster, tmp_path: Path) -> None:
    """The secret that kubectl makes of .env, and the config map; a pod has no .env."""
    if cluster.project.name != 'my_tom':
        return  # the name makes no difference
    secret = subprocess.run(
        ['kubectl', 'create', 'secret', 'generic', 'x', '--from-env-file=.env', '--dry-run=client', '-o', 'json'],
        cwd=cluster.project, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    data = json.loads(secret.stdout)['data']
    lines = (cluster.project / '.env').read_text().splitlines()
    assert data.keys() == {line.partition('=')[0] for line in lines if line and line[0] != '#'}
    config = cluster.things['ConfigMap', cluster.name]['data']
    assert not data.keys() & config.keys(), 'a line of .env would have no effect'
    project = shutil.copytree(cluster.project, tmp_path / cluster.project.name, symlinks=True)
    lines = dict(line.split('=', 1) for line in lines if line and line[0] != '#')
    (project / '.env').unlink()
    variables = lines | config | {'MEDIA_BUCKET': 'data' if cluster.engine == 'celery' else ''}
    done = manage(project, 'check', '--deploy', **variables)
    assert done.returncode == 0, done.stdout
    warnings = {'tom_auto.W006'} if cluster.engine == 'celery' else set()  # no broker is here
    assert set(re.findall(r'\((\w+\.[A-Z]\d+)\)', done.stdout)) == warnings, done.stdout
    assert not (project / '.env').exists()


def test_a_change_of_the_schedule(cluster: Cluster, tmp_path: Path) -> None:
    project = Path(shutil.copytree(cluster.project, tmp_path / cluster.project.name, symlinks=True))
    assert run(project, *SCHEDULING, 'status').returncode == 0
    schedule, cronjobs = project / 'schedule.toml', project / 'deploy' / 'cronjobs.yaml'
    schedule.write_text(schedule.read_text().replace('timeout = 3600', 'enabled = false'))
    if cluster.engine == 'celery':
        assert not cronjobs.exists()
        done = run(project, *SCHEDULING, 'install')
        assert done.stdout.startswith('Beat starts the jobs in this cluster')
        assert not cronjobs.exists()
        return
    done = run(project, *SCHEDULING, 'status')
    assert (done.returncode, 'python3 -m tom_auto.scheduling install' in done.stdout) == (2, True)
    before = cronjobs.read_text()
    done = run(project, *SCHEDULING, 'install', '--dry-run')
    assert 'Nothing was changed.' in done.stdout
    assert cronjobs.read_text() == before
    done = run(project, *SCHEDULING, 'install')
    assert '    kubectl apply -k deploy\n' in done.stdout
    gone = re.search(r'    kubectl delete cronjob (\S+)\n', done.stdout)[1]
    assert f'name: "{gone}"' in before
    assert f'name: "{gone}"' not in cronjobs.read_text()
    shown = run(project, *SCHEDULING, 'show')
    assert shown.stdout == cronjobs.read_text(), 'one code for both'
    assert run(project, *SCHEDULING, 'status').returncode == 0
    cronjobs.unlink()
    assert run(project, *SCHEDULING, 'status').returncode == 1
    schedule.write_text(
        re.sub('enabled.*\n', '', schedule.read_text()).replace('\nwhen', '\nenabled = false\nwhen')
    )
    assert run(project, *SCHEDULING, 'install').returncode == 0
    assert 'CronJob' not in rendered(project)


def test_a_backup_that_breaks_off_leaves_the_last_one(cluster: Cluster, tmp_path: Path) -> None:
    guide = (cluster.project / 'KUBERNETES.md').read_text()
    commands = re.search(r'## Back up\n.*?```sh\n(.*?)```', guide, re.DOTALL)[1]
    (tmp_path / '.env').touch()
    kubectl, kept = tmp_path / 'kubectl', tmp_path / 'backups' / 'tom.tar'
    for said, status, there in (('whole', 0, 'whole'), ('ha', 1, 'whole'), ('new', 0, 'new')):
        kubectl.write_text(f'#!/bin/sh\nprintf {said}\nexit {status}\n')
        kubectl.chmod(0o755)
        run(tmp_path, 'sh', '-c', commands, PATH=f'{tmp_path}:{os.environ["PATH"]}')
        assert kept.read_text() == there


def test_a_backup_that_broke_off_is_not_in_the_next_one(cluster: Cluster, tmp_path: Path) -> None:
    """The pod keeps what was being fetched: an older backup came first, and was restored."""
    guide = (cluster.project / 'KUBERNETES.md').read_text()
    commands = re.search(r'## Back up\n.*?```sh\n(.*?)```', guide, re.DOTALL)[1]
    here, pod = tmp_path / 'here', tmp_path / 'pod'
    for directory in (here, pod / 'backups' / 'now', tmp_path / 'bin'):
        directory.mkdir(parents=True)
    (here / '.env').touch()
    (pod / 'backups' / 'now' / 'a.tar').write_text('old')
    stands_for = {
        'kubectl': f'while [ "$1" != -- ]; do shift; done; shift; cd {pod}; exec "$@"',
        'python': 'mkdir -p backups/now; printf new >backups/now/b.tar',
    }
    for name, does in stands_for.items():
        program = tmp_path / 'bin' / name
        program.write_text(f'#!/bin/sh\n{does}\n')
        program.chmod(0o755)
    run(here, 'sh', '-c', commands, PATH=f'{tmp_path / "bin"}:{os.environ["PATH"]}')
    assert (here / 'backups' / 'tom.tar').read_text() == 'new'
