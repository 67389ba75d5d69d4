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
COLOURS = {'ours': '#0072b2', 'ours, 32 workers': '#56b4e9', 'T': '#d55e00', 'U': '#e69f00'}


def main(file: Path) -> None:
    result = json.loads(file.read_text())
    works = [name for name in SHOWN if name in result['works']]
    figure, axes = plt.subplots(
        len(works),
        len(KINDS),
        figsize=(11, 1 + 2.1 * len(works)),
        squeeze=False,
        layout='constrained',
    )
    for line, name in zip(axes, works, strict=True):
        costs = result['works'][name]
        for axis, (key, label) in zip(line, KINDS, strict=True):
            draw(axis, {who: cost[key] for who, cost in costs.items()}, label)
        line[0].set_title(report.title(name, result), loc='left', fontsize=9)
    figure.savefig(file.with_suffix('.svg'), metadata={'Date': None})


def draw(axis: plt.Axes, values: dict[str, float], label: str) -> None:
    """Bars, with the figure at the end of each."""
    names = list(values)[::-1]
    bars = axis.barh(
        names,
        [values[name] for name in names],
        color=[COLOURS.get(name, '#999999') for name in names],
    )
    axis.bar_label(bars, fmt='{:,.3g}', fontsize=7, padding=2)
    axis.set_xlabel(label, fontsize=8)
    axis.tick_params(labelsize=8)
    axis.margins(x=0.2)
    axis.spines[['top', 'right']].set_visible(False)


if __name__ == '__main__':
    main(Path(sys.argv[1]))
