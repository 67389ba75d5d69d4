"""What a result says: tables, ratios, and whether each bar is reached."""

import json
from pathlib import Path

HERE = Path(__file__).resolve().parent
README = HERE.parent / 'README.md'
BEGIN, END = '<!-- bench: written by `make bench` -->', '<!-- /bench -->'

TITLES = {
    'idle': 'A TOM without records',
    'completed': '{records} completed records × {frames} frames, {milliseconds} ms (T and U: {few})',
    'cpu': 'The same without latency',
    'hourly': 'An hour later: all is here, and nothing new; then four frames that come late',
    'two_proposals': '{mixed} records of two proposals, most of which ended 40 days ago, an hour later',
    'two_accounts': '{shared} records of two accounts and three proposals, an hour later',
    'few_among_many': 'Three records in a proposal with {others} frames of other people, an hour later',
    'long_lists': 'Records with {listed} frames in the lists, none of them wanted',
    'adopted': '{adopted} records that ended long ago, with their files',
    'pending': '{records} pending records, nothing new, {milliseconds} ms (T and U: {few})',
    'huge_account': 'The same, on an account with {finished} finished request groups',
    'history': '{settled} settled records and 10 due',
    'big_file': 'One file of {big} bytes',
    'many': '{many} due records in one run, every tenth with a frame, no latency',
    'hooks': 'Hooks of 50 ms of CPU for {records} records × 2 frames, and of 0.5 s of waiting for a tenth',
    'cluster': '{settled} settled records and a tenth as many due: to choose, to cut, to write; memory beyond the start',
    'batches': 'Five times {records} completed records × 2 frames, {milliseconds} ms, in batches',
}
HEADS = 'seconds', 'CPU s', 'MiB', 'requests', 'connections', 'at once', 'MB moved', 'frames'


def title(name: str, result: dict) -> str:
    """The work `name` in words, with the sizes of this result."""
    sizes = result['sizes']
    return TITLES[name].format(milliseconds=f'{sizes["latency"] * 1000:g}', **{
        key: f'{value:,}' for key, value in sizes.items()
    })  # fmt: skip


def table_of(name: str, result: dict) -> str:
    """The costs of one work, a line for each contender."""
    lines = [f'### {title(name, result)}\n', row('', *HEADS), row(*['---'] * (len(HEADS) + 1))]
    for who, cost in result['works'][name].items():
        lines.append(
            row(
                who,
                f'{cost["seconds"]:.2f}',
                f'{cost["cpu"]:.2f}',
                f'{cost["memory"]:.0f}',
                *(f'{cost[key]:,}' for key in ('requests', 'connections', 'most_at_once')),
                f'{cost["bytes"] / 1e6:.2f}',
                f'{cost["frames"]:,}',
            )
        )
    return '\n'.join(lines) + '\n'


def row(*cells: object) -> str:
    return '| ' + ' | '.join(map(str, cells)) + ' |'


def bars(result: dict) -> list[dict]:
    """Each figure that is asked for and that this result has: what, how much, and the bar."""
    found = []
    for name, judge in JUDGES.items():
        if name in result['works'] and 'idle' in result['works']:
            found += judge(result['works'][name], result)
    return found


def at_least(what: str, figure: float, bar: float, unit: str = '') -> dict:
    return _bar(what, figure, bar, unit, 'at least', figure >= bar)


def at_most(what: str, figure: float, bar: float, unit: str = '') -> dict:
    return _bar(what, figure, bar, unit, 'at most', figure <= bar)


def _bar(what: str, figure: float, bar: float, unit: str, kind: str, reached: bool) -> dict:
    return {
        'what': what,
        'figure': f'{figure:.3g}{unit}' if figure < 1000 else f'{figure:,.0f}{unit}',
        'bar': f'{kind} {bar:g}{unit}',
        'reached': reached,
    }


def _idle(work: dict, result: dict) -> list[dict]:
    ours, setup, other = work['ours'], work['setup'], work['U']
    return [
        at_most('idle run: CPU, of `django.setup()`', ours['cpu'] / setup['cpu'], 1.1, ' ×'),
        at_most(
            'idle run: memory, of `django.setup()`', ours['memory'] / setup['memory'], 1.1, ' ×'
        ),
        at_most('idle run: CPU, of `downloaddata`', ours['cpu'] / other['cpu'], 0.6, ' ×'),
        at_most('idle run: memory, of `downloaddata`', ours['memory'] / other['memory'], 0.6, ' ×'),
    ]


def _completed(work: dict, result: dict) -> list[dict]:
    ours, more = work['ours'], work['ours, 32 workers']
    slow = _for_all(work['T'], result['works']['idle']['T'], result)
    limit = ours['requests'] * result['sizes']['latency'] / 8
    frames = result['sizes']['frames'] * result['sizes']['records']
    return [
        at_most('completed: requests', ours['requests'] / frames, 1.01, ' a frame'),
        at_least('completed: faster than T', slow / ours['seconds'], 20, ' ×'),
        at_least('completed: of the limit, start-up included', limit / ours['seconds'], 0.85),
        at_least('completed, `--workers 32`: faster than T', slow / more['seconds'], 25, ' ×'),
        at_most(
            'completed, `--workers 32`: of the time with 8', more['seconds'] / ours['seconds'], 1
        ),
        at_most('completed: connections, 8 workers', ours['connections'], 10),
        at_most('completed: connections, 32 workers', more['connections'], 34),
    ]


def _for_all(few: dict, idle: dict, result: dict) -> float:
    """The seconds that T needs for all records, from those for a few, one after another."""
    sizes = result['sizes']
    return idle['seconds'] + (few['seconds'] - idle['seconds']) * sizes['records'] / sizes['few']


def _cpu(work: dict, result: dict) -> list[dict]:
    idle, sizes = result['works']['idle'], result['sizes']
    its = (work['T']['cpu'] - idle['T']['cpu']) / sizes['few']
    found = []
    for workers in (1, 8, 32):
        ours = (work[f'ours, {workers} at once']['cpu'] - idle['ours']['cpu']) / sizes['records']
        what = f"completed, {workers} at once: CPU of a record, of T's"
        found.append(at_most(what, ours / its, 0.33))
    return found


def _hourly(work: dict, result: dict) -> list[dict]:
    ours, start = work['ours'], result['works']['idle']['ours']
    late = work['ours, late frames']
    return [
        at_most('an hour later: requests', ours['requests'], 8),
        at_most('an hour later: beyond start-up', ours['seconds'] - start['seconds'], 2, ' s'),
        at_most('late frames: requests', late['requests'], 14),
        at_least('late frames: files here', late['frames'] - ours['frames'], 3),
    ]


def _two_proposals(work: dict, result: dict) -> list[dict]:
    return [at_most('two proposals: requests', work['ours']['requests'], 14)]


def _two_accounts(work: dict, result: dict) -> list[dict]:
    ours, records = work['ours'], result['sizes']['shared']
    return [
        at_most('two accounts: requests', ours['requests'], 30),
        at_most('two accounts: frames that are missing', records - ours['frames'], 0),
    ]


def _few_among_many(work: dict, result: dict) -> list[dict]:
    ours = work['ours']
    return [
        at_most('three among many: requests', ours['requests'], 12),
        at_most('three among many: moved', ours['bytes'] / 1e6, 3, ' MB'),
    ]


def _long_lists(work: dict, result: dict) -> list[dict]:
    beyond = work['ours']['memory'] - result['works']['idle']['ours']['memory']
    return [at_most('long lists: memory beyond the idle run', beyond, 60, ' MiB')]


def _adopted(work: dict, result: dict) -> list[dict]:
    first, second = work['ours, first run'], work['ours, second run']
    return [
        at_most('adopted: requests of the first run', first['requests'], 80),
        at_most('adopted: requests of the second run', second['requests'], 0),
    ]


def _pending(work: dict, result: dict) -> list[dict]:
    ours, start = work['ours'], result['works']['idle']['ours']
    return [
        at_most('pending: requests', ours['requests'], 12),
        at_most('pending: beyond start-up', ours['seconds'] - start['seconds'], 3, ' s'),
    ]


def _huge_account(work: dict, result: dict) -> list[dict]:
    return [
        at_most('huge account: requests', work['ours']['requests'], 12),
        at_most('huge account: moved', work['ours']['bytes'] / 1e6, 2, ' MB'),
    ]


def _history(work: dict, result: dict) -> list[dict]:
    found = []
    for database in ('SQLite', 'PostgreSQL'):
        ours, idle = work[f'ours, {database}'], work[f'idle, {database}']
        seconds, memory = (ours[key] - idle[key] for key in ('seconds', 'memory'))
        found += [
            at_most(f'history, {database}: beyond the idle run', seconds, 1.5, ' s'),
            at_most(f'history, {database}: beyond the idle run', memory, 20, ' MiB'),
        ]
    return found


def _big_file(work: dict, result: dict) -> list[dict]:
    ours, idle = work['ours'], work['idle']
    seconds = ours['seconds'] - idle['seconds']
    return [
        at_most(
            'big file: memory beyond the idle run', ours['memory'] - idle['memory'], 48, ' MiB'
        ),
        at_least("big file: of curl's rate", work['curl']['seconds'] / seconds, 0.6),
        at_least(
            "big file: of curl's rate, both flushed to the disk",
            work['curl, flushed']['seconds'] / seconds,
            0.6,
        ),
    ]


def _many(work: dict, result: dict) -> list[dict]:
    idle = result['works']['idle']['ours']
    return [
        at_most(
            'many: memory beyond the idle run', work['ours']['memory'] - idle['memory'], 60, ' MiB'
        )
    ]


def _hooks(work: dict, result: dict) -> list[dict]:
    def faster(hook: str, processes: int) -> float:
        plain, beside = (
            work[f'{hook}, {who}']['seconds'] for who in ('in the run', f'{processes} processes')
        )
        return plain / beside

    return [
        at_least('hooks that calculate: 2 processes', faster('calculate', 2), 1.8, ' ×'),
        at_least('hooks that wait: 8 processes', faster('wait', 8), 7, ' ×'),
    ]


def _cluster(work: dict, result: dict) -> list[dict]:
    due, few = result['sizes']['settled'] // 10, work['a tenth']
    return [
        at_most('cluster: a due record', work['all']['seconds'] * 1000 / due, 2, ' ms'),
        at_most(
            'cluster: memory, beyond that for a tenth',
            work['all']['memory'] - few['memory'],
            20,
            ' MiB',
        ),
    ]


def _batches(work: dict, result: dict) -> list[dict]:
    one, two = work['one process'], work['2 processes']
    return [
        at_most('batches: of the time of one process', two['seconds'] / one['seconds'], 1.1),
        at_most('batches: requests at a time', two['most_at_once'], 8),
    ]


JUDGES = {
    'idle': _idle,
    'completed': _completed,
    'cpu': _cpu,
    'hourly': _hourly,
    'two_proposals': _two_proposals,
    'two_accounts': _two_accounts,
    'few_among_many': _few_among_many,
    'long_lists': _long_lists,
    'adopted': _adopted,
    'pending': _pending,
    'huge_account': _huge_account,
    'history': _history,
    'big_file': _big_file,
    'many': _many,
    'hooks': _hooks,
    'cluster': _cluster,
    'batches': _batches,
}


def page(result: dict) -> str:
    """The whole result, as bench/results keeps it."""
    parts = [f'# {result["date"]}\n', bars_of(result)]
    parts += [table_of(name, result) for name in result['works']]
    return '\n'.join(parts)


def bars_of(result: dict) -> str:
    lines = [row('what', 'measured', 'bar', ''), row('---', '---', '---', '---')]
    for bar in result['bars']:
        reached = '' if bar['reached'] else '**not reached**'
        lines.append(row(bar['what'], bar['figure'], bar['bar'], reached))
    return '\n'.join(lines) + '\n'


def newest() -> Path:
    """The newest result that was kept."""
    return max((HERE / 'results').glob('*.json'))


def quotation() -> str:
    """What the README says: one sentence, the plot, and where the rest is."""
    file = newest()
    result = json.loads(file.read_text())
    where, bars = f'bench/results/{file.stem}', result['bars']
    figures = {bar['what']: bar['figure'] for bar in bars}
    faster, asked = figures['completed: faster than T'], figures['pending: requests']
    reached = sum(bar['reached'] for bar in bars)
    sentence = (
        f'`updatedata` downloads the data of finished observations {faster.removesuffix(" ×")} times as '
        f'fast as the loop of the public tutorial, and asks an observatory {asked} times where 1,000 '
        f'pending observations have nothing new ({result["date"]}: [all figures]({where}.md); {reached} of '
        f'{len(bars)} bars are reached).'
    )
    return f'{BEGIN}\n\n{sentence}\n\n![The plot of the benchmark]({where}.svg)\n\n{END}'


def write_into_readme() -> None:
    """Put the quotation where README.md has a place for it."""
    text = README.read_text()
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    README.write_text(before + quotation() + after)
