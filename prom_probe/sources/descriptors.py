"""Descriptors kept open over a kernel file's life, within a budget, because open and close cost more than reading."""

import errno
import os
from collections.abc import Callable
from typing import TypeAlias

# Left free for what the process opens besides: its ring, its log, and files that are opened for one reading.
_RESERVE = 64
_MOST = 4096
_HALF_PAGE = 2048  # of the smallest
_LINE = 256
_CHUNK = 1 << 17  # /proc/stat of a large machine is as long as that
_OUT_OF_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)

# pread(2): descriptor, count, offset.
Pread: TypeAlias = Callable[[int, int, int], bytes]


def default_limit() -> int:
    """How many descriptors this process may keep: RLIMIT_NOFILE less a reserve, at most 4,096."""
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return _MOST
    return max(0, min(soft - _RESERVE, _MOST))


class Descriptors:
    """Opens files to keep, at most `limit` at once. Not thread-safe; `used` is what is open now."""

    def __init__(self, limit: int | None = None, open: Callable[[str, int], int] = os.open) -> None:
        self.limit = default_limit() if limit is None else limit
        self._open = open
        self.used = 0

    def open(self, path: str, flags: int = os.O_RDONLY) -> int:
        """A descriptor, or -1 where none can be kept: read with `read_once` then. Raises OSError as os.open does."""
        if self.used >= self.limit:
            return -1
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

    __slots__ = ("_descriptors", "_fd", "_read", "path")

    def __init__(self, path: str, descriptors: Descriptors, read: Callable[[int], bytes] | None = None) -> None:
        """`read` gives all from a descriptor: `read_all` if not another of these fits the file and is quicker."""
        self.path = path
        self._descriptors = descriptors
        self._read = read or read_all
        self._fd = -1

    def read(self) -> bytes:
        """The whole file."""
        if self._fd < 0:
            self._fd = self._descriptors.open(self.path)
            if self._fd < 0:
                return read_once(self.path)
        try:
            return self._read(self._fd)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        self._descriptors.close(fd)


def read_first(fd: int) -> bytes:
    """What one read from the start of `fd` gives: all of it where the kernel makes the file by single_open."""
    return os.pread(fd, _CHUNK, 0)


def read_line(fd: int) -> bytes:
    """The same of a file of one short line."""
    return os.pread(fd, _LINE, 0)


def read_all(fd: int, pread: Pread = os.pread) -> bytes:
    """Everything from the start of `fd`; a seq_file gives its records a page or so at a time, so read to the end."""
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
        size += len(chunk)
        chunk = pread(fd, _CHUNK, size)
    return b"".join(parts)


def read_records(fd: int, pread: Pread = os.pread) -> bytes:
    """Everything from the start of a seq_file whose records are all shorter than 2 KiB.

    A read ends before the record that a page has no room for: what is shorter than half a page is all there is.
    """
    data = pread(fd, _CHUNK, 0)
    return data if len(data) <= _HALF_PAGE else read_all(fd, pread)


def read_once(path: str, read: Callable[[int], bytes] = read_all) -> bytes:
    """Open, read all and close. `read`: see `KeptFile`. Raises OSError as os.open does."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return read(fd)
    finally:
        os.close(fd)
