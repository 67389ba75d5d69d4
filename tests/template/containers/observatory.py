"""An observatory in a container of its own: what it holds is the same after each start."""

import sys
import threading
from datetime import datetime

from tom_auto.simulator import Observatory

PORT = 8001
REQUESTS = 150
FRAMES = 2  # of each
LATENCY = 0.15  # seconds before each answer, so that a run has a middle


def main(began: datetime) -> None:
    """Answer until killed, at a time that stands still."""
    with Observatory(host='0.0.0.0', port=PORT, latency=LATENCY, clock=lambda: began) as sky:
        for number in range(1, REQUESTS + 1):
            sky.add_request(number)
            sky.complete(number, frames=FRAMES)
        threading.Event().wait()


if __name__ == '__main__':
    main(datetime.fromisoformat(sys.argv[1]))
