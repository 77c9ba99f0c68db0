"""Which tests need the machine for themselves (`make test` runs the others first, two at a time), which begin first."""

from __future__ import annotations

from pathlib import Path

import pytest

_TESTS = Path(__file__).parent

# What they measure depends on who else has the CPUs: deadlines of queries, beats, CPU time to the percent.
ALONE = {
    "e2e/test_abuse.py",
    "e2e/test_cadence.py",
    "e2e/test_guard.py",
    "e2e/test_limits.py",
    "e2e/test_prometheus.py",
    "e2e/test_run.py",
    "e2e/test_process_collector.py",
    "e2e/test_unattributed.py",
}

# What takes 20 s and more comes first, so that no worker is left with it when the others have done.
LONG = {
    "deploy/test_pod.py",
    "e2e/test_dashboards.py",
    "e2e/test_gpu.py",
    "docs/test_docs.py",
    "e2e/test_containers.py",
    "e2e/test_scrape.py",
    "unit/tsdb/disk/test_kill.py",
    "e2e/test_machines.py",
    "unit/tsdb/disk/test_fuzz.py",
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark and order them by their file."""
    for item in items:
        if _file(item) in ALONE:
            item.add_marker(pytest.mark.alone)
    items.sort(key=lambda item: _file(item) not in LONG)


def _file(item: pytest.Item) -> str:
    return str(item.path.relative_to(_TESTS))
