"""From a collector to the store, in one process: a collector of numbers, a ring, an aggregator, a store."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from prom_probe.aggregate.aggregator import Aggregator
from prom_probe.history.history import History
from prom_probe.history.run_info import RunInfo
from prom_probe.model.family import Family, column
from prom_probe.model.labels import Labels, make_labels
from prom_probe.model.layout import Group, Layout
from prom_probe.model.matcher import Matcher
from prom_probe.model.meter import Meter
from prom_probe.model.sample import is_stale
from prom_probe.probe.loop import Channel
from prom_probe.ring.consumer import Consumer
from prom_probe.ring.doorbell import Doorbell
from prom_probe.ring.layout import create_ring
from prom_probe.ring.producer import Producer
from prom_probe.tsdb.store import Store, StoreOptions

FAMILY = Family("x", "gauge", "A value.")
NOW_MS = time.time_ns() // 1_000_000


class Numbers:
    """A collector of the series x{n=} for given names. The value is always the number of collections."""

    def __init__(self, name: str = "numbers") -> None:
        self.name = name
        self.layout = Layout()
        self.groups: dict[str, Group] = {}
        self.collections = 0
        self.failing = False
        self.restored = b""
        self.closed = False
        self.slow: Callable[[], None] = lambda: None

    def collect(self) -> None:
        if self.failing:
            raise RuntimeError("it cannot be read")
        self.layout.maybe_compact()
        self.collections += 1
        for group in self.groups.values():
            self.layout.row[group.start] = self.collections
        self.slow()

    def add(self, *names: str) -> None:
        for name in names:
            self.groups[name] = self.layout.add([column(FAMILY, n=name)])

    def remove(self, *names: str) -> None:
        for name in names:
            self.layout.retire(self.groups.pop(name))

    def checkpoint(self) -> bytes:
        return b"%d" % self.collections

    def restore(self, state: bytes) -> None:
        self.restored = state

    def close(self) -> None:
        self.closed = True


class Pipeline:
    """A collector, its ring, and an aggregator over a real store.

    `now` is the aggregator's clock.
    """

    def __init__(self, ring_bytes: int = 1 << 16) -> None:
        self.ring = create_ring(ring_bytes)
        self.bell = Doorbell()
        self.numbers = Numbers()
        self.producer = Producer(self.ring, self.bell)
        self.channel = Channel(self.numbers, self.producer)
        self.t_ms = NOW_MS - 3_600_000
        self.log: list[str] = []
        self.now = 0.0
        self.restart_aggregator()

    def restart_aggregator(self) -> None:
        self.store = Store(StoreOptions())
        self.history = History(RunInfo(), self.store)
        self.meter = Meter()
        self.aggregator = Aggregator(
            self.store,
            {"ring": Consumer(self.ring)},
            self.meter,
            intervals={"numbers": 0.1},
            build_info={"version": "1"},
            started_s=0.0,
            history=self.history,
            log=lambda level, message: self.log.append(message),
            now_s=lambda: self.now,
        )

    def beat(self, *, drain: bool = True) -> None:
        self.numbers.collect()
        self.t_ms += 1000
        self.channel.send(self.t_ms, 1000)
        if drain:
            self.aggregator.drain()

    def samples(self, n: str, name: str = "x") -> list[float]:
        """The values of x{n=} in the store, staleness markers left out."""
        matchers = [Matcher("__name__", "=", name), Matcher("n", "=", n)]
        values = []
        for group in self.store.snapshot().select(0, NOW_MS * 2, matchers):
            values += [value for value in group.values[0].tolist() if not is_stale(value)]
        return values

    def own(self, name: str, **labels: str) -> float:
        """One of the aggregator's own metrics, as the next beat would store it; NaN while there is none."""
        self.aggregator.tick()
        wanted: Labels = make_labels(name, labels)
        layout = self.meter.layout
        return next((layout.row[i] for i, c in enumerate(layout.columns) if c.labels == wanted), math.nan)
