"""Which tests need the machine for themselves: `make test` runs the others first, two at a time."""

from __future__ import annotations

import pytest

# What they measure depends on who else has the CPUs: deadlines of queries, beats, CPU time to the percent.
ALONE = {
    "e2e/test_abuse.py",
    "e2e/test_cadence.py",
    "e2e/test_guard.py",
    "e2e/test_limits.py",
    "e2e/test_prometheus.py",
    "e2e/test_run.py",
    "unit/test_collectors_real.py",
    "unit/test_collectors_unattributed.py",
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark them by their file."""
    for item in items:
        if "/".join(item.path.parts[-2:]) in ALONE:
            item.add_marker(pytest.mark.alone)
