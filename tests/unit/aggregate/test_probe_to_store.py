"""From a collector's row to the store: announcements, growth, renumbering, restarts, damage, silence."""

from __future__ import annotations

import math
import os
import re
import threading
import time
from collections.abc import Callable

import pytest

from prom_probe.aggregate.aggregator import SELF_COLLECTOR, Aggregator
from prom_probe.model.family import Family, column
from prom_probe.model.labels import Labels, make_labels
from prom_probe.model.layout import Group, Layout
from prom_probe.model.matcher import Matcher
from prom_probe.model.meter import Meter
from prom_probe.model.sample import STALE, is_stale
from prom_probe.probe.loop import Channel, Probe
from prom_probe.ring.codec import Batch, decode, encode
from prom_probe.ring.consumer import Consumer
from prom_probe.ring.doorbell import Doorbell
from prom_probe.ring.layout import create_ring, ring_data
from prom_probe.ring.producer import Producer
from prom_probe.ring.slot import Slot
from prom_probe.tsdb.store import Store, StoreOptions

FAMILY = Family("x", "gauge", "A value.")
NOW_MS = time.time_ns() // 1_000_000


class Numbers:
    """A collector of the series x{n=} for the numbers it is told; each value is the count of collections."""

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
            raise RuntimeError("no such luck")
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


class House:
    """A collector, its ring, and an aggregator over a real store."""

    def __init__(self, ring_bytes: int = 1 << 16) -> None:
        self.ring = create_ring(ring_bytes)
        self.bell = Doorbell()
        self.numbers = Numbers()
        self.producer = Producer(self.ring, self.bell)
        self.channel = Channel(self.numbers, self.producer)
        self.t_ms = NOW_MS - 3_600_000
        self.log: list[str] = []
        self.restart_aggregator()

    def restart_aggregator(self) -> None:
        self.store = Store(StoreOptions())
        self.meter = Meter()
        self.aggregator = Aggregator(
            self.store,
            {"ring": Consumer(self.ring)},
            self.meter,
            intervals={"numbers": 0.1},
            build_info={"version": "1"},
            started_s=time.monotonic(),
            log=lambda level, message: self.log.append(message),
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


def test_rows_arrive_and_growth_is_announced() -> None:
    """New columns are announced before the first row that has them."""
    house = House()
    house.numbers.add("a")
    house.beat()
    house.numbers.add("b", "c")
    house.beat()
    house.beat()
    assert house.samples("a") == [1, 2, 3]
    assert house.samples("b") == house.samples("c") == [2, 3]
    assert house.own("prom_probe_collector_runs_total", collector="numbers") == 3
    assert house.own("prom_probe_collector_success", collector="numbers") == 1
    assert house.own("prom_probe_ingest_latency_seconds_count") == 3


def test_our_own_metrics_go_into_the_store_like_any_row() -> None:
    """A beat of the aggregator is a row of its own collector."""
    house = House()
    house.aggregator.tick()
    (newest,) = (n for n in house.store.newest() if n.collector == SELF_COLLECTOR)
    names = {c.family.name for c in newest.columns}
    assert {"prom_probe_build_info", "prom_probe_tsdb_series", "prom_probe_ring_frames_total"} <= names
    assert len(newest.payload) == 8 * len(newest.columns)


def test_renumbered_columns_are_the_same_series() -> None:
    """After a compaction the survivors continue, the others have ended."""
    house = House(1 << 20)
    house.numbers.add(*(str(i) for i in range(600)))
    house.beat()
    house.numbers.remove(*(str(i) for i in range(400)))
    house.beat()
    house.beat()
    assert house.numbers.layout.number == 1
    assert len(house.numbers.layout.columns) == 200
    house.beat()
    assert house.samples("500") == [1, 2, 3, 4]
    assert house.samples("399") == [1]


def test_a_new_aggregator_is_announced_to_and_gets_what_it_missed() -> None:
    """Rows that came while there was none are held until the announcement, and then are there."""
    house = House()
    house.numbers.add("a")
    house.beat()
    house.beat(drain=False)
    house.beat(drain=False)
    house.restart_aggregator()
    house.aggregator.drain()
    assert house.samples("a") == []
    house.beat()
    assert house.samples("a") == [2, 3, 4]
    assert house.own("prom_probe_ring_corrupt_frames_total", ring="ring") == 0


def test_rows_that_nobody_announces_are_given_up_and_counted() -> None:
    """Held rows are bounded."""
    house = House()
    house.numbers.add("a")
    house.beat()
    for _ in range(80):
        house.beat(drain=False)
    house.restart_aggregator()
    house.aggregator.drain()
    assert house.own("prom_probe_tsdb_rejected_samples_total", reason="unannounced") == 80 - 64


def test_an_announcement_longer_than_a_frame_is_split() -> None:
    """4,000 columns go through a ring whose frames have 64 KiB."""
    house = House(1 << 18)
    house.numbers.add(*(f"number {i:05}" for i in range(4000)))
    house.beat()
    house.beat()
    assert house.samples("number 03999") == house.samples("number 00000") == [1, 2]


def test_a_full_ring_costs_rows_that_are_counted_and_nothing_else() -> None:
    """An announcement that did not fit is sent with a later beat."""
    house = House(4096)
    house.numbers.add("a")
    for i in range(60):
        house.numbers.add(f"b{i}")
        house.beat(drain=False)
    dropped = house.own("prom_probe_ring_dropped_frames_total", ring="ring")
    assert dropped > 0
    for _ in range(10):
        house.aggregator.drain()
        house.beat()
    assert house.samples("b59")[-1] == house.samples("a")[-1] == 70
    assert house.own("prom_probe_ring_dropped_frames_total", ring="ring") == dropped


def test_a_damaged_frame_is_counted_and_the_next_ones_arrive() -> None:
    """One lost row, one count."""
    house = House()
    house.numbers.add("a")
    house.beat()
    position = house.producer._cells[8]
    house.beat(drain=False)
    ring_data(house.ring)[position + 20] ^= 0xFF
    house.beat(drain=False)
    house.aggregator.drain()
    house.aggregator.drain()
    assert house.samples("a") == [1, 3]
    assert house.own("prom_probe_ring_corrupt_frames_total", ring="ring") == 1


def test_a_frame_of_another_kind_is_counted_and_logged() -> None:
    """Intact in the ring, but none of ours."""
    house = House()
    house.producer.push(b"\x93\x01\x02\x03")
    house.aggregator.drain()
    assert house.own("prom_probe_ring_corrupt_frames_total", ring="ring") == 1
    assert "ring ring: frame of 4 bytes" in house.log[0]


def test_the_series_of_a_silent_probe_end() -> None:
    """After three missed beats; with the next row they live again."""
    house = House()
    house.numbers.add("a")
    house.beat()
    deadline = time.monotonic() + 5
    while house.own("prom_probe_collector_success", collector="numbers") == 1:
        assert time.monotonic() < deadline
    (newest,) = (n for n in house.store.newest() if n.collector == "numbers")
    assert all(is_stale(value) for value in memoryview(newest.payload).cast("d"))
    assert not house.aggregator.collecting
    house.t_ms = time.time_ns() // 1_000_000
    house.beat()
    assert house.samples("a") == [1, 2]
    assert house.aggregator.collecting


def probe(house: House, interval_s: float = 0.01) -> tuple[Probe, Slot, int]:
    slot = Slot(1000)
    lifeline, supervisor = os.pipe()
    made = Probe(
        [house.numbers],
        interval_s,
        house.producer,
        slot,
        wake=Doorbell(),
        lifeline=lifeline,
        log=lambda level, message: house.log.append(message),
    )
    return made, slot, supervisor


def run_until(house: House, made: Probe, done: Callable[[], bool]) -> None:
    """Run the probe in a thread, draining, until `done`."""
    thread = threading.Thread(target=made.run)
    thread.start()
    deadline = time.monotonic() + 10
    try:
        while not done():
            assert time.monotonic() < deadline
            house.aggregator.drain()
            time.sleep(0.001)
    finally:
        made.stop()
        thread.join(10)
    assert not thread.is_alive()
    house.aggregator.drain()


def test_a_probe_keeps_the_beat_and_leaves_its_state() -> None:
    """Rows, a checkpoint a beat, and a successor that is given it."""
    house = House()
    house.numbers.add("a")
    made, slot, _ = probe(house)
    run_until(house, made, lambda: house.numbers.collections >= 5)
    assert house.samples("a") == [float(i) for i in range(1, house.numbers.collections + 1)]
    assert house.numbers.closed
    assert house.aggregator.rings["ring"].beats == house.numbers.collections
    successor = House()
    again = Probe(
        [successor.numbers], 0.01, successor.producer, slot, wake=Doorbell(), lifeline=os.pipe()[0], log=lambda *_: None
    )
    run_until(successor, again, lambda: successor.numbers.collections >= 1)
    assert int(successor.numbers.restored) == house.numbers.collections


def test_a_missed_beat_is_recorded_and_skipped() -> None:
    """A collection of 35 ms at 10 ms intervals misses three beats; none is made up for."""
    house = House()
    house.numbers.add("a")
    house.numbers.slow = lambda: time.sleep(0.035) if house.numbers.collections == 2 else None
    made, _, _ = probe(house)
    run_until(house, made, lambda: house.numbers.collections >= 4)
    assert house.own("prom_probe_collector_overruns_total", collector="numbers") >= 3


def test_a_row_that_no_frame_can_hold_is_told() -> None:
    """Counted as dropped, one log line, success 0; the other collectors of the worker go on."""
    house = House(4096)
    house.numbers.add(*(str(i) for i in range(600)))
    made, _, _ = probe(house)
    second = Numbers("second")
    second.add("b")
    made._channels.append((second, Channel(second, house.producer)))
    run_until(house, made, lambda: bool(house.log) and second.collections >= 40)
    assert len(house.log) == 1
    assert re.fullmatch(
        r"collector numbers failed: ValueError: a row of \d+ columns is longer than the ring's frames, 1008 bytes",
        house.log[0],
    )
    assert house.own("prom_probe_collector_success", collector="numbers") == 0
    assert house.own("prom_probe_ring_dropped_frames_total", ring="ring") > 0
    assert house.samples("b")[-1] == second.collections


def test_how_late_a_beat_began_is_told_once_a_beat() -> None:
    """The first collection is no beat, nor is one that the bell asks for; a collector that fails tells nothing."""
    house = House()
    house.numbers.add("a")
    made, _, _ = probe(house)
    second = Numbers("second")
    made._channels.append((second, Channel(second, house.producer)))
    run_until(house, made, lambda: house.numbers.collections >= 5)
    delays = house.own("prom_probe_worker_beat_delay_seconds_count", worker="ring")
    assert delays == house.numbers.collections - 1
    assert house.own("prom_probe_worker_beat_delay_seconds_sum", worker="ring") > 0
    house.aggregator._take(decode(encode(Batch("numbers", 0, house.t_ms, 1, 1, b""))))
    assert house.own("prom_probe_worker_beat_delay_seconds_count", worker="ring") == delays


def test_a_failing_collector_costs_its_samples_and_one_log_line() -> None:
    """success is 0 while it fails, and 1 again afterwards."""
    house = House()
    house.numbers.add("a")
    made, _, _ = probe(house)
    seen: list[float] = []

    def watch() -> bool:
        value = house.own("prom_probe_collector_success", collector="numbers")
        if not math.isnan(value) and seen[-1:] != [value]:
            seen.append(value)
        house.numbers.failing = house.numbers.collections == 3 and len(seen) < 3 and seen[-1:] != [0.0]
        return len(house.log) >= 1 and seen[-1] == 1 and house.numbers.collections > 3

    run_until(house, made, watch)
    assert seen[-2:] == [0.0, 1.0]
    assert house.log == ["collector numbers failed: RuntimeError: no such luck"]


def test_a_probe_ends_with_its_supervisor() -> None:
    """Its lifeline's end wakes it at once, however long the interval."""
    house = House()
    made, _, supervisor = probe(house, 3600)
    thread = threading.Thread(target=made.run)
    thread.start()
    os.close(supervisor)
    thread.join(5)
    assert not thread.is_alive()


def test_a_wake_bell_asks_for_a_collection_at_once() -> None:
    """Between two beats, for COMMAND's last numbers."""
    house = House()
    house.numbers.add("a")
    made, _, _ = probe(house, 3600)
    thread = threading.Thread(target=made.run)
    thread.start()
    deadline = time.monotonic() + 5
    while house.numbers.collections < 3 and time.monotonic() < deadline:
        made._wake.ring()
        time.sleep(0.001)
    made.stop()
    thread.join(5)
    assert house.numbers.collections >= 3


@pytest.mark.parametrize("value", [STALE, 0.0, math.inf])
def test_a_layouts_new_columns_begin_absent_and_end_absent(value: float) -> None:
    """What has not been collected yet, or not any more, is the staleness marker."""
    layout = Layout()
    group = layout.add([column(FAMILY)])
    assert is_stale(layout.row[group.start])
    layout.row[group.start] = value
    layout.retire(group)
    assert is_stale(layout.row[0])
