"""A run of a 50-process tree, drawn anew: one short-lived process a minute, a sample a second of all that is collected.

The same samples go into a store on disk and, as a Prometheus that scraped them would have them, into remote writes.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from prom_probe.aggregate.families import BUILD_INFO, COLLECTOR_OVERRUNS
from prom_probe.collectors.base import Context
from prom_probe.collectors.cgroup.families import FAMILIES as CGROUP
from prom_probe.collectors.process.columns import PROCESS_INFO, TreeColumns
from prom_probe.collectors.process.families import PROCESS_RESIDENT, PROCESS_START_TIME
from prom_probe.collectors.workers.families import RESTARTS
from prom_probe.model.family import Column, column
from prom_probe.model.labels import make_labels
from prom_probe.model.layout import Group, Layout
from prom_probe.model.sample import STALE
from prom_probe.tsdb.store import Store
from tests.support.peers import encode_write

TREE = "train"
PROCESSES = 50
MINUTE = 60
LATE_MS = 137  # after the full second, so that no sample lies on the edge of a window
TARGET = {"instance": "host-1:19990", "job": "prom_probe"}  # what the scraping Prometheus adds to the labels
_PAGE = 4096

Values = NDArray[np.float64]


class Signals:
    """Counters that grow and gauges that wander, for some columns; `busy` is how much they do so."""

    def __init__(self, columns: Sequence[Column], source: np.random.Generator, busy: float, distinct: int) -> None:
        self.columns = columns
        self._source = source
        count = len(columns)
        self._counts = np.array([one.family.type == "counter" for one in columns])
        self._rate = np.full(count, busy)
        self._factor, self._divisor = np.ones(count), np.ones(count)
        self._state = source.integers(10, 5000, count)
        self._offset = np.zeros(count)
        for i, one in enumerate(columns):
            self._set_unit(i, one, distinct)

    def _set_unit(self, i: int, one: Column, distinct: int) -> None:
        family = one.family
        if family.unit == "bytes":
            self._factor[i] = _PAGE
        elif self._counts[i] and family.unit == "seconds":
            self._divisor[i], self._rate[i] = 100, 5 * self._rate[i]
        elif family.unit == "ratio":
            self._divisor[i] = 10_000
        elif self._counts[i]:
            self._rate[i] *= 20
        if family == PROCESS_RESIDENT.family:  # no two processes are equally large, so that none ties with another
            self._factor[i], self._offset[i] = 128 * _PAGE, distinct * _PAGE
        if family == PROCESS_START_TIME.family or family.name.endswith("_info"):
            self._state[i], self._rate[i] = 1_700_000_000 if family.unit else 1, 0
        if family.name in (COLLECTOR_OVERRUNS.family.name, RESTARTS.family.name):
            self._state[i], self._rate[i] = 0, 1e-5

    def take(self, beats: int) -> Values:
        """The next values: [beats, columns]."""
        shape = (beats, len(self.columns))
        grown = self._source.poisson(self._rate, shape)
        moved = self._source.integers(-3, 4, shape) * (self._source.random(shape) < 0.1 * np.minimum(self._rate, 1))
        steps = np.where(self._counts, grown, moved).cumsum(axis=0)
        state = np.abs(self._state + steps)
        self._state = state[-1]
        found: Values = state * self._factor / self._divisor + self._offset
        return found


@dataclass
class Part:
    """Columns of one collector in a minute: values [beats, columns] from beat `first` on.

    `ends`: the series end with the last one.
    """

    collector: str
    columns: Sequence[Column]
    values: Values
    first: int = 0
    ends: bool = False


@dataclass
class RecordedTree:
    """A run from `start_s` on, the same for the same seed."""

    start_s: int
    seed: int
    _source: np.random.Generator = field(init=False)

    def minutes(self, count: int) -> Iterator[tuple[list[int], list[Part]]]:
        """Each minute's beats (ms) and parts, from the start."""
        self._source = np.random.default_rng(self.seed)
        standing = [("process", self._signals(list(TreeColumns(Context()).of_tree(TREE)), 5.0))]
        standing += [("process", self._process(100 + i, f"worker{i % 7}")) for i in range(PROCESSES)]
        standing += [
            ("cgroup", self._signals([column(one.family, tree=TREE) for one in CGROUP.values()], 2.0)),
            ("workers", self._signals([column(RESTARTS.family, worker=w) for w in ("process", "system")], 0.0)),
            ("prom_probe", self._signals(_own(), 0.0)),
        ]
        for minute in range(count):
            start = self.start_s + minute * MINUTE
            late = self._source.integers(0, 4, MINUTE)
            times = [1000 * (start + i) + LATE_MS + int(late[i]) for i in range(MINUTE)]
            parts = [Part(name, signals.columns, signals.take(MINUTE)) for name, signals in standing]
            first = int(self._source.integers(1, MINUTE - 30))
            lives = int(self._source.integers(1, 28))
            brief = self._process(10_000 + minute, "sh")
            parts.append(Part("process", brief.columns, brief.take(lives), first, ends=True))
            yield times, parts

    def _process(self, pid: int, comm: str) -> Signals:
        own = {"tree": TREE, "pid": str(pid), "comm": comm}
        specs = TreeColumns(Context()).process_specs
        more = [(spec.definition.family, spec.labels) for spec in specs]
        more.append((PROCESS_INFO.definition.family, {"ppid": "100", "cmdline": f"{comm} --rank={pid}"}))
        columns = [Column(family, make_labels(family.name, {**own, **labels})) for family, labels in more]
        return self._signals(columns, min(5.0, float(self._source.lognormal(-2, 1.5))), pid % 128)

    def _signals(self, columns: Sequence[Column], busy: float, distinct: int = 0) -> Signals:
        return Signals(columns, self._source, busy, distinct)


def _own() -> list[Column]:
    build = column(BUILD_INFO.family, version="1.0.0", python="3.11.7")
    return [build, *(column(COLLECTOR_OVERRUNS.family, collector=name) for name in ("process", "cgroup", "workers"))]


def store_minutes(store: Store, minutes: Iterable[tuple[list[int], list[Part]]]) -> None:
    """Into the store, as the collectors' rows bring it."""
    layouts: dict[str, Layout] = {}
    groups: dict[tuple[str, int], Group] = {}  # of the parts that go on, by collector and the identity of the columns
    announced: dict[str, tuple[int, int]] = {}
    for times, parts in minutes:
        brief: dict[int, Group] = {}
        for beat, t_ms in enumerate(times):
            for layout in layouts.values():
                layout.maybe_compact()
            for i, part in enumerate(parts):
                layout = layouts.setdefault(part.collector, Layout())
                at = beat - part.first
                if part.ends and at == len(part.values):
                    layout.retire(brief.pop(i))
                if not 0 <= at < len(part.values):
                    continue
                if part.ends:
                    group = brief.get(i) or brief.setdefault(i, layout.add(part.columns))
                else:
                    key = part.collector, id(part.columns)
                    group = groups.get(key) or groups.setdefault(key, layout.add(part.columns))
                layout.row[group.start : group.start + len(part.columns)] = array("d", part.values[at].tobytes())
            for name, layout in layouts.items():
                number, known = announced.get(name, (-1, 0))
                known = known if number == layout.number else 0
                if known < len(layout.columns) or number != layout.number:
                    store.announce(name, layout.number, known, layout.columns[known:])
                    announced[name] = layout.number, len(layout.columns)
                store.append_row(name, layout.number, t_ms, layout.row.tobytes())
            while store.maintain(t_ms):
                pass


def write_minutes(minutes: Iterable[tuple[list[int], list[Part]]]) -> Iterator[bytes]:
    """As remote writes of what a scrape of each second has: a series that is missing from it ends with a marker."""
    for times, parts in minutes:
        series = []
        for part in parts:
            end = part.first + len(part.values)
            when = times[part.first : end + part.ends]
            values = np.vstack([part.values, np.full((1, len(part.columns)), STALE)]) if part.ends else part.values
            for i, one in enumerate(part.columns):
                labels = dict(one.labels)
                series.append((make_labels(labels.pop("__name__"), {**labels, **TARGET}), when, values[:, i].tolist()))
        yield encode_write(series)
