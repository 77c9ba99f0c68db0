"""The store's directory: only one process uses it at a time, and a disk without space does not stop the store."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import pytest

from prom_probe.tsdb.disk import folder
from prom_probe.tsdb.store import StorageError, Store, StoreOptions
from tests.support.disk_tools import append_beats, open_store, stored, wait_for_disk
from tests.support.paths import ROOT
from tests.support.sidecar import Sidecar, command
from tests.support.tsdb_tools import gauges, samples_of
from tests.support.waiting import wait_for

_HOLDER = """
import sys
from prom_probe.tsdb.store import Store, StoreOptions
store = Store(StoreOptions(path=sys.argv[1]))
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[int]:
    """The PID of another process that writes to the store."""
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(tmp_path / "store")],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        yield process.pid
        process.kill()


def test_a_second_process_is_refused_by_name(tmp_path: Path, holder: int) -> None:
    """Neither a second writer nor a reader gets in while a process writes; the text names it."""
    path = str(tmp_path / "store")
    with pytest.raises(StorageError, match=rf"store: in use by process {holder}$"):
        Store(StoreOptions(path=path))
    with pytest.raises(StorageError, match=rf"store: in use by process {holder}; ask its API instead$"):
        Store.open_read_only(path)
    with pytest.raises(StorageError, match=rf"in use by process {holder}"):
        folder.check(path)


@contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 256 KiB; files that are still mapped keep it alive."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no small file system can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk(tmp_path: Path) -> None:
    """No space: the store serves from memory. Space again: what was only in memory is on the disk, old and new."""
    reports: list[str] = []
    with _small_disk(tmp_path / "small") as small, patch("prom_probe.tsdb.disk.journal._RETRY_S", 0.0):
        store = open_store(small / "store", reports)
        append_beats(store, 0, 200)
        ballast = small / "ballast"
        with ballast.open("wb", buffering=0) as stream, pytest.raises(OSError, match="No space"):
            while True:
                stream.write(b"x" * 4096)
        append_beats(store, 200, 400)
        assert not store.stats().persistent
        before = samples_of(store.snapshot())
        assert len(before[gauges(1)[0].labels]) == 600
        ballast.unlink()
        for _ in range(5):
            wait_for_disk(store)
        assert store.stats().persistent
        assert [text.split(": ", 2)[2] for text in reports] == [
            "cannot write: No space left on device; going on in memory, trying again",
            "writing again, what was kept in memory included",
        ]
        copy = tmp_path / "copy"
        shutil.copytree(small / "store", copy)
        store.close()
    assert stored(copy) == before


def _full(path: Path) -> str:
    with (path / "ballast").open("wb", buffering=0) as stream, pytest.raises(OSError, match="No space"):
        while True:
            stream.write(b"x" * 4096)
    return "no space left"


def _locked(path: Path) -> str:
    (path / "store/lock").mkdir(parents=True)
    return "it is a directory and no file"


def _of_another_version(path: Path) -> str:
    (path / "store").mkdir()
    (path / "store/format").write_text("prom_probe store 9\n")
    return "a store of another version"


def _read_only(path: Path) -> str:
    (path / "store").mkdir()
    subprocess.run(["mount", "-o", "remount,ro", str(path)], check=True)
    return "read-only"


@pytest.mark.parametrize("spoil", [_full, _locked, _of_another_version, _read_only])
def test_a_store_that_cannot_be_used_now_keeps_no_command_from_running(
    tmp_path: Path, spoil: Callable[[Path], str]
) -> None:
    """It is said, and the samples are in memory; without a COMMAND it is an error."""
    with _small_disk(tmp_path / "small") as small:
        said, flag = spoil(small), f"--storage.tsdb.path={small}/store"
        with Sidecar(flag, "--", "sleep", "60") as sidecar:
            wait_for("COMMAND's tree", lambda: sidecar.value("proctree_processes"))
            wait_for("our own series", lambda: sidecar.value("prom_probe_tsdb_persistent") == 0)
            assert said in sidecar.stderr
            assert "worker ended" not in sidecar.stderr
        done = command("run", flag)
        assert done.returncode == 1
        assert said in done.stderr


def test_a_disk_that_is_too_small_keeps_nothing_from_working(tmp_path: Path) -> None:
    """A store larger than its disk goes on in memory for good, within its retention, and opens again."""
    with _small_disk(tmp_path / "small") as small, patch("prom_probe.tsdb.disk.journal._RETRY_S", 0.0):
        store = open_store(small / "store", [])
        append_beats(store, 0, 3000)
        before = samples_of(store.snapshot())
        assert len(before[gauges(1)[0].labels]) == 3000
        assert not store.stats().persistent
        store.close()
        found = stored(small / "store")
        assert all(set(samples) <= set(before[labels]) for labels, samples in found.items())
        assert len(found[gauges(1)[0].labels]) > 500
        open_store(small / "store", []).close()
