"""Damage to the files of a store: what is intact is read, what is lost is told truly, and the damaged file is kept."""

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from prom_probe.model.labels import make_labels
from prom_probe.tsdb.disk import evidence, file_ops, wal
from prom_probe.tsdb.disk.segment import Damage, SegmentReader
from prom_probe.tsdb.store import Store, StoreOptions
from tests.support.disk_tools import Disk, stored, wait_for_disk
from tests.support.tsdb_tools import Samples, gauges, row, samples_of

_BEATS = 40
_DAMAGED = evidence.DAMAGED


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one segment: rows of one collector, and appended samples of another series."""
    path = tmp_path_factory.mktemp("damage") / "store"
    store = Store(StoreOptions(path=str(path)))
    store.announce("c", 0, 0, gauges(3))
    for beat in range(_BEATS):
        store.append_row("c", 0, beat * 1000, row([beat / 3, 1.0, 2.0]))
        store.append(make_labels("x"), beat * 1000, float(beat))
        store.flush()
    store.close()
    return path


@pytest.fixture
def copy(sample: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sample, tmp_path / "store"))


def _segment(path: Path) -> Path:
    (segment,) = path.glob("*.log")
    return segment


def _records(path: Path) -> list[tuple[int, bytes]]:
    return list(SegmentReader(_segment(path).read_bytes()))


def _flip(path: Path, at: int, bit: int = 0) -> bytes:
    content = bytearray(path.read_bytes())
    content[at] ^= 1 << bit
    path.write_bytes(content)
    return bytes(content)


def _open(path: Path) -> tuple[list[str], int, Samples]:
    """What opening for writing reports, the count of damages, and the samples."""
    reports: list[str] = []
    store = Store(StoreOptions(path=str(path)), report=lambda level, text: reports.append(f"{level} {text}"))
    found, damaged = samples_of(store.snapshot()), store.stats().damaged
    store.close()
    return reports, damaged, found


def _lost(before: Samples, after: Samples) -> int:
    assert all(set(after[labels]) <= set(before[labels]) for labels in after)
    return sum(map(len, before.values())) - sum(map(len, after.values()))


def _row_at(path: Path, beat: int) -> int:
    rows = [at for at, payload in _records(path) if payload[0] == wal.ROW]
    assert len(rows) == _BEATS
    return rows[beat]


@pytest.mark.parametrize("offset", [0, 1, 5, wal.FRAME.size, wal.FRAME.size + 40], ids=lambda at: f"byte {at}")
def test_one_flipped_bit_costs_one_record(copy: Path, offset: int) -> None:
    """In its length, checksum, kind or values: all behind it is read, the line is true, and the next start is clean."""
    before, segment = stored(copy), _segment(copy)
    at, end = _row_at(copy, 3), _row_at(copy, 3) + wal.FRAME.size + wal.ROW_START.size + 24
    damaged_bytes = _flip(segment, at + offset, 1)
    reports, damaged, after = _open(copy)
    assert (_lost(before, after), damaged) == (3, 1)
    records = "at least 1 record" if offset < 4 else "1 record"
    assert reports == [
        f"error storage: {segment}: {end - at} bytes damaged, {records}, at offset {at}, between "
        f"1970-01-01T00:00:02.000Z and 1970-01-01T00:00:03.000Z; the file as it was is kept as {segment.name}{_DAMAGED}"
    ]
    assert segment.with_name(segment.name + _DAMAGED).read_bytes() == damaged_bytes
    assert _open(copy) == ([], 0, after)


def test_a_flipped_bit_in_an_introduction_costs_no_sample(copy: Path) -> None:
    """Heads, columns and series are written twice: what refers to the first one waits for the second."""
    before, segment, whole = stored(copy), _segment(copy), _segment(copy).read_bytes()
    introductions = [(at, payload) for at, payload in _records(copy) if payload[0] in wal.KINDS]
    assert {payload[0] for _, payload in introductions} == {wal.HEAD, wal.COLUMNS, wal.SERIES}
    for at, payload in introductions:
        segment.write_bytes(whole)
        _flip(segment, at + wal.FRAME.size + len(payload) // 2)
        reports, damaged, after = _open(copy)
        assert (after, damaged, len(reports)) == (before, 1, 1), payload


def test_a_flipped_bit_in_a_checkpoints_introduction_costs_no_sample(tmp_path: Path) -> None:
    """It is the only segment with the head: what refers to the first copy finds the second."""
    path = tmp_path / "store"
    with patch("prom_probe.tsdb.disk.journal._RETRY_S", 0.0), Disk().beneath() as disk:
        store = Store(StoreOptions(path=str(path)))
        store.announce("c", 0, 0, gauges(3))
        disk.fail(0, float("inf"), errno.ENOSPC)
        for beat in range(10):
            store.append_row("c", 0, beat * 1000, row([beat / 3, 1.0, 2.0]))
            store.append(make_labels("x"), beat * 1000, float(beat))
            wait_for_disk(store)
        disk.heal()
        store.close()
    before, segment = stored(path), _segment(path)
    whole = segment.read_bytes()
    introductions = [(at, payload) for at, payload in _records(path) if payload[0] in wal.KINDS]
    assert len(introductions) == 8
    for at, payload in introductions:
        for place in (1, len(payload) // 2):
            segment.write_bytes(whole)
            _flip(segment, at + wal.FRAME.size + place)
            reports, damaged, after = _open(path)
            assert (after, damaged, len(reports)) == (before, 1, 1), payload


def test_a_large_part_of_a_segment_may_be_gone(copy: Path) -> None:
    """Bytes in the middle are overwritten: the records before and behind them are read."""
    before, segment = stored(copy), _segment(copy)
    content = bytearray(segment.read_bytes())
    start, end = _row_at(copy, 10) + 5, _row_at(copy, 20) + 5
    content[start:end] = os.urandom(end - start)
    segment.write_bytes(content)
    (report,), damaged, after = _open(copy)
    assert damaged == 1 and _lost(before, after) == 4 * 11 - 1
    assert "between 1970-01-01T00:00:09.000Z and 1970-01-01T00:00:20.000Z" in report
    assert [t_ms for t_ms, _ in after[gauges(1)[0].labels]] == [
        beat * 1000 for beat in range(_BEATS) if not 10 <= beat <= 20
    ]


def test_a_segment_with_a_damaged_start_is_read(copy: Path) -> None:
    """The file's first bytes are no record: nothing is lost but them."""
    before = stored(copy)
    _flip(_segment(copy), 0)
    (report,), damaged, after = _open(copy)
    assert (after, damaged) == (before, 1)
    assert "8 bytes damaged, no record, at offset 0, before 1970-01-01T00:00:00.000Z" in report


def test_several_damages_are_one_line(copy: Path) -> None:
    """It has the sum, the first place, and the time from the first to the last."""
    segment = _segment(copy)
    places = [_row_at(copy, beat) for beat in (5, 9, 30)]
    for at in places:
        _flip(segment, at + wal.FRAME.size + 40)
    (report,), damaged, _ = _open(copy)
    assert damaged == 3
    assert f"bytes damaged in 3 places, 3 records, the first at offset {places[0]}, between" in report
    assert "between 1970-01-01T00:00:04.000Z and 1970-01-01T00:00:30.000Z" in report


def _cut(data: bytes, last: int) -> Iterator[tuple[str, bytes, bool]]:
    yield "cut in its values", data[:-5], True
    yield "cut in its frame", data[: last + 3], True
    yield "never filled", data[:last] + bytes(len(data) - last), True
    yield "a flipped bit in its values", data[:-1] + bytes([data[-1] ^ 1]), False
    yield "a flipped bit in its length", data[: last + 1] + bytes([data[last + 1] ^ 1]) + data[last + 2 :], False
    yield "junk", data[:last] + b"\xff" * 100, False


def test_a_torn_tail_is_not_damage(copy: Path) -> None:
    """What a crash leaves at the end is a warning, and cut off; damage there is an error, counted and kept."""
    segment = _segment(copy)
    whole, last = segment.read_bytes(), _records(copy)[-1][0]
    for what, content, torn in _cut(whole, last):
        segment.write_bytes(content)
        (report,), damaged, _ = _open(copy)
        kept = segment.with_name(segment.name + _DAMAGED)
        assert (damaged, kept.exists()) == ((0, False) if torn else (1, True)), what
        assert report.startswith("warn" if torn else "error"), what
        assert ("an incomplete write" in report) == torn, what
        assert f"{len(content) - last} bytes" in report, what
        assert segment.stat().st_size == last
        kept.unlink(missing_ok=True)


def test_a_page_that_the_disk_cannot_read_costs_that_page(copy: Path) -> None:
    """An I/O error amid a segment: the other pages are read."""
    before, real = stored(copy), file_ops.read

    def read(fd: int, size: int, offset: int) -> bytes:
        if offset <= 4096 < offset + size:
            raise OSError(errno.EIO, "")
        return real(fd, size, offset)

    with patch.object(file_ops, "read", read):
        (report,), damaged, after = _open(copy)
    assert damaged >= 1 and 0 < _lost(before, after) < 4096 / 16
    assert report.count(os.strerror(errno.EIO)) == 1 and "could not be read" in report
    assert _open(copy) == ([], 0, after)


def test_evidence_is_bounded(tmp_path: Path) -> None:
    """The newest files are kept, up to a number and a size; the newest one in any case."""
    fd = file_ops.open_folder(str(tmp_path))
    for number in range(20):
        (tmp_path / f"{number:02}.block").write_bytes(b"x" * 100)
        os.utime(tmp_path / f"{number:02}.block", (number, number))
        evidence.set_aside(fd, f"{number:02}.block")
    assert sorted(os.listdir(tmp_path)) == [f"{number:02}.block{_DAMAGED}" for number in range(4, 20)]
    with patch.object(evidence, "_MOST_BYTES", 150):
        for number in (20, 21):
            (tmp_path / f"{number}.block").write_bytes(b"x" * 200)
            evidence.set_aside(fd, f"{number}.block")
            assert os.listdir(tmp_path) == [f"{number}.block{_DAMAGED}"]
    os.close(fd)


def test_evidence_needs_no_hard_links(copy: Path) -> None:
    """Where a file cannot have two names, it is copied."""

    def refuse(folder: int, name: str, new: str) -> None:
        raise OSError(errno.EPERM, "")

    segment = _segment(copy)
    content = _flip(segment, _row_at(copy, 3) + 10)
    with patch.object(file_ops, "link", refuse):
        _open(copy)
    assert segment.with_name(segment.name + _DAMAGED).read_bytes() == content


def test_reading_a_damaged_store_changes_nothing(copy: Path) -> None:
    """`query` and `serve` say what is lost, and leave the files as they are."""
    segment = _segment(copy)
    content = _flip(segment, _row_at(copy, 3) + 10)
    reports: list[str] = []
    store = Store.open_read_only(str(copy), report=lambda level, text: reports.append(text))
    assert len(samples_of(store.snapshot())[gauges(1)[0].labels]) == _BEATS - 1
    assert segment.read_bytes() == content and not list(copy.glob("*" + _DAMAGED))
    assert len(reports) == 1 and "kept as" not in reports[0]


def test_garbage_between_records_is_skipped_in_time(copy: Path) -> None:
    """What looks like the start of records, thousands of times, does not keep the store from opening."""
    data = _segment(copy).read_bytes()
    fake = wal.FRAME.pack(200_000, 1) + b"\x01\x93"
    reader = SegmentReader(data[: _row_at(copy, 5)] + fake * 100_000 + data[_row_at(copy, 5) :])
    with patch("prom_probe.tsdb.disk.segment._MOST_CHECKED", 10 << 20):
        records = list(reader)
    assert reader.damages == [Damage(records[-1][0] + len(records[-1][1]) + 8, len(reader._data), None, False, 4000)]
