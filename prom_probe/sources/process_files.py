"""The files of one process, kept open: once it is reaped, a kept descriptor gives ESRCH, even if the PID is reused."""

import os
import threading
from collections.abc import Callable

from prom_probe.sources.descriptors import Descriptors, read_first, read_once
from prom_probe.sources.patience import read_patiently
from prom_probe.sources.reading import READING

# With O_PATH a directory can be opened, for fstat, without the permission to list it.
_O_PATH = getattr(os, "O_PATH", 0)
_NOT_OPEN = -2
_NOT_KEPT = -1


def fd_size_counts(procfs: str) -> bool:
    """Whether the size of /proc/PID/fd is the number of descriptors (since Linux 6.2), tried on our own."""
    try:
        size = os.stat(f"{procfs}/self/fd").st_size
        listed = len(os.listdir(f"{procfs}/self/fd")) - 1  # without the listing's own descriptor
    except OSError:
        return False
    # A thread that waits in accept() already has a descriptor that is counted but not listed.
    return 0 < listed <= size < listed + threading.active_count()


class ProcessFiles:
    """Reads a process's files and keeps at most five descriptors. Methods raise OSError: ProcessLookupError or
    FileNotFoundError where the process is gone, PermissionError where access is denied."""

    __slots__ = (
        "_base",
        "_descriptors",
        "_fd",
        "_fd_size",
        "_io",
        "_live",
        "_pid",
        "_read_locked",
        "_schedstat",
        "_stat",
        "_statm",
        "thread",
    )

    def __init__(
        self,
        procfs: str,
        pid: int,
        descriptors: Descriptors,
        *,
        fd_size: bool,
        read_locked: Callable[[str], bytes] = read_patiently,
    ) -> None:
        """`fd_size`: see `fd_size_counts`. `read_locked` reads a file that may never answer."""
        self._base = self._live = f"{procfs}/{pid}"
        self._pid = pid
        self._read_locked = read_locked
        self.thread = ""  # the ID of the thread that is followed
        self._fd_size = fd_size
        self._descriptors = descriptors
        self._stat = self._statm = self._io = self._schedstat = _NOT_OPEN
        self._fd = _NOT_OPEN if fd_size else _NOT_KEPT

    def stat(self) -> bytes:
        if self._stat < 0:
            if self._stat == _NOT_OPEN:
                self._stat = self._descriptors.open(f"{self._base}/stat")
            if self._stat < 0:
                return read_once(f"{self._base}/stat", read_first)
        READING.process(0, self._pid)
        return os.pread(self._stat, 2048, 0)

    def statm(self) -> bytes:
        if self._statm < 0:
            if self._statm == _NOT_OPEN:
                self._statm = self._descriptors.open(f"{self._live}/statm")
            if self._statm < 0:
                return read_once(f"{self._live}/statm", read_first)
        READING.process(1, self._pid)
        return os.pread(self._statm, 256, 0)

    def io(self) -> bytes:
        if self._io < 0:
            if self._io == _NOT_OPEN:
                self._io = self._descriptors.open(f"{self._base}/io")
            if self._io < 0:
                return read_once(f"{self._base}/io", read_first)
        READING.process(2, self._pid)
        return os.pread(self._io, 448, 0)

    def schedstat(self) -> bytes:
        """The main thread's."""
        if self._schedstat < 0:
            if self._schedstat == _NOT_OPEN:
                self._schedstat = self._descriptors.open(f"{self._base}/schedstat")
            if self._schedstat < 0:
                return read_once(f"{self._base}/schedstat", read_first)
        READING.process(3, self._pid)
        return os.pread(self._schedstat, 128, 0)

    def status(self) -> bytes:
        """Read rarely, so no descriptor is kept; the same holds for the files below."""
        return read_once(f"{self._live}/status", read_first)

    def limits(self) -> bytes:
        return read_once(f"{self._base}/limits", read_first)

    def smaps_rollup(self) -> bytes:
        """Raises TimeoutError too, and so does `cmdline`."""
        return self._read_locked(f"{self._live}/smaps_rollup")

    def cmdline(self) -> bytes:
        """Its beginning where it is very long."""
        return self._read_locked(f"{self._live}/cmdline")

    def follow(self, tid: str) -> None:
        """Read memory, descriptors and command line of this thread: the main one has ended, and has none."""
        if tid == self.thread:
            return
        for fd in (self._statm, self._fd):
            self._descriptors.close(fd)
        self.thread, self._live = tid, f"{self._base}/task/{tid}"
        self._statm, self._fd = _NOT_OPEN, _NOT_OPEN if self._fd_size else _NOT_KEPT

    def tasks(self) -> list[str]:
        """The IDs of its threads."""
        return os.listdir(f"{self._base}/task")

    def task(self, tid: str, name: str) -> bytes:
        """The file `name` of a thread."""
        return read_once(f"{self._base}/task/{tid}/{name}", read_first)

    def open_fds(self) -> int:
        """The count of open descriptors."""
        if self._fd < 0:
            if self._fd == _NOT_OPEN:
                self._fd = self._descriptors.open(f"{self._live}/fd", _O_PATH)
            if self._fd < 0:
                return len(os.listdir(f"{self._live}/fd"))
        READING.process(4, self._pid)
        return os.fstat(self._fd).st_size

    def close(self) -> None:
        for fd in (self._stat, self._statm, self._io, self._schedstat, self._fd):
            if fd >= 0:
                self._descriptors.close(fd)
        self._stat = self._statm = self._io = self._schedstat = self._fd = _NOT_KEPT
