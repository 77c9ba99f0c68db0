"""What unit tests write is kept in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.memory import folder_in_memory


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """An empty directory, removed after the test."""
    with folder_in_memory() as path:
        yield path
