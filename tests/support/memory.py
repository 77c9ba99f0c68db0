"""Folders in memory, where that is possible: made-up machines and stores are thousands of small files and syncs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MEMORY = "/dev/shm"


@contextmanager
def folder_in_memory() -> Iterator[Path]:
    """An empty folder, removed at the end."""
    place = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="prom-probe-", dir=place, ignore_cleanup_errors=True) as name:
        yield Path(name)
