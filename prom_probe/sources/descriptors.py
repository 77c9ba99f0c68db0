"""Keeps descriptors of kernel files open, within a budget, because opening and closing cost more than reading."""

import errno
import os
from collections.abc import Callable
from typing import TypeAlias

from prom_probe.sources.reading import READING

# Left free for the process's other files: its ring, its log, and files that are opened for a single reading.
_RESERVE = 64
_MOST = 4096
_HALF_PAGE = 2048  # of the smallest page size
_LINE = 256
_CHUNK = 1 << 17
_MOST_BYTES = 16 << 20  # the longest file that is read
_OUT_OF_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)

# pread(2): descriptor, count, offset.
Pread: TypeAlias = Callable[[int, int, int], bytes]


def default_limit(soft: int | None = None) -> int:
    """How many descriptors this process may keep: RLIMIT_NOFILE (`soft`) less a reserve, at most 4,096."""
    import resource

    if soft is None:
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return _MOST
    return max(0, min(soft - _RESERVE, _MOST))


class Descriptors:
    """Opens files to keep, at most `limit` at once. Not thread-safe; `used` is how many are open."""

    def __init__(self, limit: int | None = None, open: Callable[[str, int], int] = os.open) -> None:
        self.limit = default_limit() if limit is None else limit
        self._open = open
        self.used = 0

    def open(self, path: str, flags: int = os.O_RDONLY) -> int:
        """A descriptor, or -1 where none can be kept and `read_once` has to be used. Raises OSError as os.open does."""
        if self.used >= self.limit:
            return -1
        READING.path(path)
        try:
            fd = self._open(path, flags)
        except OSError as error:
            if error.errno in _OUT_OF_DESCRIPTORS:
                # Others in this process need descriptors too: keep fewer, so that the rest can be read.
                self.limit = max(0, self.used - 16)
                return -1
            raise
        self.used += 1
        return fd

    def close(self, fd: int) -> None:
        """Close a descriptor that `open` gave; -1 is fine."""
        if fd >= 0:
            os.close(fd)
            self.used -= 1


class KeptFile:
    """A file read again and again from its start. Raises OSError as os.open and os.pread do; a later read retries."""

    __slots__ = ("_descriptors", "_fd", "_note", "_read", "path")

    def __init__(self, path: str, descriptors: Descriptors, read: Callable[[int], bytes] | None = None) -> None:
        """`read` reads the whole file from a descriptor: `read_all`, or a quicker function below that fits."""
        self.path = path
        self._note = os.fsencode(path)
        self._descriptors = descriptors
        self._read = read or read_all
        self._fd = -1

    def read(self) -> bytes:
        """The whole file."""
        if self._fd < 0:
            self._fd = self._descriptors.open(self.path)
            if self._fd < 0:
                return read_once(self.path)
        READING.note(self._note)
        try:
            data = self._read(self._fd)
        except OSError:
            self.close()
            raise
        READING.done()
        return data

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        self._descriptors.close(fd)


def read_first(fd: int, pread: Pread = os.pread) -> bytes:
    """The whole file in one read, where the kernel makes it with single_open: a short read is the proof.

    It makes a longer one anew for each read, so that parts of it would not fit together: it is read once more, with
    room for all of it. Raises OSError beyond 16 MiB.
    """
    size = _CHUNK
    while len(data := pread(fd, size, 0)) == size:
        size = min(_grown(size) * 8, _MOST_BYTES + 1)
    return data


def read_line(fd: int) -> bytes:
    """One read of a file that is one short line."""
    return os.pread(fd, _LINE, 0)


def read_all(fd: int, pread: Pread = os.pread) -> bytes:
    """The whole file. A seq_file gives about a page of records at a time, so this reads until nothing is left.

    Raises OSError beyond 16 MiB.
    """
    data = pread(fd, _CHUNK, 0)
    if not data:
        return data
    size = len(data)
    chunk = pread(fd, _CHUNK, size)
    if not chunk:
        return data
    parts = [data]
    while chunk:
        parts.append(chunk)
        size = _grown(size + len(chunk))
        chunk = pread(fd, _CHUNK, size)
    return b"".join(parts)


def _grown(size: int) -> int:
    if size > _MOST_BYTES:
        raise OSError(errno.EFBIG, f"has more than {_MOST_BYTES} bytes")
    return size


def read_records(fd: int, pread: Pread = os.pread) -> bytes:
    """The whole of a seq_file whose records are all shorter than 2 KiB.

    A read stops before the first record that does not fit into the page, so less than half a page is the whole file.
    """
    data = pread(fd, _CHUNK, 0)
    return data if len(data) <= _HALF_PAGE else read_all(fd, pread)


def read_once(path: str, read: Callable[[int], bytes] = read_all) -> bytes:
    """Open, read all and close. `read`: see `KeptFile`. Raises OSError as os.open does."""
    READING.path(path)
    try:
        fd = os.open(path, os.O_RDONLY)
        try:
            return read(fd)
        finally:
            os.close(fd)
    finally:
        READING.done()
