"""The file operations that writing the store consists of; each completes or raises OSError."""

from __future__ import annotations

import os
from collections.abc import Iterable

# macOS has no fdatasync.
_sync = getattr(os, "fdatasync", os.fsync)


def make_folder(path: str) -> None:
    """Create the folder, for its owner alone, unless it exists."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass


def create(path: str) -> int:
    """Create an empty file, or empty an existing one; returns its descriptor."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)


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


def sync_folder(path: str) -> None:
    """Wait until the folder's entries are on the disk."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def rename(path: str, new: str) -> None:
    """Rename the file; replaces a file that has the new name."""
    os.replace(path, new)


def remove(path: str) -> None:
    """Delete the file, if it exists."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
