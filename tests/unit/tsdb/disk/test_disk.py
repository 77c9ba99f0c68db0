"""The store on disk: which directories it uses, what it restores, and what happens to its files."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest

from prom_probe.model.labels import make_labels
from prom_probe.tsdb.block import Block
from prom_probe.tsdb.disk import file_ops, wal
from prom_probe.tsdb.store import AppendOutcome, StorageError, Store, StoreOptions
from tests.support.disk_tools import stored
from tests.support.tsdb_tools import bits, drain, gauges, local, row, samples_of


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store"


def _open(path: Path, reports: list[str] | None = None, **options: int) -> Store:
    texts = [] if reports is None else reports
    return Store(StoreOptions(path=str(path), **options), report=lambda level, text: texts.append(text))


def _written(store: Store) -> None:
    """Flush until the disk has everything, and the store knows it."""
    assert store._journal is not None
    for _ in range(3):
        assert store._journal.wait()


def _beats(store: Store, count: int, first: int = 0, width: int = 3) -> None:
    for beat in range(first, first + count):
        assert (
            store.append_row("c", 0, beat * 1000, row([beat / 3 + i for i in range(width)])) is AppendOutcome.APPENDED
        )
        drain(store, beat * 1000)


def _names(path: Path, end: str) -> list[str]:
    return sorted(name.name for name in path.iterdir() if name.name.endswith(end))


def test_a_clean_restart_loses_nothing(path: Path) -> None:
    """Rows and appended samples, sealed, merged or not: all are there, in files that only their owner may read."""
    store = _open(path)
    assert path.stat().st_mode & 0o777 == 0o700
    store.announce("c", 0, 0, gauges(3))
    _beats(store, 1400)
    for beat in range(300):
        store.append(make_labels("x", {"i": str(beat % 2)}), beat * 1000, float(beat))
    before, stats = samples_of(store.snapshot()), store.stats()
    store.close()
    assert all(file.stat().st_mode & 0o077 == 0 for file in path.iterdir())
    again = _open(path)
    assert samples_of(again.snapshot()) == before == samples_of(again.snapshot())
    assert (again.stats().series, again.stats().samples) == (stats.series, stats.samples)
    assert again.newest_ms() == 1_399_000
    again.close()
    assert stored(path) == before


def test_a_series_goes_on_after_a_restart(path: Path) -> None:
    """The same labels are the same series, with samples from before and after."""
    store = _open(path)
    store.announce("c", 0, 0, gauges(2))
    _beats(store, 10, width=2)
    store.close()
    again = _open(path)
    again.announce("c", 7, 0, [*reversed(gauges(3))])
    again.append_row("c", 7, 10_000, row([30.0, 20.0, 10.0]))
    assert again.stats().series == 3
    found = samples_of(again.snapshot())
    assert [[time for time, _ in line] for line in found.values()] == [[*range(0, 10_001, 1000)]] * 2 + [[10_000]]
    assert [line[-1][1] for line in found.values()] == [bits(value) for value in (10.0, 20.0, 30.0)]
    again.close()


def test_a_layout_of_an_earlier_life_is_not_known(path: Path) -> None:
    """Its number may mean other columns now, so rows need a new announcement; and `/metrics` shows nothing old."""
    store = _open(path)
    store.announce("c", 0, 0, gauges(2))
    _beats(store, 1, width=2)
    store.close()
    again = _open(path)
    assert not again.knows("c", 0)
    assert again.append_row("c", 0, 5000, row([1.0])) is AppendOutcome.UNKNOWN_LAYOUT
    assert [newest.payload for newest in again.newest()] == [b""]
    again.announce("c", 0, 0, [local("other")])
    again.append_row("c", 0, 5000, row([1.0]))
    assert len(samples_of(again.snapshot())) == 3
    again.close()


def test_frames_that_a_ring_replays_are_duplicates(path: Path) -> None:
    """After a crash of the aggregator the rings return what it had already appended: each row is there once."""
    store = _open(path)
    store.announce("c", 0, 0, gauges(3))
    _beats(store, 20)
    store.close()
    again = _open(path)
    again.announce("c", 0, 0, gauges(3))
    before = samples_of(again.snapshot())
    for beat in range(15, 20):
        assert again.append_row("c", 0, beat * 1000, row([beat / 3 + i for i in range(3)])) is AppendOutcome.DUPLICATE
    assert samples_of(again.snapshot()) == before
    again.close()


@pytest.mark.parametrize("sealed", [False, True])
def test_appended_series_continue_after_a_restart(path: Path, sealed: bool) -> None:
    """Duplicates, older samples and conflicts are told apart, for samples from the log and from block files."""
    store = _open(path)
    for beat in range(300):
        store.append(make_labels("x"), beat * 1000, beat / 7)
    if sealed:
        drain(store)
    store.close()
    again = _open(path)
    assert again.append(make_labels("x"), 299_000, 299 / 7) is AppendOutcome.DUPLICATE
    assert again.append(make_labels("x"), 299_000, 1.0) is AppendOutcome.CONFLICT
    assert again.append(make_labels("x"), 1000, 1.0) is AppendOutcome.OUT_OF_ORDER
    assert again.append(make_labels("x"), 300_000, 1.0) is AppendOutcome.APPENDED
    assert len(samples_of(again.snapshot())[make_labels("x")]) == 301
    again.close()


def test_a_clock_set_back_reads_the_same_after_a_restart(path: Path) -> None:
    """What was written later takes precedence, in files as in memory."""
    store = _open(path)
    store.announce("c", 0, 0, gauges(1))
    for start in (500, 450, 700, 470):
        for beat in range(300):
            store.append_row("c", 0, (start + beat) * 1000, row([start + beat / 8]))
        drain(store)
    before = samples_of(store.snapshot())
    store.close()
    assert stored(path) == before


def test_blocks_lie_in_files_and_not_in_memory(path: Path) -> None:
    """A block's bytes are mapped once they are written; retention still counts them, and they read the same."""
    store = _open(path)
    store.announce("c", 0, 0, gauges(30))
    _beats(store, 300, width=30)
    before = samples_of(store.snapshot())
    bytes_before = store.stats().bytes
    _written(store)
    (block,) = store.blocks()
    assert store.stats().mapped_bytes == len(block.data) + 8 * 30
    assert store.stats().bytes == bytes_before
    assert store.stats().block_file_bytes == sum((path / name).stat().st_size for name in _names(path, ".block"))
    assert store.stats().wal_bytes == sum((path / name).stat().st_size for name in _names(path, ".log"))
    assert samples_of(store.snapshot()) == before
    store.close()


def test_retention_deletes_files(path: Path) -> None:
    """The files of dropped blocks are deleted, and segments of the log that nothing needs."""
    with patch("prom_probe.tsdb.disk.journal._SEGMENT_BYTES", 20_000):
        store = _open(path, retention_ms=1_000_000)
        store.announce("c", 0, 0, gauges(3))
        for beat in range(6000):
            _beats(store, 1, first=beat)
            if beat % 50 == 0:
                _written(store)
        _written(store)
        held = sum(isinstance(piece, Block) for piece in store._streams[1].pieces)
        assert len(_names(path, ".block")) == held < 12
        assert len(_names(path, ".log")) <= 3
        before = samples_of(store.snapshot())
        store.close()
    assert stored(path) == before


def test_a_slow_collector_does_not_hold_the_log(path: Path) -> None:
    """Its open head is checkpointed into newer segments, so that old ones can be deleted; nothing is lost."""
    with patch("prom_probe.tsdb.disk.journal._SEGMENT_BYTES", 20_000):
        store = _open(path)
        store.announce("c", 0, 0, gauges(3))
        store.announce("slow", 0, 0, [local("slow")])
        for beat in range(3000):
            _beats(store, 1, first=beat)
            if beat % 60 == 0:
                store.append_row("slow", 0, beat * 1000, row([float(beat)]))
                store.append(make_labels("x"), beat * 1000, float(beat))
                _written(store)
        _written(store)
        assert len(_names(path, ".log")) <= 3
        before = samples_of(store.snapshot())
        store.close()
    assert len(before[local("slow").labels]) == len(before[make_labels("x")]) == 50
    assert stored(path) == before


def test_opening_again_and_again_changes_nothing(path: Path) -> None:
    """Opening and closing writes no sample and loses none; reading leaves the directory as it is, byte for byte."""
    store = _open(path)
    store.announce("c", 0, 0, gauges(3))
    _beats(store, 700)
    before = samples_of(store.snapshot())
    store.close()
    for _ in range(5):
        again = _open(path)
        assert samples_of(again.snapshot()) == before
        again.close()
    content = {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in path.iterdir()}
    assert stored(path) == before
    assert {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in path.iterdir()} == content


def test_a_stored_run_knows_its_families(path: Path) -> None:
    """The query API has the metadata of a finished run."""
    store = _open(path)
    store.announce("c", 0, 0, gauges(3))
    _beats(store, 5)
    store.close()
    assert list(Store.open_read_only(str(path)).families()) == [gauges(1)[0].family]


def test_the_series_cap_holds_after_a_restart(path: Path) -> None:
    """No more local series are restored than the cap allows, the newest first; exposed ones all are."""
    store = _open(path, max_series=40)
    store.announce("kept", 0, 0, gauges(10))
    for beat in range(600):
        if beat % 10 == 0:
            store.announce("c", beat, 0, [local(beat)])
        store.append_row("c", beat - beat % 10, beat * 1000, row([1.0]))
        store.append_row("kept", 0, beat * 1000, row([2.0] * 10))
        drain(store, beat * 1000)
    store.close()
    again = _open(path, max_series=30)
    names = again.snapshot().label_values("i", 0, 1 << 40, [])
    assert {str(i) for i in range(10)} | {"590"} <= set(names)
    assert again.stats().series == 30
    again.close()
    for segment in path.glob("*.log"):
        segment.unlink()
    again = _open(path, max_series=5)
    assert again.snapshot().label_values("i", 0, 1 << 40, []) == [str(i) for i in range(10)]
    again.close()


def test_retention_goes_on_after_a_restart(path: Path) -> None:
    """Lived time continues: what nearly expired before the restart expires soon after it."""
    now = 0
    for life, beats in enumerate((600, 300, 300)):
        store = _open(path, retention_ms=1_000_000)
        store.announce("c", 0, 0, gauges(1))
        for _ in range(beats):
            now += 1000
            store.append_row("c", 0, now, row([float(now)]))
            store.append(make_labels("x"), now, 1.0)
            drain(store, now)
        first = {labels: samples[0][0] for labels, samples in samples_of(store.snapshot()).items()}
        if life < 2:
            assert set(first.values()) == {1000}
        else:
            assert len(first) == 2 and min(first.values()) > 1000
        store.close()


@pytest.mark.parametrize("lost", [1, 7, 60])
def test_a_torn_tail_is_cut_off_and_reported_once(path: Path, lost: int) -> None:
    """The rest is there; the next time, nothing is wrong."""
    store = _open(path)
    store.announce("c", 0, 0, gauges(1))
    _beats(store, 1, width=1)
    store.flush()  # with what rows refer to, which is written twice
    _beats(store, 49, first=1, width=1)
    store.close()
    (name,) = _names(path, ".log")
    size = (path / name).stat().st_size
    os.truncate(path / name, size - lost)
    reports: list[str] = []
    again = Store.open_read_only(str(path), report=lambda level, text: reports.append(text))
    assert (path / name).stat().st_size == size - lost
    for _ in range(3):
        again = _open(path, reports)
        rows = len(samples_of(again.snapshot())[gauges(1)[0].labels])
        assert 48 <= rows < 50
        again.close()
    assert len(reports) == 2 and all("cut off" in text and name in text for text in reports)


def test_a_damaged_block_file_is_set_aside(path: Path) -> None:
    """It is renamed and reported; what other files and the log have is there."""
    store = _open(path)
    store.announce("c", 0, 0, gauges(1))
    _beats(store, 600, width=1)
    _written(store)
    store.close()
    first, *_ = _names(path, ".block")
    content = bytearray((path / first).read_bytes())
    content[len(content) // 2] ^= 1
    (path / first).write_bytes(content)
    reports: list[str] = []
    again = _open(path, reports)
    assert again.stats().damaged == 1
    assert len(samples_of(again.snapshot())[gauges(1)[0].labels]) in (600, 600 - 256)
    assert _names(path, ".damaged") == [f"{first}.damaged"]
    assert reports == [
        f"storage: {path / first}: set aside as {first}.damaged: its checksum is wrong; "
        "by its header it had 256 samples from 1970-01-01T00:00:00.000Z to 1970-01-01T00:04:15.000Z"
    ]
    again.close()


def test_what_cannot_be_set_aside_is_reported(path: Path) -> None:
    """A repair that fails is a warning; the store opens all the same."""
    _open(path).close()
    (path / "0000000000000001-0000000000000002.block").write_bytes(b"junk")

    def refuse(folder: int, name: str, new: str) -> None:
        raise OSError(errno.EIO, "")

    reports: list[str] = []
    with patch.object(file_ops, "rename", refuse):
        _open(path, reports).close()
    assert [text.split(": ", 2)[2] for text in reports] == [
        f"cannot repair: {os.strerror(errno.EIO)}",
        "ignored: its checksum is wrong",
    ]


def test_damaged_records_are_counted(path: Path) -> None:
    """Invalid ones and those with a wrong CRC; the records around them are read."""
    store = _open(path)
    store.announce("c", 0, 0, gauges(1))
    _beats(store, 5, width=1)
    store.close()
    (name,) = _names(path, ".log")
    unknown, good = b"\xff", wal.entry(wal.SeriesRecord(1000, make_labels("x")))
    with (path / name).open("ab") as stream:
        for _ in range(2):
            stream.write(wal.frame((unknown, b"")))
        damaged_at = stream.tell()
        stream.write(wal.FRAME.pack(1, 0) + unknown + wal.frame(good) + good[1])
    reports: list[str] = []
    again = _open(path, reports)
    assert reports == [
        f"storage: {path / name}: 9 bytes damaged, 1 record, at offset {damaged_at}, after 1970-01-01T00:00:04.000Z; "
        f"2 intact records of no use; the file as it was is kept as {name}.damaged"
    ]
    assert again.stats().damaged == 3
    assert len(samples_of(again.snapshot())[gauges(1)[0].labels]) == 5
    again.close()


@pytest.mark.parametrize("end", [".block", ".log"])
def test_what_retention_dropped_does_not_come_back(path: Path, end: str) -> None:
    """Neither from a block file nor from the log, when they could not be deleted."""
    store = _open(path, retention_ms=400_000)
    store.announce("c", 0, 0, gauges(1))
    _beats(store, 256, width=1)
    _written(store)
    old = {name: (path / name).read_bytes() for name in _names(path, end)}
    for now_ms in range(300_000, 800_000, 50_000):
        store.maintain(now_ms)
    assert old and store.stats().samples == 0
    store.append(make_labels("x"), 800_000, 1.0)
    store.close()
    for name, content in old.items():
        if not (path / name).exists():
            (path / name).write_bytes(content)
    again = _open(path)
    assert list(samples_of(again.snapshot())) == [make_labels("x")]
    _written(again)
    assert _names(path, ".block") == []
    again.close()


def test_a_closed_store_is_not_locked(path: Path) -> None:
    """Closing releases the lock, twice too; an open store keeps others out."""
    first = _open(path)
    first.close()
    first.close()
    second = _open(path)
    with pytest.raises(StorageError, match=f"in use by process {os.getpid()}"):
        _open(path)
    second.close()
    _open(path).close()


def _foreign(path: Path) -> None:
    path.mkdir()
    (path / "thesis.txt").write_text("x")


def _other_version(path: Path) -> None:
    path.mkdir()
    (path / "format").write_text("prom_probe store 9\n")


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda path: None, None),
        (lambda path: path.mkdir(), None),
        (lambda path: (path.mkdir(), (path / "lost+found").mkdir()), None),
        (lambda path: path.write_text("x"), "store: it is not a directory"),
        (_foreign, "store: not a prom_probe store: it has 'thesis.txt' and no file 'format'"),
        (_other_version, "store: a store of another version: 'prom_probe store 9' instead of 'prom_probe store 1'"),
        (lambda path: path.symlink_to(path), "store: "),
    ],
)
def test_a_directory_that_cannot_be_used_says_why(path: Path, make: Callable[[Path], object], text: str | None) -> None:
    """The error is one line with the directory and the reason; the directory stays as it is."""
    make(path)
    if text is None:
        _open(path).close()
        return
    attempts: list[Callable[[], Store]] = [lambda: _open(path), lambda: Store.open_read_only(str(path))]
    for attempt in attempts:
        with pytest.raises(StorageError) as error:
            attempt()
        assert text in str(error.value) and "\n" not in str(error.value)
    if path.is_dir():
        assert not _names(path, ".log")


def test_a_missing_parent_and_a_missing_store_are_errors(tmp_path: Path) -> None:
    """Only the directory itself is created, and only for writing."""
    with pytest.raises(StorageError, match="no/store: its parent does not exist"):
        _open(tmp_path / "no" / "store")
    for missing in (tmp_path / "none", tmp_path):
        with pytest.raises(StorageError, match="there is no store"):
            Store.open_read_only(str(missing))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (errno.EACCES, "permission denied"),
        (errno.EROFS, "the file system is read-only"),
        (errno.ENOSPC, "no space left"),
        (errno.EIO, os.strerror(errno.EIO)),
    ],
)
def test_a_directory_that_the_system_refuses(path: Path, code: int, text: str) -> None:
    """The error is one line, whatever the system's reason."""

    def refuse(*arguments: object) -> None:
        raise OSError(code, "")

    for operation in ("create", "make_folder"):
        with patch.object(file_ops, operation, refuse), pytest.raises(StorageError, match=f"store: {text}"):
            _open(path)
