"""Flipping bytes of a store's files, and what must be left of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from prom_probe.model.labels import make_labels
from prom_probe.tsdb.disk import wal
from prom_probe.tsdb.disk.segment import SegmentReader
from prom_probe.tsdb.store import Store, StoreOptions
from tests.support.disk_tools import small_pieces, stored, wait_for_disk
from tests.support.tsdb_tools import Samples, drain, gauges, row, samples_of


def make_sample(path: Path) -> Path:
    """A small store: block files whose rows are in no log any more, and a log of rows and appended samples."""
    with small_pieces():
        store = Store(StoreOptions(path=str(path)))
        store.announce("c", 0, 0, gauges(2))
        for beat in range(36):
            store.append_row("c", 0, beat * 1000, row([beat / 3, float(beat)]))
            drain(store, beat * 1000)
            wait_for_disk(store)
        for beat in range(36, 40):
            store.append_row("c", 0, beat * 1000, row([beat / 3, float(beat)]))
            store.append(make_labels("x"), beat * 1000, beat / 7)
            wait_for_disk(store)
        store.close()
    assert list(path.glob("*.block")) and list(path.glob("*.log"))
    return path


class Flips:
    """Each byte of a store may be flipped, in a copy of it that is made anew each time."""

    def __init__(self, sample: Path, scratch: Path) -> None:
        self.sample = sample
        self.content = stored(sample)
        self._scratch = scratch
        self._without: dict[str, Samples] = {}
        self._records = {file.name: list(SegmentReader(file.read_bytes())) for file in sorted(sample.glob("*.log"))}

    def places(self) -> Iterator[tuple[str, int]]:
        """Every byte of every file: (name, offset)."""
        for file in sorted(self.sample.iterdir()):
            for at in range(file.stat().st_size):
                yield file.name, at

    def check(self, name: str, at: int, bit: int) -> None:
        """Flip a bit: no exception; what is intact is there; what is lost is told, once."""
        copy = Path(shutil.copytree(self.sample, self._scratch))
        content = bytearray((copy / name).read_bytes())
        content[at] ^= 1 << bit
        (copy / name).write_bytes(content)
        try:
            self._check(copy, name, at)
        finally:
            shutil.rmtree(copy)

    def _check(self, copy: Path, name: str, at: int) -> None:
        if name == "format":
            reports, _, found = _open(copy)
            assert len(reports) == 1 and "another version" in reports[0] and not found
            return
        reports, damaged, found = _open(copy)
        if name == "lock":
            assert (reports, damaged, found) == ([], 0, self.content)
            return
        for labels, samples in found.items():
            assert set(samples) <= set(self.content[labels]), "nothing is made up"
        for labels, samples in self._intact(name, at).items():
            assert set(samples) <= set(found.get(labels, [])), "what is intact is there"
        (report,) = reports
        assert str(copy / name) in report
        assert damaged == (0 if report.startswith("warn") else 1)
        assert _open(copy) == ([], 0, found), "the next start is clean"

    def _intact(self, name: str, at: int) -> Samples:
        """The samples that do not need this byte."""
        if name.endswith(".block"):
            if name not in self._without:
                copy = Path(shutil.copytree(self.sample, self._scratch.with_name("without")))
                (copy / name).unlink()
                self._without[name] = stored(copy)
                shutil.rmtree(copy)
            return self._without[name]
        lost_ms: set[int] = set()
        for start, payload in self._records[name]:
            if start <= at < start + wal.FRAME.size + len(payload):
                times = wal.times(payload)
                lost_ms = set(range(times[0], times[1] + 1)) if times else set()
        return {
            labels: [sample for sample in samples if sample[0] not in lost_ms]
            for labels, samples in self.content.items()
        }


def _open(path: Path) -> tuple[list[str], int, Samples]:
    """What opening for writing reports, the count of damages, and the samples."""
    reports: list[str] = []
    options = StoreOptions(path=str(path))
    store = Store(options, report=lambda level, text: reports.append(f"{level} {text}"), disk_required=False)
    found, damaged = samples_of(store.snapshot()), store.stats().damaged
    store.close()
    return reports, damaged, found
