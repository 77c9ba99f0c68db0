"""The file operations that the store consists of; each completes or raises OSError.

`folder` is the descriptor of a directory, and `name` a file in it: once the directory is open, no path is looked up.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable

# macOS has no fdatasync.
_sync = getattr(os, "fdatasync", os.fsync)

# A symbolic link is not followed, and a named pipe is not waited for.
_CAREFULLY = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


_KINDS = {stat.S_IFDIR: "a directory", stat.S_IFLNK: "a symbolic link", stat.S_IFIFO: "a named pipe"}


class NotAFileError(OSError):
    """`name` is something else in a file's place; the text says what."""

    def __init__(self, name: str, mode: int) -> None:
        super().__init__(f"it is {_KINDS.get(stat.S_IFMT(mode), 'a device or a socket')} and no file")
        self.name = name


def make_folder(path: str) -> None:
    """Create the folder, for its owner alone, unless it exists."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass


def open_folder(path: str) -> int:
    """Open the folder; returns its descriptor."""
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def create(folder: int, name: str) -> int:
    """Create an empty file, or empty an existing one; returns its descriptor."""
    return os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _CAREFULLY, 0o600, dir_fd=folder)


def open_to_read(folder: int, name: str) -> int:
    """Open the file for reading; returns its descriptor. Raises NotAFileError for anything else."""
    try:
        fd = os.open(name, os.O_RDONLY | _CAREFULLY, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise NotAFileError(name, os.lstat(name, dir_fd=folder).st_mode) from None
        raise
    mode = os.fstat(fd).st_mode
    if not stat.S_ISREG(mode):
        os.close(fd)
        raise NotAFileError(name, mode)
    return fd


def open_lock(folder: int, name: str) -> int:
    """Open the file, or create it, to lock it and to write to it. Raises NotAFileError for anything else."""
    try:
        return os.open(name, os.O_RDWR | os.O_CREAT | _CAREFULLY, 0o600, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.EISDIR, errno.ELOOP):
            os.close(open_to_read(folder, name))  # raises what it is
        raise


def read(fd: int, size: int, offset: int) -> bytes:
    """The bytes [offset, offset + size) of the file, fewer at its end."""
    parts = []
    while size > 0 and (part := os.pread(fd, size, offset)):
        parts.append(part)
        size, offset = size - len(part), offset + len(part)
    return b"".join(parts)


def write(fd: int, parts: Iterable[bytes | memoryview]) -> int:
    """Write all of the parts; returns their total length in bytes."""
    total = 0
    for part in parts:
        left = memoryview(part).cast("B")
        total += len(left)
        while left:
            left = left[os.write(fd, left) :]
    return total


def sync(fd: int) -> None:
    """Wait until the file's content is on the disk."""
    _sync(fd)


def sync_folder(folder: int) -> None:
    """Wait until the folder's entries are on the disk."""
    os.fsync(folder)


def rename(folder: int, name: str, new: str) -> None:
    """Rename the file; replaces a file that has the new name."""
    os.replace(name, new, src_dir_fd=folder, dst_dir_fd=folder)


def link(folder: int, name: str, new: str) -> None:
    """Give the file a second name, which must be free."""
    os.link(name, new, src_dir_fd=folder, dst_dir_fd=folder)


def truncate(folder: int, name: str, size: int) -> None:
    """Cut the file off."""
    fd = os.open(name, os.O_WRONLY | _CAREFULLY, dir_fd=folder)
    try:
        os.ftruncate(fd, size)
    finally:
        os.close(fd)


def append(folder: int, name: str, data: bytes) -> None:
    """Write `data` at the end of an existing file, and wait until it is on the disk."""
    fd = os.open(name, os.O_WRONLY | os.O_APPEND | _CAREFULLY, dir_fd=folder)
    try:
        write(fd, [data])
        sync(fd)
    finally:
        os.close(fd)


def remove(folder: int, name: str) -> None:
    """Delete the file, if it exists."""
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        pass
