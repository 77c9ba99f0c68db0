"""I/O errors at every call while a store is opened: they cost history at most, are told, and end with the fault."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from prom_probe.tsdb.store import Store, StoreOptions
from tests.support.disk_tools import READING_STEPS, STEPS, Disk
from tests.support.flips import make_sample
from tests.support.tsdb_tools import Samples, gauges, row, samples_of


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose log is damaged, and that has an unfinished file: opening it also writes."""
    path = make_sample(tmp_path_factory.mktemp("opening") / "store")
    (path / "0000000000000001-0000000000000002.block.tmp").write_bytes(b"x")
    segment = max(path.glob("*.log"), key=lambda file: file.stat().st_size)
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(content)
    return path


def _open(path: Path, disk: Disk) -> tuple[Store, list[str]]:
    reports: list[str] = []
    with disk.beneath((*READING_STEPS, *STEPS)):
        store = Store(
            StoreOptions(path=str(path)), report=lambda level, text: reports.append(text), disk_required=False
        )
    return store, reports


def _all(store: Store) -> Samples:
    found = samples_of(store.snapshot())
    store.close()
    return found


@pytest.mark.parametrize(
    "code", [errno.EIO, errno.ENOSPC, errno.EACCES, errno.EMFILE], ids=["EIO", "ENOSPC", "EACCES", "EMFILE"]
)
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "lasting"])
def test_an_error_at_any_call(sample: Path, tmp_path: Path, code: int, lasting: bool) -> None:
    """No exception, and the store takes samples; what a file's own error did not cost is there at the next start."""
    counting = Disk()
    path = Path(shutil.copytree(sample, tmp_path / "store"))
    content = _all(_open(path, counting)[0])
    assert counting.steps > 15 and list(path.glob("*.log.damaged"))
    for step in range(counting.steps):
        shutil.rmtree(path)
        shutil.copytree(sample, path)
        disk = Disk()
        disk.fail(step, float("inf") if lasting else 1, code)
        store, reports = _open(path, disk)
        assert disk.failed
        told = any(os.strerror(code).lower() in text.lower() or "no space left" in text for text in reports)
        at_once = samples_of(store.snapshot())
        assert told or at_once == content, reports  # some errors cost nothing: a link is replaced by a copy
        store.announce("c", 0, 0, gauges(2))
        store.append_row("c", 0, 50_000, row([1.0, 2.0]))
        assert samples_of(store.snapshot())[gauges(1)[0].labels][-1][0] == 50_000
        assert all(set(samples) <= set(content[labels]) for labels, samples in at_once.items())
        store.close()
        after = _all(_open(path, Disk())[0])
        if code == errno.EMFILE:  # a shortage, no damage
            assert not list(path.glob("*.block.damaged"))
            assert all(set(samples) <= set(after[labels]) for labels, samples in content.items()), step
