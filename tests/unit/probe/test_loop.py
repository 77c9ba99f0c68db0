"""A probe worker's loop, by a simulated clock: beats, missed beats, the bell, failures, and its end."""

from __future__ import annotations

import os
import re
import select
import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from prom_probe.probe.loop import Channel, Probe, ProbeClock
from prom_probe.ring.codec import Batch, Event, decode, encode
from prom_probe.ring.doorbell import Doorbell
from prom_probe.ring.slot import Slot
from tests.support.pipeline import Numbers, Pipeline

NOW_MS = time.time_ns() // 1_000_000 - 3_600_000


class SimClock(ProbeClock):
    """Time passes only while the loop waits, and where a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._events: list[tuple[float, Callable[[], None]]] = []

    def after(self, seconds: float, event: Callable[[], None]) -> None:
        """Have something happen, in seconds from now, while the loop waits."""
        self._events.append((self.now + seconds, event))
        self._events.sort(key=lambda item: item[0])

    def now_s(self) -> float:
        return self.now

    def now_ms(self) -> int:
        return NOW_MS + round((self.now - 1000.0) * 1000)

    def wait(self, fds: Sequence[int], seconds: float) -> Sequence[int]:
        until = self.now + seconds
        while True:
            if ready := select.select(fds, [], [], 0)[0]:
                return ready
            if not self._events or self._events[0][0] > until:
                self.now = until
                return []
            due, event = self._events.pop(0)
            self.now = max(self.now, due)
            event()


class Loop:
    """A probe of an interval of a second, whose worker the test ends after some seconds."""

    def __init__(self, ring_bytes: int = 1 << 16, slot: Slot | None = None) -> None:
        self.pipeline = Pipeline(ring_bytes)
        self.numbers = self.pipeline.numbers
        self.clock = SimClock()
        self.slot = slot or Slot(1000)
        self.wake = Doorbell()
        self.lifeline, self.supervisor = os.pipe()
        self.probe = Probe(
            [self.numbers],
            1.0,
            self.pipeline.producer,
            self.slot,
            wake=self.wake,
            lifeline=self.lifeline,
            log=lambda level, message: self.pipeline.log.append(message),
            clock=self.clock,
        )

    def add(self, name: str) -> Numbers:
        """One more collector in the same worker."""
        numbers = Numbers(name)
        self.probe._channels.append((numbers, Channel(numbers, self.pipeline.producer)))
        return numbers

    def run(self, seconds: float) -> None:
        self.clock.after(seconds, self.probe.stop)
        self.probe.run()
        self.pipeline.aggregator.drain()

    def frames(self) -> list[Batch | Event]:
        """What is in the ring, announcements left out."""
        consumer = self.pipeline.aggregator.rings["ring"]
        found = [decode(payload) for _, payload in consumer.pop()]
        return [frame for frame in found if isinstance(frame, Batch | Event)]


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    made.numbers.add("a")
    yield made
    for fd in (made.lifeline, made.supervisor):
        try:
            os.close(fd)
        except OSError:
            pass  # a test has closed it


def test_it_collects_at_once_and_with_each_beat(loop: Loop) -> None:
    """Five seconds have six collections; its collectors are closed at the end."""
    loop.run(5.5)
    assert loop.pipeline.samples("a") == [1, 2, 3, 4, 5, 6]
    assert loop.clock.now == 1005.5, "it ends at once when it is asked to"
    assert loop.numbers.closed
    assert loop.pipeline.aggregator.rings["ring"].beats == 6


def test_a_successor_gets_what_the_worker_left(loop: Loop) -> None:
    """As of its last collection."""
    loop.run(2.5)
    successor = Loop(slot=loop.slot)
    successor.run(0.5)
    assert successor.numbers.restored == b"3"


def test_a_damaged_slot_is_logged_and_the_worker_begins_without_it(loop: Loop) -> None:
    """It costs what was held, not the worker."""
    loop.slot.write(b"\xc1")
    loop.run(0.5)
    assert loop.pipeline.log[0].startswith("cannot read what the last worker left: ")
    assert loop.numbers.restored == b""
    assert loop.pipeline.samples("a") == [1]


@pytest.mark.parametrize(("took_s", "missed"), [(0.9, 0), (1.0, 1), (1.5, 1), (3.2, 3)])
def test_a_missed_beat_is_counted_and_skipped(loop: Loop, took_s: float, missed: int) -> None:
    """The collections after a long one come with the beats that they belong to; none is made up for."""

    def collect_slowly() -> None:
        if loop.numbers.collections == 2:
            loop.clock.now += took_s

    loop.numbers.slow = collect_slowly
    loop.run(9.5)
    assert loop.numbers.collections == 10 - missed
    assert loop.pipeline.own("prom_probe_collector_overruns_total", collector="numbers") == missed


def test_how_late_a_beat_began_is_told_once_a_beat() -> None:
    """The first collection has no beat, nor has one that the bell asks for; the second collector tells nothing."""
    loop = Loop()
    loop.add("second")
    loop.clock.after(0.5, loop.wake.ring)
    loop.clock.after(2.5, loop.probe.stop)
    loop.probe.run()
    batches = [frame for frame in loop.frames() if isinstance(frame, Batch)]
    assert [(batch.collector, batch.late_ns >= 0) for batch in batches] == [
        ("numbers", False),
        ("second", False),
        ("numbers", False),
        ("second", False),
        ("numbers", True),
        ("second", False),
        ("numbers", True),
        ("second", False),
    ]


def test_the_aggregator_observes_how_late_each_beat_began(loop: Loop) -> None:
    """Frames without a beat are not observed."""
    loop.run(3.5)
    delays = "prom_probe_worker_beat_delay_seconds_count"
    assert loop.pipeline.own(delays, worker="ring") == 3
    loop.pipeline.producer.push(encode(Batch("numbers", 0, loop.pipeline.t_ms, 1, 1, b"")))
    loop.pipeline.aggregator.drain()
    assert loop.pipeline.own(delays, worker="ring") == 3


def test_the_bell_asks_for_a_collection_at_once(loop: Loop) -> None:
    """Between two beats, which stay where they are."""
    times: list[float] = []
    loop.numbers.slow = lambda: times.append(loop.clock.now - 1000)
    loop.clock.after(0.25, loop.wake.ring)
    loop.clock.after(1.75, loop.wake.ring)
    loop.run(2.5)
    assert times == [0, 0.25, 1, 1.75, 2]


def test_it_ends_with_its_supervisor(loop: Loop) -> None:
    """The lifeline's end wakes it, and nothing more is collected."""
    loop.clock.after(1.5, lambda: os.close(loop.supervisor))
    loop.probe.run()
    assert loop.clock.now == 1001.5
    assert loop.numbers.collections == 2
    assert loop.numbers.closed


def test_a_failing_collector_costs_its_own_samples_and_one_log_line(loop: Loop) -> None:
    """Until it works again; the others go on."""
    second = loop.add("second")
    second.add("b")

    def fail(failing: bool) -> None:
        loop.numbers.failing = failing

    success: list[float] = []

    def look() -> None:
        loop.pipeline.aggregator.drain()
        success.append(loop.pipeline.own("prom_probe_collector_success", collector="numbers"))

    loop.clock.after(1.5, lambda: fail(True))
    loop.clock.after(3.5, lambda: fail(False))
    loop.clock.after(5.5, lambda: fail(True))
    for at_s in (1.4, 3.4, 5.4, 6.4):
        loop.clock.after(at_s, look)
    loop.run(6.5)
    assert success == [1, 0, 1, 0]
    assert loop.pipeline.log == ["collector numbers failed: RuntimeError: it cannot be read"] * 2
    assert loop.pipeline.samples("b") == [1, 2, 3, 4, 5, 6, 7]


def test_a_row_that_no_frame_can_hold_is_an_error() -> None:
    """Counted as dropped, logged once, success 0; the other collectors of the worker go on."""
    loop = Loop(4096)
    loop.numbers.add(*(str(i) for i in range(600)))
    second = loop.add("second")
    second.add("b")

    def drain() -> None:
        loop.pipeline.aggregator.drain()

    for at_s in range(60):
        loop.clock.after(at_s + 0.5, drain)
    loop.run(60.5)
    assert len(loop.pipeline.log) == 1
    assert re.fullmatch(
        r"collector numbers failed: ValueError: a row of \d+ columns is longer than the ring's frames, 1008 bytes",
        loop.pipeline.log[0],
    )
    assert loop.pipeline.own("prom_probe_collector_success", collector="numbers") == 0
    assert loop.pipeline.own("prom_probe_ring_dropped_frames_total", ring="ring") > 0
    assert loop.pipeline.samples("b")[-1] == second.collections == 61
