"""The store's directory under a running writer: moved, replaced, deleted, unlocked, or with unreadable files."""

import errno
import os
import shutil
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest.mock import patch

import pytest

from prom_probe.tsdb.disk import api_file, file_ops
from prom_probe.tsdb.disk.verify import repair, verify
from prom_probe.tsdb.outcome import UnusableStoreError
from prom_probe.tsdb.store import StorageError, Store, StoreOptions
from tests.support.disk_tools import small_pieces, stored
from tests.support.tsdb_tools import drain, gauges, row, samples_of


class _Run:
    """A store that appends to `path`, and what it has reported."""

    def __init__(self, path: Path, disk_required: bool = True) -> None:
        self.reports: list[str] = []
        self.store = Store(
            StoreOptions(path=str(path)),
            report=lambda level, text: self.reports.append(f"{level} {text}"),
            disk_required=disk_required,
        )
        self.store.announce("c", 0, 0, gauges(2))
        self.now_ms = max(self.store.newest_ms() or 0, 0)

    def beats(self, count: int) -> None:
        for _ in range(count):
            self.now_ms += 1000
            self.store.append_row("c", 0, self.now_ms, row([self.now_ms / 3, 1.0]))
            drain(self.store, self.now_ms)
            if self.store._journal is not None:
                self.store._journal.wait()

    @property
    def persistent(self) -> bool:
        return self.store.stats().persistent

    def samples(self) -> int:
        return len(samples_of(self.store.snapshot())[gauges(1)[0].labels])


def _content(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.iterdir() if file.name != "lock"}


def test_a_moved_directory_is_followed_and_its_successor_left_alone(tmp_path: Path) -> None:
    """A second run on the same path: the first goes on where its directory is, and touches nothing of the second's."""
    path, moved = tmp_path / "run-1", tmp_path / "run-1.old"
    with small_pieces():
        first = _Run(path)
        first.beats(20)
        path.rename(moved)
        second = _Run(path)
        second.beats(3)
        before = _content(path)
        first.beats(40)
        assert _content(path) == before
        assert (first.persistent, second.persistent) == (False, True)
        told = f"error storage: {path}: the path does not lead to this run's directory any more; going on in {moved}"
        assert first.reports == [told]
        there = samples_of(first.store.snapshot())
        first.store.close()
        second.store.close()
    assert stored(moved) == there and len(there[gauges(1)[0].labels]) == 60
    assert len(stored(path)[gauges(1)[0].labels]) == 3


def test_a_directory_that_is_moved_back_is_persistent_again(tmp_path: Path) -> None:
    """Both are said once."""
    path, moved = tmp_path / "run-1", tmp_path / "elsewhere"
    run = _Run(path)
    run.beats(2)
    path.rename(moved)
    run.beats(2)
    assert not run.persistent
    moved.rename(path)
    run.beats(2)
    assert run.persistent
    assert [text.split()[0] for text in run.reports] == ["error", "info"]
    run.store.close()
    assert len(stored(path)[gauges(1)[0].labels]) == 6


def test_a_deleted_directory_is_noticed(tmp_path: Path) -> None:
    """It is said once, the store goes on in memory, and nothing is written to a new directory of that name."""
    path = tmp_path / "run-1"
    with patch("prom_probe.tsdb.disk.journal._RETRY_S", 0.0):
        run = _Run(path)
        run.beats(3)
        shutil.rmtree(path)
        path.mkdir()
        run.beats(5)
        assert not run.persistent and run.samples() == 8
        run.store.close()
    assert list(path.iterdir()) == []
    told = "cannot write: the directory was deleted; going on in memory, trying again"
    assert run.reports == [f"error storage: {path}: {told}"]


def test_a_deleted_segment_is_written_again(tmp_path: Path) -> None:
    """The log's newest segment was deleted under the writer: what is in memory alone goes into a new one."""
    path = tmp_path / "run-1"
    with patch("prom_probe.tsdb.disk.journal._RETRY_S", 0.0):
        run = _Run(path)
        run.beats(3)
        (segment,) = path.glob("*.log")
        segment.unlink()
        run.beats(3)
        assert run.persistent
        run.store.close()
    assert "the newest segment of the log was deleted" in run.reports[0]
    assert len(stored(path)[gauges(1)[0].labels]) == 6


def test_a_named_pipe_in_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    """Nobody reads or writes it: it is set aside, and said."""
    path = tmp_path / "run-1"
    run = _Run(path)
    run.beats(3)
    run.store.close()
    for name in ("api", *(segment.name for segment in path.glob("*.log"))):
        (path / name).unlink(missing_ok=True)
        os.mkfifo(path / name)
    api_file.write(str(path), "http://127.0.0.1:19991")
    assert api_file.read(str(path)) == ""
    run = _Run(path)
    run.beats(3)
    assert run.persistent and run.samples() == 3
    run.store.close()
    assert [text.split(".log: ")[1] for text in run.reports] == [
        "set aside as 0000000000000001.log.damaged: it is a named pipe and no file"
    ]
    assert len(stored(path)[gauges(1)[0].labels]) == 3


def _directory(path: Path) -> None:
    path.mkdir()
    (path / "something").touch()


_STRANGERS: dict[str, Callable[[Path], None]] = {
    "a directory": _directory,
    "a symbolic link": lambda path: path.symlink_to("/etc/hostname"),
    "a named pipe": os.mkfifo,
    "a device or a socket": lambda path: os.mknod(path, stat.S_IFSOCK | 0o600),
}


@pytest.mark.parametrize("what", _STRANGERS)
@pytest.mark.parametrize("name", [f"{7:016x}.log", f"{5:016x}-{9:016x}.block", "history", "run.json"])
def test_what_is_in_a_files_place_is_told_and_set_aside(tmp_path: Path, name: str, what: str) -> None:
    """By `verify` too, which changes nothing; the samples of all other files are there, and new ones are stored."""
    path = tmp_path / "run-1"
    run = _Run(path)
    run.beats(3)
    run.store.close()
    (path / name).unlink(missing_ok=True)
    _STRANGERS[what](path / name)
    assert [(fault.name, fault.text) for fault in verify(str(path)).faults] == [(name, f"it is {what} and no file")]
    run = _Run(path)
    run.beats(4)
    assert run.persistent and run.samples() == 7
    run.store.close()
    assert run.reports == [f"error storage: {path}/{name}: set aside as {name}.damaged: it is {what} and no file"]
    assert os.path.lexists(path / f"{name}.damaged")
    assert verify(str(path)).faults == []
    assert len(stored(path)[gauges(1)[0].labels]) == 7


@pytest.mark.parametrize("what", ["a directory", "a symbolic link"])
@pytest.mark.parametrize("name", ["lock", "format"])
def test_what_is_in_the_place_of_the_first_files_makes_the_store_unusable(tmp_path: Path, name: str, what: str) -> None:
    """It is named, for a writer, a reader, `verify` and `repair`; an aggregator goes on in memory."""
    path = tmp_path / "run-1"
    _Run(path).store.close()
    (path / name).unlink()
    _STRANGERS[what](path / name)
    uses: list[Callable[[str], object]] = [
        lambda path: Store(StoreOptions(path=path)),
        Store.open_read_only,
        verify,
        partial(repair, report=print),
    ]
    for use in uses:
        with pytest.raises(UnusableStoreError) as caught:
            use(str(path))
        assert str(caught.value) == f"{path}/{name}: it is {what} and no file"
    run = _Run(path, disk_required=False)
    run.beats(4)
    assert (run.persistent, run.samples()) == (False, 4)
    run.store.close()


def test_so_many_files_are_kept_as_evidence_that_directories_do_not_count(tmp_path: Path) -> None:
    """One that was set aside is not for us to delete."""
    path = tmp_path / "run-1"
    _Run(path).store.close()
    for number in range(100, 120):
        _directory(path / f"{number:016x}.log")
    run = _Run(path)
    run.store.close()
    assert sum(name.endswith(".log.damaged") for name in os.listdir(path)) == 20
    assert not any("cannot repair" in text for text in run.reports)


def test_a_directory_that_was_emptied_is_filled_again(tmp_path: Path) -> None:
    """Somebody deleted all files, but not the directory: block files and log are written again, and the format."""
    path = tmp_path / "run-1"
    with patch("prom_probe.tsdb.disk.journal._RETRY_S", 0.0), patch("prom_probe.tsdb.row_head.MAX_ROWS", 8):
        run = _Run(path)
        run.beats(26)
        assert len(list(path.glob("*.block"))) == 3
        for file in path.iterdir():
            file.unlink()
        run.beats(3)
        assert run.persistent
        before = samples_of(run.store.snapshot())
        run.store.close()
    assert [text.split()[0] for text in run.reports] == ["error", "info"]
    assert stored(path) == before and len(before[gauges(1)[0].labels]) == 29


@pytest.mark.parametrize("lost", [[], ["lock"]], ids=["all there", "lock deleted"])
def test_two_runs_never_write_into_one_directory(tmp_path: Path, lost: list[str]) -> None:
    """Not even if the file with the writer's PID was deleted."""
    path = tmp_path / "run-1"
    run = _Run(path)
    for name in lost:
        (path / name).unlink()
    with pytest.raises(StorageError, match="in use by"):
        Store.open_read_only(str(path))
    with pytest.raises(StorageError, match="in use by"):
        _Run(path)
    run.store.close()


def test_a_store_whose_directory_cannot_be_used_goes_on_in_memory(tmp_path: Path) -> None:
    """When an aggregator comes back, another run may have its directory: that costs history, and is counted."""
    path = tmp_path / "run-1"
    other = _Run(path)
    other.beats(3)
    run = _Run(path, disk_required=False)
    run.beats(4)
    assert run.samples() == 4
    assert (run.persistent, run.store.stats().disk_errors) == (False, 1)
    told = f"in use by process {os.getpid()}; going on in memory alone, without what was stored"
    assert run.reports == [f"error storage: {path}: {told}"]
    run.store.close()
    other.store.close()
    assert len(stored(path)[gauges(1)[0].labels]) == 3


def _refusing(end: str, code: int) -> Callable[[int, str], int]:
    real = file_ops.open_to_read

    def refuse(folder: int, name: str) -> int:
        if name.endswith(end):
            raise OSError(code, os.strerror(code))
        return real(folder, name)

    return refuse


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO], ids=["EACCES", "EIO"])
@pytest.mark.parametrize(("end", "lost"), [(".block", 0), (".log", 4)], ids=[".block", ".log"])
def test_a_file_that_cannot_be_read_costs_its_samples(tmp_path: Path, code: int, end: str, lost: int) -> None:
    """It is set aside, said in one line and counted; all other files are read, and the store goes on.

    The log still has what is in the block file; four rows are in the log alone.
    """
    path = tmp_path / "run-1"
    with patch("prom_probe.tsdb.row_head.MAX_ROWS", 8):
        run = _Run(path)
        run.beats(44)
        run.store.close()
        name = sorted(file.name for file in path.glob(f"*{end}"))[0]
        before = run.samples()
        with patch.object(file_ops, "open_to_read", _refusing(name, code)):
            again = _Run(path)
        assert again.store.stats().damaged == 1
        (told,) = again.reports
        assert f"{path / name}" in told and os.strerror(code) in told and "\n" not in told
        assert (path / f"{name}.damaged").exists()
        assert again.samples() == before - lost
        again.beats(5)
        assert again.persistent
        again.store.close()
        last = _Run(path)
        assert last.reports == [] and last.samples() == again.samples()
        last.store.close()
