"""Made-up machines are thousands of small files: they are kept in memory where that is possible."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_MEMORY = "/dev/shm"


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """An empty directory, removed after the test."""
    place = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="prom-probe-", dir=place, ignore_cleanup_errors=True) as name:
        yield Path(name)
