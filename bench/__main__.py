"""`make bench`: the tutorial's loop, tomtoolkit's own commands and ours, side by side.

All in one go, on one machine, against the same simulated observatory. Prints what each cost and
whether the bars are reached; with `--keep`, writes a dated result into bench/results, the plot
of it, and the figures of README.md.
"""

import argparse
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import report
from stage import stage
from works import WORKS

HERE = Path(__file__).resolve().parent


def main() -> None:
    options = arguments()
    result = {'date': f'{datetime.now(UTC):%Y-%m-%d}', 'sizes': sizes_of(options), 'works': {}}
    with stage() as ours:
        for name in options.works:
            say(f'{name} …')
            costs = WORKS[name](ours, options)
            result['works'][name] = {who: vars(cost) for who, cost in costs.items()}
            say(report.table_of(name, result))
    result['bars'] = report.bars(result)
    say(report.page(result))
    if options.keep:
        keep(result)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog='make bench', description=__doc__)
    add = parser.add_argument
    add('works', nargs='*', default=list(WORKS), help=f'of: {", ".join(WORKS)} (default: all)')
    add('--latency', type=float, default=0.05, help='seconds before each answer (0.05)')
    add('--records', type=int, default=1000, help='due records (1000)')
    add('--few', type=int, default=200, help='records of T and U, which take long (200)')
    add('--frames', type=int, default=2, help='of each completed record (2)')
    add('--size', type=int, default=28_800, help='bytes of each frame (28800)')
    add('--finished', type=int, default=50_000, help='request groups of the huge account (50000)')
    add('--settled', type=int, default=1_000_000, help='records of the history (1000000)')
    add('--big', type=int, default=2_000_000_000, help='bytes of the big file (2000000000)')
    add('--mixed', type=int, default=1134, help='records of two proposals (1134)')
    add('--shared', type=int, default=500, help='records of two accounts (500)')
    add('--others', type=int, default=100_000, help='frames of other people (100000)')
    add('--listed', type=int, default=200_000, help='frames in the long lists (200000)')
    add('--adopted', type=int, default=10_000, help='records of an old TOM (10000)')
    add('--many', type=int, default=10_000, help='records that are due at once (10000)')
    add('--keep', action='store_true', help='write the result down')
    options = parser.parse_args()
    for name in options.works:
        if name not in WORKS:
            parser.error(f'there is no {name!r}: {", ".join(WORKS)}')
    return options


def sizes_of(options: argparse.Namespace) -> dict:
    """What was asked for, as the result has it."""
    return {name: value for name, value in vars(options).items() if name not in ('works', 'keep')}


def keep(result: dict) -> None:
    """Write the result, its page, its plot, and what the README quotes."""
    file = HERE / 'results' / f'{result["date"]}.json'
    file.write_text(json.dumps(result, indent=1) + '\n')
    file.with_suffix('.md').write_text(report.page(result) + '\n')
    # Elsewhere, as a big process would add to the memory of what it starts.
    subprocess.run([sys.executable, HERE / 'plot.py', file], check=True, timeout=120)
    report.write_into_readme()


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == '__main__':
    main()
