"""What tests of the store on disk share: a store that crashes and is reopened, and a disk that fails."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from prom_probe.model.family import Column, column
from prom_probe.model.labels import Labels, make_labels
from prom_probe.tsdb.disk import file_ops
from prom_probe.tsdb.store import AppendOutcome, Store, StoreOptions
from tests.support.tsdb_tools import GAUGE, Samples, bits, drain, gauges, row, samples_of
from tests.support.waiting import DEADLINE_S

STEPS = ("create", "write", "sync", "sync_folder", "rename", "remove", "link", "truncate")
READING_STEPS = ("make_folder", "open_folder", "open_to_read", "read")


@contextmanager
def small_pieces() -> Iterator[None]:
    """Heads of a few rows, segments of a few records, and no pause before a failed write is retried."""
    with ExitStack() as stack:
        for name, value in {
            "row_head.MAX_ROWS": 8,
            "appended.MAX_ROWS": 4,
            "disk.journal._SEGMENT_BYTES": 1000,
            "disk.journal._RETRY_S": 0.0,
            "disk.wal_recorder._SAMPLES_BYTES": 100,
        }.items():
            stack.enter_context(patch(f"prom_probe.tsdb.{name}", value))
        yield


class Disk:
    """Counts file operations, and makes some of them fail; a write that fails is half done.

    `synced`: by name, the bytes of each file that a power cut would leave.
    """

    def __init__(self) -> None:
        self.steps = 0
        self.failed = 0
        self.synced: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self._first, self._last, self._code = 1.0, 0.0, errno.EIO

    def fail(self, after: int, steps: float, code: int) -> None:
        """Make `steps` operations fail, after `after` more that succeed."""
        self._first, self._last, self._code = self.steps + 1 + after, self.steps + after + steps, code

    def heal(self) -> None:
        self._last = 0

    def _wrapped(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            self.steps += 1
            if self._first <= self.steps <= self._last:
                self.failed += 1
                if name == "write":
                    whole = b"".join(arguments[1])
                    real(arguments[0], [whole[: len(whole) // 2]])
                raise OSError(self._code, os.strerror(self._code))
            out = real(*arguments)
            if name == "create":
                self._names[out] = arguments[1]
                self.synced[arguments[1]] = 0
            elif name == "sync" and arguments[0] in self._names:
                self.synced[self._names[arguments[0]]] = os.fstat(arguments[0]).st_size
            return out

        return call

    @contextmanager
    def beneath(self, steps: Sequence[str] = STEPS) -> Iterator[Disk]:
        """Make the store use this disk for these operations."""
        with ExitStack() as stack:
            for name in steps:
                stack.enter_context(patch.object(file_ops, name, self._wrapped(name, getattr(file_ops, name))))
            yield self


class Life:
    """A store in a folder, all samples appended to it (`there`), and those that flushes have written (`safe`)."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        self.folder = folder
        self.disk = disk
        self.reports: list[str] = []
        self.there: dict[Labels, dict[int, bytes]] = {}
        self.safe: dict[Labels, dict[int, bytes]] = {}
        self.t_ms = 1_000_000
        self._names = itertools.count(100)
        self.layout = 0
        self.columns: list[Column] = gauges(3)
        self.begin()

    def begin(self) -> None:
        self.store = Store(StoreOptions(path=str(self.folder)), report=lambda level, text: self.reports.append(text))
        self.layout += 1
        self.store.announce("c", self.layout, 0, self.columns)

    def rows(self, count: int, values: list[float | None]) -> None:
        for number in range(count):
            self.t_ms += 1000
            there = [None if v is None else v + number for v in values[: len(self.columns)]]
            assert self.store.append_row("c", self.layout, self.t_ms, row(there)) is AppendOutcome.APPENDED
            for one, value in zip(self.columns, there, strict=False):
                if value is not None:
                    self.there.setdefault(one.labels, {})[self.t_ms] = bits(value)

    def grow(self, count: int) -> None:
        fresh = [column(GAUGE, i=str(next(self._names))) for _ in range(count)]
        self.store.announce("c", self.layout, len(self.columns), fresh)
        self.columns = self.columns + fresh

    def compact(self, keep: int) -> None:
        self.columns = self.columns[len(self.columns) - keep :]
        self.layout += 1
        self.store.announce("c", self.layout, 0, self.columns)

    def stale(self) -> None:
        self.t_ms += 1000
        self.store.mark_stale("c", self.t_ms)

    def appended(self, samples: list[tuple[int, float]]) -> None:
        self.t_ms += 1000
        for i, value in samples:
            labels = make_labels("appended", {"i": str(i)})
            if self.store.append(labels, self.t_ms, value) is AppendOutcome.APPENDED:
                self.there.setdefault(labels, {})[self.t_ms] = bits(value)

    def tidy(self) -> None:
        drain(self.store, 0)

    def flush(self, wait: bool = True) -> None:
        """Flush, and perhaps wait; then everything is safe, unless something failed."""
        assert self.store._journal is not None
        if not wait:
            self.store.flush()
        elif self.store._journal.wait() and self.store.stats().persistent:
            self.safe = {labels: dict(samples) for labels, samples in self.there.items()}

    def recover(self) -> None:
        """Flush until the fault is over."""
        self.disk.heal()
        for _ in range(4):
            self.flush()
        assert self.store.stats().persistent

    def reopen(self) -> None:
        """A clean restart, which loses nothing."""
        self.recover()
        before = samples_of(self.store.snapshot())
        self.store.close()
        self.begin()
        assert samples_of(self.store.snapshot()) == before
        self.safe = {labels: dict(samples) for labels, samples in self.there.items()}

    def crash(self, kept: float) -> None:
        """Crash, keeping the part `kept` of the newest segment's unsynced bytes, and reopen."""
        assert self.store._journal is not None
        self.store._journal._writer.wait(DEADLINE_S)
        copy = self.folder.with_name(f"{next(self._names)}")
        shutil.copytree(self.folder, copy)
        segments = sorted(copy.glob("*.log"))
        if segments:
            size = segments[-1].stat().st_size
            synced = self.disk.synced.get(segments[-1].name, 0)
            os.truncate(segments[-1], synced + round(kept * (size - synced)))
        self.disk.heal()
        self.store.close()
        shutil.rmtree(self.folder)
        self.folder = copy
        for segment in segments:
            self.disk.synced[segment.name] = segment.stat().st_size
        self.begin()
        self.check()

    def check(self) -> None:
        """What was safe is there, and nothing is doubled or made up; what was lost is forgotten."""
        found = samples_of(self.store.snapshot())
        for labels, samples in self.safe.items():
            assert samples.items() <= dict(found.get(labels, [])).items(), labels
        for labels, line in found.items():
            assert dict(line).items() <= self.there[labels].items()
        assert self.store.stats().samples == sum(map(len, found.values()))
        self.there = {labels: dict(line) for labels, line in found.items()}
        self.safe = {labels: dict(samples) for labels, samples in self.there.items()}


def live_a_day(life: Life) -> None:
    """Everything that the store does to its disk: new segments, blocks, merges, layouts, flushes."""
    for _ in range(6):
        life.rows(9, [1.5, 2.0, None])
        life.appended([(0, 1.0), (1, 2.5)])
        life.flush()
        life.tidy()
        life.rows(5, [0.1, 0.2, 0.3])
        life.flush()
        life.grow(1)
        life.appended([(1, 3.5)])
        life.flush()
        life.compact(3)


def steps_of_a_day(folder: Path) -> int:
    """How many file operations that takes."""
    with small_pieces(), Disk().beneath() as disk:
        life = Life(folder, disk)
        live_a_day(life)
        life.store.close()
        assert any(block.height > 8 for block in life.store.blocks()), "something was merged"
        assert len(list(folder.glob("*.log"))) < max(int(name.stem, 16) for name in folder.glob("*.log"))
        return disk.steps


def survive_fault(folder: Path, step: int, steps: float, code: int) -> None:
    """A day on which `steps` operations fail from `step` on: it is said once, and in the end all is on the disk."""
    with small_pieces(), Disk().beneath() as disk:
        life = Life(folder, disk)
        disk.fail(step, steps, code)
        live_a_day(life)
        life.recover()
        stats = life.store.stats()
        assert (stats.disk_errors > 0) == (disk.failed > 0)
        begun = [text for text in life.reports if os.strerror(code) in text]
        ended = [text for text in life.reports if text.endswith("included")]
        assert len(begun) == len(ended) >= (disk.failed > 0)
        before = samples_of(life.store.snapshot())
        life.crash(1.0)
        assert samples_of(life.store.snapshot()) == before
        life.store.close()
        shutil.rmtree(life.folder)


def stored(folder: Path) -> Samples:
    """All samples in a folder, opened for reading."""
    return samples_of(Store.open_read_only(str(folder)).snapshot())


def open_store(path: Path, reports: list[str], **options: int) -> Store:
    """A store on disk with one collector of 20 gauges; its reports go into `reports`."""
    store = Store(StoreOptions(path=str(path), **options), report=lambda level, text: reports.append(text))
    store.announce("c", 0, 0, gauges(20))
    return store


def append_beats(store: Store, first: int, count: int) -> None:
    """Append so many of its rows, a second apart, and let the disk follow."""
    for beat in range(first, first + count):
        store.append_row("c", 0, beat * 1000, row([beat / 7 + i / 3 for i in range(20)]))
        drain(store, beat * 1000)
        if beat % 20 == 0:
            wait_for_disk(store)


def wait_for_disk(store: Store) -> None:
    """Until all that the journal was handed is written."""
    assert store._journal is not None
    store._journal.wait()
