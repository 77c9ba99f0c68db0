"""Calls that may hang, made by a thread that is waited for only so long."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Caller(Generic[T]):
    """One call at a time in a thread of its own, which starts with the first call.

    Owned by one thread. `on_late` is called in the other one when a call ends that `wait` had given up on. The thread
    is a daemon: a call that never returns does not keep the process from ending.
    """

    def __init__(self, on_late: Callable[[], None]) -> None:
        self._on_late = on_late
        self._thread: threading.Thread | None = None
        self._start = threading.Semaphore(0)
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._work: Callable[[], T] | None = None
        self._given_up = False
        self._result: T | None = None
        self._error: Exception | None = None
        self.took_s = 0.0  # the last call that ended
        self.busy = False  # a call's result has not been taken

    def start(self, work: Callable[[], T]) -> None:
        """Begin `work`; nothing may be busy."""
        self._work = work
        self._done.clear()
        self.busy, self._given_up = True, False
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="driver", daemon=True)
            self._thread.start()
        self._start.release()

    def wait(self, timeout_s: float) -> bool:
        """Whether the call has ended within this time."""
        if self._done.wait(timeout_s):
            return True
        with self._lock:
            self._given_up = not self._done.is_set()
            return not self._given_up

    def take(self) -> T:
        """The ended call's result; raises what it raised."""
        self.busy = False
        result, error = self._result, self._error
        self._result = self._error = None
        if error is not None:
            raise error
        return result  # type: ignore[return-value]

    def _run(self) -> None:
        while True:
            self._start.acquire()
            start_s = time.perf_counter()
            try:
                if self._work is not None:
                    self._result = self._work()
            except Exception as error:
                self._error = error
            self.took_s = time.perf_counter() - start_s
            with self._lock:
                self._done.set()
                late = self._given_up
            if late:
                self._on_late()
