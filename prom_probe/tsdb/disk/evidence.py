"""What is kept of damaged files: `FILE.damaged` beside them, a few of them."""

from __future__ import annotations

import os
from collections.abc import Sequence

from prom_probe.tsdb.disk import file_ops, wal

DAMAGED = ".damaged"

# The newest ones are kept, up to so many, and so many bytes in all.
_MOST_FILES = 16
_MOST_BYTES = 64 << 20


def set_aside(folder: int, name: str) -> None:
    """Keep the file as it is, under its name as evidence. Raises OSError."""
    file_ops.rename(folder, name, name + DAMAGED)
    _forget_old(folder)


def rewrite_segment(folder: int, name: str, data: bytes, kept: Sequence[tuple[int, int]]) -> int:
    """Write the segment anew, with the ranges `kept` of its `data` alone, and keep the old one as evidence.

    Returns its new size. Raises OSError.
    """
    view = memoryview(data)
    return rewrite(folder, name, data, [wal.MAGIC, *[view[start:end] for start, end in kept]])


def rewrite(folder: int, name: str, data: bytes, parts: Sequence[bytes | memoryview]) -> int:
    """Write the file, which has `data`, anew from `parts`, and keep the old one as evidence.

    Returns its new size. Raises OSError. After a crash, the file is the old one or the new one.
    """
    unfinished = name + ".tmp"
    try:
        size = _write(folder, unfinished, parts)
        _keep_copy(folder, name, data)
        file_ops.rename(folder, unfinished, name)
        file_ops.sync_folder(folder)
    except OSError:
        file_ops.remove(folder, unfinished)
        raise
    _forget_old(folder)
    return size


def _keep_copy(folder: int, name: str, data: bytes) -> None:
    file_ops.remove(folder, name + DAMAGED)
    try:
        file_ops.link(folder, name, name + DAMAGED)
    except OSError:  # a file system without hard links
        _write(folder, name + DAMAGED, [data])


def _write(folder: int, name: str, parts: Sequence[bytes | memoryview]) -> int:
    fd = file_ops.create(folder, name)
    try:
        size = file_ops.write(fd, parts)
        file_ops.sync(fd)
    finally:
        os.close(fd)
    return size


def _forget_old(folder: int) -> None:
    """Delete the oldest evidence beyond the limits; the newest stays, however large."""
    with os.scandir(folder) as entries:
        files = [entry for entry in entries if not entry.is_dir(follow_symlinks=False)]
        found = [(entry.stat(follow_symlinks=False), entry.name) for entry in files if entry.name.endswith(DAMAGED)]
    found.sort(key=lambda item: item[0].st_mtime_ns, reverse=True)
    total = 0
    for place, (stat, name) in enumerate(found):
        total += stat.st_size
        if place and (place >= _MOST_FILES or total > _MOST_BYTES):
            file_ops.remove(folder, name)
