"""The order of the tests, where they keep runs, and what hypothesis makes of a slow machine: nothing.

Files that take long begin first; `--random-order` shuffles files, and tests within them.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

_TESTS = Path(__file__).parent

# What takes 10 s and more comes first, so that no worker is left with it when the others have done.
LONG = (
    "docs/test_docs.py",
    "deploy/test_pod.py",
    "e2e/test_dashboards.py",
    "e2e/test_guard.py",
    "e2e/test_gpu.py",
    "e2e/test_page.py",
    "e2e/test_scrape.py",
    "e2e/test_containers.py",
    "e2e/test_run.py",
    "e2e/test_readers.py",
    "e2e/test_client_certificates.py",
    "e2e/test_web_config.py",
    "e2e/test_watchdog.py",
    "e2e/test_top.py",
    "e2e/test_remote_write_out.py",
    "deploy/test_manifests.py",
    "e2e/test_wrapped.py",
    "e2e/test_descriptors.py",
    "e2e/test_jobs.py",
    "e2e/test_store_faults.py",
    "e2e/test_runs.py",
    "e2e/test_machines.py",
    "e2e/test_unattributed.py",
    "e2e/test_broken_streams.py",
    "e2e/test_truth.py",
    "e2e/test_report.py",
    "e2e/test_history.py",
    "e2e/test_remote_write.py",
    "e2e/test_store_kills.py",
    "e2e/test_process_detail.py",
)


@pytest.fixture(scope="session", autouse=True)
def state_home(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Runs that tests wrap are not kept in the developer's home."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--random-order", type=int, metavar="SEED", help="shuffle files, and the tests of each file")


def pytest_report_header(config: pytest.Config) -> str | None:
    seed = config.getoption("--random-order")
    return None if seed is None else f"random order: {seed}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The tests of a file stay together, since what they share is made once for the file."""
    seed = config.getoption("--random-order")
    if seed is None:
        ranks = {file: rank for rank, file in enumerate(LONG)}
        items.sort(key=lambda item: ranks.get(_file(item), len(LONG)))
        return
    chance = random.Random(seed)
    files: dict[str, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(_file(item), []).append(item)
    shuffled = list(files.values())
    chance.shuffle(shuffled)
    for some in shuffled:
        chance.shuffle(some)
    items[:] = [item for some in shuffled for item in some]


def _file(item: pytest.Item) -> str:
    return str(item.path.relative_to(_TESTS))
