"""Threads that a worker runs beside each other, while its main thread waits for what concerns all of them."""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable, Sequence

from prom_probe.ring.doorbell import Doorbell

# A thread is alive for a moment after it has rung.
_LOOK_S = 0.05


class WorkerThreads:
    """A thread for each of `targets`. They end with the process.

    `wake` is rung when one has ended; others ring it to have `wait` return. `lifeline` is readable once the supervisor
    is gone.
    """

    def __init__(self, targets: Sequence[Callable[[], None]], stack_bytes: int, wake: Doorbell, lifeline: int) -> None:
        self._wake = wake
        self._lifeline = lifeline
        self._failures: list[BaseException] = []
        threading.stack_size(stack_bytes)
        self._threads = [threading.Thread(target=self._run, args=(target,), daemon=True) for target in targets]
        for thread in self._threads:
            thread.start()

    def wait(self) -> bool:
        """Wait until `wake` is rung. False if the supervisor is gone; raises the error that has ended a thread."""
        readable, _, _ = select.select([self._lifeline, self._wake.fd], [], [])
        if self._lifeline in readable:
            return False
        self._wake.clear()
        if self._failures:
            raise self._failures[0]
        return True

    def join(self, end_s: float) -> None:
        """Wait for the end of all, but not beyond `end_s` (monotonic) nor the supervisor's end; errors are ignored."""
        while any(thread.is_alive() for thread in self._threads) and time.monotonic() < end_s:
            readable, _, _ = select.select([self._lifeline, self._wake.fd], [], [], _LOOK_S)
            if self._lifeline in readable:
                return
            self._wake.clear()

    def _run(self, target: Callable[[], None]) -> None:
        try:
            target()
        except BaseException as error:
            self._failures.append(error)
        self._wake.ring()
