"""Draws a result: what each contender needs for each piece of work. `plot.py RESULT.json`"""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use('svg')
import matplotlib.pyplot as plt  # noqa: E402  (after the choice of what to draw with)

import report  # noqa: E402

SHOWN = ('idle', 'completed', 'pending')
KINDS = (('seconds', 'seconds'), ('requests', 'requests'), ('memory', 'MiB at most'))
AWAITED = 1000  # records of the group whose requests a day are shown
COLOURS = {'ours': '#0072b2', 'ours, 32 workers': '#56b4e9', 'T': '#d55e00', 'U': '#e69f00'}


def main(file: Path) -> None:
    result = json.loads(file.read_text())
    works = [name for name in SHOWN if name in result['works']]
    a_day = requests_a_day(result)
    rows = len(works) + bool(a_day)
    figure, axes = plt.subplots(
        rows, len(KINDS), figsize=(11, 1 + 2.1 * rows), squeeze=False, layout='constrained'
    )
    if a_day:
        first, *others = axes[-1]
        draw(first, a_day, 'requests')
        first.set_title(
            f'{AWAITED:,} pending records for a day, every hour', loc='left', fontsize=9
        )
        for axis in others:
            axis.set_axis_off()
    for line, name in zip(axes[: len(works)], works, strict=True):
        costs = result['works'][name]
        for axis, (key, label) in zip(line, KINDS, strict=True):
            draw(axis, {who: cost[key] for who, cost in costs.items()}, label)
        line[0].set_title(report.title(name, result), loc='left', fontsize=9)
    figure.savefig(file.with_suffix('.svg'), metadata={'Date': None})


def requests_a_day(result: dict) -> dict[str, float]:
    """What an observatory is asked in a day by a group that awaits its observations."""
    sizes, work = result['sizes'], result['works'].get('pending', {})
    return {
        who: cost['requests'] * 24 * AWAITED / sizes['records' if who == 'ours' else 'few']
        for who, cost in work.items()
    }


def figure_of(value: float) -> str:
    return f'{value:,.3g}' if value < 1000 else f'{value:,.0f}'


def draw(axis: plt.Axes, values: dict[str, float], label: str) -> None:
    """Bars, with the figure at the end of each."""
    names = list(values)[::-1]
    bars = axis.barh(
        names,
        [values[name] for name in names],
        color=[COLOURS.get(name, '#999999') for name in names],
    )
    axis.bar_label(bars, fmt=figure_of, fontsize=7, padding=2)
    axis.set_xlabel(label, fontsize=8)
    axis.tick_params(labelsize=8)
    axis.margins(x=0.2)
    axis.spines[['top', 'right']].set_visible(False)


if __name__ == '__main__':
    main(Path(sys.argv[1]))
