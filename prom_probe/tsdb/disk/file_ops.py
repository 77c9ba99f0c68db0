"""The system calls that the store's writing consists of; each does all it says, or raises OSError."""

from __future__ import annotations

import os
from collections.abc import Iterable

# macOS has no fdatasync.
_sync = getattr(os, "fdatasync", os.fsync)


def create(path: str) -> int:
    """A descriptor of the new, empty file."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)


def write(fd: int, parts: Iterable[bytes | memoryview]) -> int:
    """Write all of the parts; gives their length in bytes."""
    total = 0
    for part in parts:
        left = memoryview(part).cast("B")
        total += len(left)
        while left:
            left = left[os.write(fd, left) :]
    return total


def sync(fd: int) -> None:
    """Wait until what was written is on the disk."""
    _sync(fd)


def sync_folder(path: str) -> None:
    """Wait until the names in the folder are on the disk."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def rename(path: str, new: str) -> None:
    """Give the file a new name; a file that has it is replaced."""
    os.replace(path, new)


def remove(path: str) -> None:
    """Delete the file; it is no error if there is none."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
