"""A workload whose processes come and go, always about as many: five children a second."""

from __future__ import annotations

import os
import signal
import time
from itertools import count
from typing import NoReturn

_PER_S = 5

# What each child lives and holds, in turn.
_LIVES_S = (0.0, 0.02, 0.1, 0.5, 0.9, 1.1, 1.5, 2.0, 4.0, 20.0)
_SIZES_MB = (1, 2, 4, 8, 3, 6, 7)


def _live(number: int) -> NoReturn:
    block = bytearray(_SIZES_MB[number % len(_SIZES_MB)] << 20)
    block[::4096] = b"x" * len(block[::4096])
    time.sleep(_LIVES_S[number % len(_LIVES_S)])
    os._exit(number % 3)


def main() -> None:
    """Until it is killed; the children end soon after it."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    begun_s = time.monotonic()
    for number in count():
        if os.fork() == 0:
            _live(number)
        time.sleep(max(0.0, begun_s + (number + 1) / _PER_S - time.monotonic()))


if __name__ == "__main__":
    main()
