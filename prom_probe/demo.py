"""A small workload to watch: every few seconds a burst of CPU, of memory and of children."""

from __future__ import annotations

import os
import signal
import sys
import time

_PERIOD_S = 6.0


def burn(seconds: float) -> None:
    """Keep one CPU busy."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(1000))


def hoard(mebibytes: int, seconds: float) -> None:
    """Hold memory for a while, with every page touched."""
    block = bytearray(mebibytes << 20)
    block[::4096] = b"x" * len(block[::4096])
    time.sleep(seconds)


def spawn(count: int, seconds: float) -> None:
    """Start children that each burn a little CPU, and wait for them."""
    children = []
    for _ in range(count):
        pid = os.fork()
        if pid == 0:
            burn(seconds)
            os._exit(0)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)


def main() -> None:
    """Bursts until Ctrl-C or SIGTERM."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    print("demo workload: bursts of CPU, memory and children; Ctrl-C ends it", flush=True)
    try:
        while True:
            start = time.monotonic()
            burn(1.5)
            hoard(120, 0.8)
            spawn(4, 1.1)  # longer than an interval, so that each is seen
            time.sleep(max(0.0, _PERIOD_S - (time.monotonic() - start)))
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
