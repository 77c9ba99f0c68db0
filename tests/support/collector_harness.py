"""Runs a collector on a made-up machine, a second of made-up time per collection."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import TypeVar

from prom_probe.collectors.base import Collector, Context
from prom_probe.model.labels import format_labels
from prom_probe.model.sample import is_stale
from prom_probe.model.watch import Watch
from prom_probe.sources.descriptors import Descriptors, read_first, read_once
from tests.support.fake_proc import FakeProc

C = TypeVar("C", bound=Collector)


def values(collector: Collector) -> dict[str, float]:
    """The newest row without absent values, by series."""
    layout = collector.layout
    return {
        format_labels(column.labels): value
        for column, value in zip(layout.columns, layout.row, strict=True)
        if not is_stale(value)
    }


class Machine:
    """A procfs, a cgroupfs, a clock, our own processes and a log."""

    def __init__(self, root: Path) -> None:
        self.proc = FakeProc(root / "proc")
        self.cgroupfs = root / "cgroup"
        self.cgroupfs.mkdir()
        self.now = 1000.0  # seconds since boot
        self.booted = 1_000_000.0
        self.own: Collection[int] = ()
        self.log: list[tuple[str, str]] = []

    def context(self, *watches: Watch, **settings: object) -> Context:
        """Files are opened for each reading: a kept descriptor of a plain file does not tell of its end."""
        context = Context(
            watches=watches,
            procfs=self.proc.path,
            own_procfs=self.proc.path,
            cgroupfs=str(self.cgroupfs),
            own_pids=lambda: self.own,
            log=lambda level, message: self.log.append((level, message)),
            monotonic=lambda: self.now,
            wall=lambda: self.booted + self.now,
            boot_time=lambda: self.booted,
            ticks_per_s=100,
            page_bytes=4096,
            descriptors=Descriptors(0),
            read_locked=lambda path: read_once(path, read_first),
        )
        for name, value in settings.items():
            setattr(context, name, value)
        return context

    def cgroup(self, path: str, *pids: int) -> None:
        """Write a cgroup's cgroup.procs."""
        directory = self.cgroupfs / path
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in pids))

    def make(self, collector: Callable[[Context], C], *watches: Watch, **settings: object) -> C:
        return collector(self.context(*watches, **settings))

    def collect(self, collector: Collector, times: int = 1) -> dict[str, float]:
        """The row after `times` collections, a second apart."""
        for _ in range(times):
            self.now += 1
            collector.collect()
        return values(collector)
