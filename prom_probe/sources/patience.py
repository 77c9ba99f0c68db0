"""Reads the files of a process that may never answer in a thread, which is given up on.

For some files of /proc/PID the kernel takes a lock of the process's memory, which a process that hangs in the kernel
may hold for ever (`_LOCKED` in `reading.py`). Nothing interrupts a process that waits for it.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable

from prom_probe.sources.descriptors import read_first, read_once
from prom_probe.sources.reading import READING, lock_of

# How long a reading may take; the more files hang already, the less.
PATIENCE_S = 0.5
# How many threads may hang.
_MOST = 8


class _Thread(threading.Thread):
    """Reads one file after the other. A daemon: the process ends without waiting for it."""

    def __init__(self) -> None:
        super().__init__(name="patience", daemon=True)
        self._due, self._done = threading.Semaphore(0), threading.Event()
        self._read: Callable[[], bytes] | None = None
        self._answer: bytes | OSError = b""

    def run(self) -> None:
        while True:
            self._due.acquire()
            if self._read is None:
                return
            try:
                self._answer = self._read()
            except OSError as error:
                self._answer = error
            self._done.set()

    def begin(self, read: Callable[[], bytes]) -> None:
        """Have it call `read`; at the end of the last call at the earliest."""
        self._done.clear()
        self._read = read
        self._due.release()

    def end(self) -> None:
        """Have it end."""
        self._read = None
        self._due.release()

    def wait(self, timeout_s: float) -> bool:
        """Whether `read` has returned."""
        return self._done.wait(timeout_s)

    def take(self) -> bytes:
        if isinstance(self._answer, OSError):
            raise self._answer
        return self._answer


class PatientReader:
    """Owned by one thread. A file that does not answer is not tried again while the thread that reads it hangs."""

    def __init__(self, read: Callable[[str], bytes], patience_s: float = PATIENCE_S) -> None:
        self._read = read
        self._patience_s = patience_s
        self._thread: _Thread | None = None
        self._hung: dict[str, _Thread] = {}  # by `lock_of` the path

    def read(self, path: str) -> bytes:
        """The file. Raises OSError as reading it does, and TimeoutError where it does not answer."""
        self._forget_answered()
        if lock_of(path) in self._hung or len(self._hung) >= _MOST:
            raise _unanswered(path)
        thread = self._thread
        if thread is None or not thread.is_alive():  # after a fork there is none
            thread = self._thread = _Thread()
            thread.start()
        thread.begin(lambda: self._read(path))
        if thread.wait(self._patience_s / (1 + len(self._hung))):
            return thread.take()
        self._thread = None
        self._hung[lock_of(path)] = thread
        READING.hang(path)
        raise _unanswered(path)

    def _forget_answered(self) -> None:
        answered = [path for path, thread in self._hung.items() if thread.wait(0)]
        for path in answered:
            self._hung.pop(path).end()
        if answered and not self._hung:
            READING.hang("")


def _unanswered(path: str) -> OSError:
    return TimeoutError(errno.ETIMEDOUT, "does not answer", path)


_READER = PatientReader(lambda path: read_once(path, read_first))


def read_patiently(path: str) -> bytes:
    """See `PatientReader.read`; for a process's main thread."""
    return _READER.read(path)
