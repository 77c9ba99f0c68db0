"""Crashes amid a recorded life, with unsynced writes lost or reordered; tests/e2e/test_store_faults.py has all."""

import random
from pathlib import Path

from tests.support.crash_trace import TracedLife

_EACH = 7  # one step of so many


def test_a_crash_loses_nothing_that_was_flushed(tmp_path: Path) -> None:
    """Whatever of the unsynced writes and renames a power cut leaves, in whatever order."""
    life = TracedLife(tmp_path / "store")
    chance = random.Random(23)
    for count in range(chance.randrange(_EACH), len(life.trace.steps) + 1, _EACH):
        life.check(count, tmp_path / "left", chance)
