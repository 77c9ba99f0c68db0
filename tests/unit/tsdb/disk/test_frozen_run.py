"""A run that an earlier version stored is read as it was written."""

from __future__ import annotations

import shutil
from pathlib import Path

from prom_probe.cli.stored import StoredSource
from tests.support import frozen_run
from tests.support.disk_tools import stored
from tests.support.paths import FIXTURES
from tests.support.tsdb_tools import gauges

SAMPLES = frozen_run.samples({one.labels: i for i, one in enumerate(gauges(8))})


def test_samples_processes_and_events(tmp_path: Path) -> None:
    """Of `tests/fixtures/stored_run`, bit for bit."""
    folder = Path(shutil.copytree(FIXTURES / "stored_run", tmp_path / "run"))
    assert {path.suffix for path in folder.iterdir()} >= {".block", ".log"}
    assert stored(folder) == SAMPLES
    source = StoredSource(str(folder))
    assert source.run().command == ["python", "train.py"] and source.run().exit_status == 3
    assert [event for event in source.events() if event.type == "oom_kill"] == [frozen_run.EVENT]
    (process,) = source.processes()
    assert (process.pid, process.memory_peak_bytes, process.cpu_seconds) == (7, 30 << 20, 9.5)


def test_written_anew_it_is_the_same(tmp_path: Path) -> None:
    """What the fixture is compared with is what it was written from."""
    frozen_run.write(str(tmp_path / "run"))
    assert stored(tmp_path / "run") == SAMPLES
