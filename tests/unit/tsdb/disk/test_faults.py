"""The store on a disk that fails: it continues in memory, reports that once, and completes its files later."""

import errno
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from prom_probe.model.labels import make_labels
from prom_probe.tsdb.disk import file_ops, folder
from prom_probe.tsdb.disk.file_writer import BeginSegment, DeleteFiles, FileWriter
from prom_probe.tsdb.disk.folder import Folder
from prom_probe.tsdb.store import Store, StoreOptions
from tests.support.disk_tools import (
    Disk,
    Life,
    append_beats,
    live_a_day,
    open_store,
    small_pieces,
    steps_of_a_day,
    stored,
    survive_fault,
    wait_for_disk,
)
from tests.support.tsdb_tools import drain, gauges, row, samples_of
from tests.support.waiting import DEADLINE_S


def test_a_crash_at_any_step(tmp_path: Path) -> None:
    """After a crash at any file operation, what a flush had written is there, once, and nothing else."""
    for step in range(0, steps_of_a_day(tmp_path / "all"), 5):
        with small_pieces(), Disk().beneath() as disk:
            life = Life(tmp_path / "store", disk)
            disk.fail(step, float("inf"), errno.EIO)
            live_a_day(life)
            life.crash(step % 3 / 2)
            life.store.close()
            shutil.rmtree(life.folder)


@pytest.mark.parametrize(
    ("code", "steps"),
    [(errno.ENOSPC, 1), (errno.EIO, 40), (errno.EROFS, 1), (errno.EDQUOT, 40), (errno.EACCES, 1)],
    ids=str,
)
def test_a_fault_at_any_step_ends(tmp_path: Path, code: int, steps: int) -> None:
    """Whatever fails for a while is counted and reported once; then everything is on the disk."""
    for step in range(0, steps_of_a_day(tmp_path / "all"), 11):
        survive_fault(tmp_path / "store", step, steps, code)


def test_a_failing_disk_is_retried(tmp_path: Path) -> None:
    """While a disk fails, the store retries every five seconds."""
    now = 1000.0
    with patch("prom_probe.tsdb.disk.journal.monotonic", lambda: now), Disk().beneath() as disk:
        store = open_store(tmp_path / "store", [])
        disk.fail(0, float("inf"), errno.EIO)
        errors = []
        for beat in range(30):
            store.append_row("c", 0, beat * 1000, row([1.0]))
            wait_for_disk(store)
            errors.append(store.stats().disk_errors)
            now += 1.0
        assert errors[-1] == 6
        disk.heal()
        store.close()
    assert len(stored(tmp_path / "store")[gauges(1)[0].labels]) == 30


def test_what_waits_for_a_slow_disk_is_bounded(tmp_path: Path) -> None:
    """What waits for a slow disk is bounded; once the disk responds, nothing is missing."""
    stuck, go = threading.Event(), threading.Event()
    real = file_ops.sync

    def slow(fd: int) -> None:
        stuck.set()
        assert go.wait(DEADLINE_S)
        real(fd)

    reports: list[str] = []
    store = open_store(tmp_path / "store", reports)
    with (
        patch.object(file_ops, "sync", slow),
        patch("prom_probe.tsdb.disk.journal._MOST_WAITING_BYTES", 100_000),
        patch("prom_probe.tsdb.disk.journal._HAND_OVER_BYTES", 10_000),
        patch("prom_probe.tsdb.disk.journal._RETRY_S", 0.0),
    ):
        journal = store._journal
        assert journal is not None
        for beat in range(2000):
            store.append_row("c", 0, beat * 1000, row([float(beat)] * 20))
            store.append(make_labels("x"), beat * 1000, float(beat))
            if beat % 10 == 0:
                store.flush()
            assert journal._writer.waiting_bytes + journal._recorder.size <= 110_000
        assert stuck.wait(DEADLINE_S)
        assert [text.split(": ", 2)[2] for text in reports] == [
            "the disk does not keep up; going on in memory, trying again"
        ]
        go.set()
        deadline_s = time.monotonic() + DEADLINE_S
        while not store.stats().persistent:
            assert time.monotonic() < deadline_s, "it never caught up"
            wait_for_disk(store)
        wait_for_disk(store)
        before = samples_of(store.snapshot())
        shutil.copytree(tmp_path / "store", tmp_path / "copy")
        store.close()
    assert stored(tmp_path / "copy") == before


def test_a_failed_deletion_is_retried(tmp_path: Path) -> None:
    """Files that could not be deleted are deleted later, or ignored after a restart."""
    real = file_ops.remove

    def stay(folder: int, name: str) -> None:
        raise OSError(errno.EIO, "")

    with small_pieces(), Disk().beneath() as disk, patch.object(file_ops, "remove", stay):
        life = Life(tmp_path / "store", disk)
        live_a_day(life)
        names = len(list(life.folder.glob("*.block")))
        assert names > len(life.store.blocks())
        before = samples_of(life.store.snapshot())
        assert stored_copy(life.folder, tmp_path / "copy") == before
        with patch.object(file_ops, "remove", real):
            life.recover()
            assert len(list(life.folder.glob("*.block"))) == len(life.store.blocks())
        life.store.close()


def stored_copy(folder: Path, copy: Path) -> object:
    """What a restart would find after a crash now."""
    shutil.copytree(folder, copy)
    store = Store(StoreOptions(path=str(copy)))
    found = samples_of(store.snapshot())
    store.close()
    return found


def test_a_block_that_is_gone_before_it_is_written_leaves_no_file(tmp_path: Path) -> None:
    """Blocks that are merged or dropped while they wait are not written, or their files are deleted."""
    go = threading.Event()
    with small_pieces():
        store = Store(StoreOptions(path=str(tmp_path / "store"), retention_ms=200_000))
        store.announce("c", 0, 0, gauges(2))
        real = file_ops.create

        def slow(folder: int, name: str) -> int:
            assert go.wait(DEADLINE_S)
            return real(folder, name)

        with patch.object(file_ops, "create", slow):
            for beat in range(600):
                store.append_row("c", 0, beat * 1000, row([1.0, beat / 7]))
                drain(store, beat * 1000)
                store.flush()
            go.set()
            wait_for_disk(store)
        wait_for_disk(store)
        files_then = {path.name for path in (tmp_path / "store").glob("*.block")}
        assert len(files_then) == len(store.blocks()) < 40
        before = samples_of(store.snapshot())
        store.close()
    assert stored(tmp_path / "store") == before


def test_segments_stay_while_the_log_is_broken(tmp_path: Path) -> None:
    """The segment that was to replace them may be what failed."""
    writer = FileWriter(folder.open_to_write(str(tmp_path)))
    (tmp_path / Folder.segment_name(1)).write_bytes(b"x")

    def fails() -> Iterator[tuple[bytes, bytes]]:
        raise OSError(errno.EIO, "")
        yield b"", b""

    writer.submit(BeginSegment(2, fails))
    writer.submit(DeleteFiles([Folder.segment_name(1)], [1]))
    assert writer.wait(DEADLINE_S)
    assert sorted(path.name for path in tmp_path.glob("*.log")) == [Folder.segment_name(1)]
    writer.submit(BeginSegment(3, lambda: iter(())))
    writer.submit(DeleteFiles([Folder.segment_name(1)], [1]))
    assert writer.close(60)
    assert sorted(path.name for path in tmp_path.glob("*.log")) == [Folder.segment_name(3)]
    writer.folder.close()


def test_closing_tries_once_more(tmp_path: Path) -> None:
    """A store that is closed right after a fault has ended loses nothing."""
    with Disk().beneath() as disk:
        store = open_store(tmp_path / "store", [])
        disk.fail(0, float("inf"), errno.ENOSPC)
        append_beats(store, 0, 300)
        before = samples_of(store.snapshot())
        disk.heal()
        store.close()
    assert stored(tmp_path / "store") == before


def test_a_block_without_a_file_survives_in_the_log(tmp_path: Path) -> None:
    """As long as a block could not be written, the log keeps its rows."""
    with small_pieces(), Disk().beneath() as disk:
        life = Life(tmp_path / "store", disk)
        real = file_ops.create

        def no_blocks(folder: int, name: str) -> int:
            if ".block" in name:
                raise OSError(errno.EDQUOT, "")
            return real(folder, name)

        with patch.object(file_ops, "create", no_blocks):
            for _ in range(20):
                life.rows(10, [1.0, 2.0])
                life.tidy()
                life.flush()
            assert life.store.blocks() and not list(life.folder.glob("*.block"))
        before = samples_of(life.store.snapshot())
        assert stored_copy(life.folder, tmp_path / "copy") == before
        life.store.close()
