"""Any bytes in any file of a store give data or a clear report: no exception, no hang, nothing made up."""

import os
import shutil
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from prom_probe.model.labels import Labels, make_labels
from prom_probe.tsdb.disk import blockfile, wal
from prom_probe.tsdb.disk.folder import FORMAT
from prom_probe.tsdb.disk.segment import SegmentReader
from prom_probe.tsdb.encoding.record import BlockError
from prom_probe.tsdb.store import StorageError, Store, StoreOptions
from tests.support.disk_tools import small_pieces, wait_for_disk
from tests.support.memory import folder_in_memory
from tests.support.tsdb_tools import ALWAYS, Samples, drain, gauges, row, samples_of


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with block files, of a collector and of appended samples, and a log."""
    path = tmp_path_factory.mktemp("sample") / "store"
    with small_pieces():
        store = Store(StoreOptions(path=str(path)))
        store.announce("c", 0, 0, gauges(2))
        for beat in range(60):
            store.append_row("c", 0, beat * 1000, row([beat / 3, float(beat)]))
            if beat < 30 or beat > 55:
                store.append(make_labels("x", {"i": str(beat % 3)}), beat * 1000, beat / 7)
            if beat < 50:
                drain(store, beat * 1000)
        wait_for_disk(store)
        store.close()
    assert len(list(path.glob("*.block"))) >= 2 and len(list(path.glob("*.log"))) >= 1
    return path


@pytest.fixture(scope="module")
def content(sample: Path) -> Samples:
    return samples_of(Store.open_read_only(str(sample)).snapshot())


def _use(path: Path) -> Store:
    """Read everything in the store, let it work, and append to it."""
    reports: list[str] = []
    for attempt in range(2):
        store = Store(StoreOptions(path=str(path)), report=lambda level, text: reports.append(text))
        _read(store)
        store.announce("c", 0, 0, gauges(2))
        store.append_row("c", 0, 1 << 50 | attempt, row([1.0, 2.0]))
        store.append(make_labels("x", {"i": "0"}), 1 << 50, 1.0)
        drain(store, 1 << 50)
        _read(store)
        store.close()
        assert store.stats().disk_errors == 0
    assert all("\n" not in text for text in reports)
    return store


def _read(store: Store) -> None:
    snapshot = store.snapshot()
    for name in snapshot.label_values("__name__", *ALWAYS, []):
        try:
            for group in snapshot.select(*ALWAYS, []):
                assert group.values.shape == (len(group.labels), len(group.timestamps)), name
        except BlockError:
            pass
    store.stats(), store.newest_ms(), list(store.families()), store.newest()


def _mutated(data: st.DataObject, content: bytes) -> bytes:
    """The bytes, with some of them changed, inserted, cut off or doubled."""
    out = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(out)))
        match data.draw(st.sampled_from("fscid")):
            case "f" if at < len(out):
                out[at] ^= 1 << data.draw(st.integers(0, 7))
            case "s":
                junk = data.draw(st.binary(min_size=1, max_size=8))
                out[at : at + len(junk)] = junk
            case "c":
                del out[at:]
            case "i":
                out[at:at] = data.draw(st.binary(min_size=1, max_size=8))
            case "d":
                end = data.draw(st.integers(at, min(len(out), at + 64)))
                out[at:at] = out[at:end]
    return bytes(out)


@given(data=st.data())
@settings(max_examples=25)
def test_any_file_of_a_store_may_be_damaged(sample: Path, content: Samples, data: st.DataObject) -> None:
    """What can be read is what was written; the rest is reported."""
    with folder_in_memory() as folder:
        copy = folder / "store"
        shutil.copytree(sample, copy)
        path = data.draw(st.sampled_from(sorted(path for path in copy.iterdir() if path.suffix in (".log", ".block"))))
        path.write_bytes(_mutated(data, path.read_bytes()))
        found = samples_of(Store.open_read_only(str(copy)).snapshot())
        for labels, samples in found.items():
            assert set(samples) <= set(content[labels])
        _use(copy)


@given(data=st.data())
@settings(max_examples=25)
def test_block_files_with_a_right_checksum_may_say_anything(sample: Path, data: st.DataObject) -> None:
    """A file that was changed on purpose does no harm either."""
    with folder_in_memory() as folder:
        copy = folder / "store"
        shutil.copytree(sample, copy)
        path = data.draw(st.sampled_from(sorted(copy.glob("*.block"))))
        mutated = _mutated(data, path.read_bytes())
        path.write_bytes(mutated[:4] + struct.pack("<I", zlib.crc32(mutated[8:])) + mutated[8:])
        _use(copy)


def _records(path: Path) -> Iterator[bytes]:
    for _, payload in SegmentReader(path.read_bytes()):
        yield payload


@given(data=st.data())
@settings(max_examples=25)
def test_records_with_a_right_checksum_may_say_anything(sample: Path, data: st.DataObject) -> None:
    """Records that are changed, missing, doubled or reordered do no harm."""
    with folder_in_memory() as folder:
        copy = folder / "store"
        shutil.copytree(sample, copy)
        path = data.draw(st.sampled_from(sorted(copy.glob("*.log"))))
        records = [
            _mutated(data, record) if data.draw(st.integers(0, 9)) == 0 else record
            for record in data.draw(st.permutations(list(_records(path)))) * data.draw(st.integers(1, 2))
            if data.draw(st.integers(0, 9))
        ]
        path.write_bytes(wal.MAGIC + b"".join(wal.frame((b"", record)) + record for record in records))
        _use(copy)


@given(st.binary(max_size=200), st.sampled_from(["0000000000000009.log", "0000000000000001-0000000000000900.block"]))
@settings(max_examples=25)
def test_files_of_any_bytes(content: bytes, name: str) -> None:
    """What is neither a segment nor a block file is set aside, with or without the magic of one."""
    with folder_in_memory() as folder:
        path = folder / "store"
        Store(StoreOptions(path=str(path))).close()
        magic = wal.MAGIC if name.endswith("log") else blockfile.MAGIC
        for start in (b"", magic):
            (path / name).write_bytes(start + content)
            _use(path)


@given(st.binary(max_size=300))
@settings(max_examples=100)
def test_the_readers_take_any_bytes(content: bytes) -> None:
    """A segment reader stops, a block file is read or refused."""
    for start in (b"", wal.MAGIC):
        whole = start + content
        reader = SegmentReader(whole)
        try:
            found = [(at, at + wal.FRAME.size + len(payload)) for at, payload in reader]
        except ValueError as error:
            assert "not a segment" in str(error)
        else:
            parts = sorted(found + [(damage.start, damage.end) for damage in reader.damages])
            covered = len(wal.MAGIC) if whole.startswith(wal.MAGIC) else 0
            for first, end in parts:
                assert first == covered < end
                covered = end
            assert covered == len(whole)
    for start in (b"", blockfile.MAGIC):
        with pytest.raises(BlockError):
            blockfile.parse(memoryview(start + content))


def test_the_newest_segment_may_be_cut_anywhere(sample: Path, content: Samples, tmp_path: Path) -> None:
    """The samples in block files are there in any case, and as many of the log's as the cut leaves."""
    copy = tmp_path / "store"
    shutil.copytree(sample, copy)
    newest = sorted(copy.glob("*.log"))[-1]
    whole = newest.read_bytes()
    before: dict[Labels, int] = {}
    for cut in range(0, len(whole) + 1, 5):
        newest.write_bytes(whole[:cut])
        found = samples_of(Store.open_read_only(str(copy)).snapshot())
        for labels, samples in found.items():
            assert samples == content[labels][: len(samples)]
        lengths = {labels: len(samples) for labels, samples in found.items()}
        assert all(lengths[labels] >= length for labels, length in before.items())
        before = lengths
    newest.write_bytes(whole)
    assert samples_of(Store.open_read_only(str(copy)).snapshot()) == content


@given(st.binary(max_size=40))
@settings(max_examples=30)
def test_a_format_of_any_bytes_is_no_store(content: bytes) -> None:
    """The error has its first line, whatever it is."""
    assume(content != FORMAT)
    with folder_in_memory() as folder:
        (folder / "format").write_bytes(content)
        with pytest.raises(StorageError, match="a store of another version"):
            Store(StoreOptions(path=str(folder)))
        assert sorted(os.listdir(folder)) == ["format", "lock"]
