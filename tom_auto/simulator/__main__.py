"""`python -m tom_auto.simulator --port 8001`: an observatory to try a TOM against, until Ctrl-C."""

import argparse
import sys
import threading

from .observatory import Observatory


def main() -> None:
    parser = argparse.ArgumentParser(prog='python -m tom_auto.simulator', description=__doc__)
    parser.add_argument('--port', type=int, default=0, help='default: any that is free')
    parser.add_argument('--requests', type=int, default=3, help='completed requests (default 3)')
    parser.add_argument('--frames', type=int, default=2, help='frames of each (default 2)')
    parser.add_argument('--latency', type=float, default=0.0, metavar='SECONDS')
    options = parser.parse_args()
    with Observatory(port=options.port, latency=options.latency) as sky:
        for number in range(1, options.requests + 1):
            sky.add_request(number)
            sky.complete(number, frames=options.frames)
        sys.stdout.write(f'{sky.url}  token {sky.token}  requests 1 to {options.requests}\n')
        sys.stdout.flush()
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            sys.stdout.write('Closed.\n')


if __name__ == '__main__':
    main()
