"""What this process reads now, noted where its supervisor sees it; and files that did not answer, left out for a while.

Opening or reading a file of /proc, of a cgroup or of sysfs can block for ever: a process whose mappings are locked, a
dead FUSE server, a sensor. Nothing in this process can interrupt that.

    cell 0 KIND (0: nothing, 1: the file at the path below, 2 + n: PROCESS_FILES[n] of process PID), cell 1 PID,
    cell 2 LENGTH, then the path. In the second half the same for a file for which another thread waits:
    cell 0 LENGTH (0: none), then the path.
"""

import errno
import os
from collections.abc import Mapping
from threading import get_ident
from time import monotonic

PROCESS_FILES = ("stat", "statm", "io", "schedstat", "fd")
NOTE_BYTES = 4096

_PATH_AT = 24
_HUNG_AT = NOTE_BYTES // 2
_HUNG_PATH_AT = _HUNG_AT + 8
_MOST_BYTES = _HUNG_AT - _PATH_AT
_NOTHING, _PATH, _PROCESS = 0, 1, 2
# The kernel takes one lock for each of these files of a process: if one does not answer, none does.
_LOCKED = frozenset({"cmdline", "environ", "maps", "numa_maps", "smaps", "smaps_rollup"})


def lock_of(path: str) -> str:
    """The path itself, or one for all files that would hang together with it."""
    directory, _, name = path.rpartition("/")
    return f"{directory}/cmdline" if name in _LOCKED else path


def read_note(note: memoryview, procfs: str) -> str:
    """The path that is being read by the process that writes this memory; "" for none."""
    kind, pid, length = note[:_PATH_AT].cast("Q")
    if kind == _PATH:
        return os.fsdecode(bytes(note[_PATH_AT : _PATH_AT + min(length, _MOST_BYTES)]))
    return f"{procfs}/{pid}/{PROCESS_FILES[kind - _PROCESS]}" if kind >= _PROCESS else ""


def read_hung(note: memoryview) -> str:
    """The path for which a thread of the process that writes this memory has been waiting for too long; "" for none."""
    (length,) = note[_HUNG_AT:_HUNG_PATH_AT].cast("Q")
    return os.fsdecode(bytes(note[_HUNG_PATH_AT : _HUNG_PATH_AT + min(length, _MOST_BYTES)]))


class Reading:
    """One instance a process, as its main thread reads one file at a time; what other threads read is not noted."""

    def __init__(self) -> None:
        self._share(memoryview(bytearray(NOTE_BYTES)))
        self._left_out: dict[str, float] = {}
        self._procfs = ""

    def share(self, note: memoryview, procfs: str, left_out: Mapping[str, float]) -> None:
        """Write into `note` from now on. `left_out`: seconds of the monotonic clock until which a path (`lock_of`) is
        not read."""
        self._share(note)
        self._procfs = procfs
        self._left_out = dict(left_out)

    def _share(self, note: memoryview) -> None:
        self._note = note
        self._cells = note[:_PATH_AT].cast("Q")
        self._cells[0] = _NOTHING
        self.hang("")
        self._thread = get_ident()

    def path(self, path: str) -> None:
        """The file at `path` is going to be opened or read. Raises OSError if it is left out."""
        if self._left_out:
            self._refuse(path)
        self.note(os.fsencode(path))

    def note(self, path: bytes) -> None:
        """The same for a path that is known not to be left out."""
        if get_ident() == self._thread:
            length = min(len(path), _MOST_BYTES)
            self._note[_PATH_AT : _PATH_AT + length] = path[:length]
            self._cells[2] = length
            self._cells[0] = _PATH

    def process(self, file: int, pid: int) -> None:
        """PROCESS_FILES[file] of a process is going to be read. Raises OSError if it is left out."""
        if self._left_out:
            self._refuse(f"{self._procfs}/{pid}/{PROCESS_FILES[file]}")
        self._cells[1] = pid
        self._cells[0] = _PROCESS + file

    def done(self) -> None:
        """It was read. (After a file of a process another one follows, or the end of the collection.)"""
        if get_ident() == self._thread:
            self._cells[0] = _NOTHING

    def hang(self, path: str) -> None:
        """Another thread waits for the file at `path` and is not waited for any longer; "" for none."""
        data = os.fsencode(path)[:_MOST_BYTES]
        self._note[_HUNG_PATH_AT : _HUNG_PATH_AT + len(data)] = data
        self._note[_HUNG_AT:_HUNG_PATH_AT].cast("Q")[0] = len(data)

    def _refuse(self, path: str) -> None:
        key = lock_of(path)
        until_s = self._left_out.get(key)
        if until_s is None:
            return
        if monotonic() < until_s:
            raise OSError(errno.ETIMEDOUT, "left out for a while, as it did not answer", path)
        del self._left_out[key]


READING = Reading()
