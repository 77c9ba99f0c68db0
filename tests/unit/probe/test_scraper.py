"""The scrape worker's loops: each target on its own beat, one ring for all."""

from __future__ import annotations

import os
import threading
from collections import Counter

import pytest

from prom_probe.model.family import Family, column
from prom_probe.model.layout import Layout
from prom_probe.probe.scraper import FaultChannel, Scraper, SharedProducer
from prom_probe.ring.codec import Batch, Event, decode
from prom_probe.ring.consumer import Consumer
from prom_probe.ring.doorbell import Doorbell
from prom_probe.ring.layout import create_ring
from tests.support.waiting import DEADLINE_S, wait_for


class Target:
    """A collector that waits for `gate` in each collection, or dies of `error`."""

    def __init__(self, name: str, gate: threading.Event | None = None, error: BaseException | None = None) -> None:
        self.name = name
        self.layout = Layout()
        self.layout.add([column(Family("x", "gauge", "X."), target=name)])
        self._gate = gate
        self._error = error
        self.closed = False

    def collect(self) -> None:
        if self._gate is not None:
            self._gate.wait()
        if self._error is not None:
            raise self._error
        self.layout.row[0] = 1.0

    def checkpoint(self) -> bytes:
        return b""

    def restore(self, state: bytes) -> None: ...

    def close(self) -> None:
        self.closed = True


class Running:
    """A scraper in a thread, and what it has sent."""

    def __init__(self, *targets: Target) -> None:
        ring, bell = create_ring(1 << 16), Doorbell()
        self.wake = Doorbell()
        self.lifeline, self.lifeline_end = os.pipe()
        self.log: list[str] = []
        self.consumer = Consumer(ring)
        self.batches: Counter[str] = Counter()
        self.error: BaseException | None = None
        self.scraper = Scraper(
            [(target, 0.02) for target in targets],
            SharedProducer(ring, bell),
            wake=self.wake,
            lifeline=self.lifeline,
            log=lambda level, text: self.log.append(text),
        )
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.scraper.run()
        except BaseException as error:
            self.error = error

    def sent(self, name: str) -> int:
        """How many batches of a target have come."""
        for _, payload in self.consumer.pop():
            frame = decode(payload)
            if isinstance(frame, Batch):
                self.batches[frame.collector] += 1
        self.consumer.commit()
        return self.batches[name]


def test_why_a_target_is_down_is_told_once() -> None:
    """Again for another reason, to the next aggregator, and where the ring was full."""
    ring = create_ring(1 << 12)
    consumer = Consumer(ring)
    producer = SharedProducer(ring, Doorbell())
    channel = FaultChannel("scrape:a", producer)

    def told() -> list[str]:
        frames = [decode(payload) for _, payload in consumer.pop()]
        consumer.commit()
        assert all(isinstance(frame, Event) and frame.kind == "down" for frame in frames)
        return [frame.text for frame in frames if isinstance(frame, Event)]

    for text in ("refused", "refused", "too late", "refused"):
        channel.send(text)
    assert told() == ["refused", "too late", "refused"]
    consumer = Consumer(ring)
    channel.send("refused")
    assert told() == ["refused"]
    while producer.push(b"x"):
        pass
    channel.send("too late")
    assert {payload for _, payload in consumer.pop()} == {b"x"}
    consumer.commit()
    channel.send("too late")
    assert told() == ["too late"]


def test_a_target_that_hangs_delays_no_other() -> None:
    """While one is stuck the others go on, and the end does not wait for it."""
    gate = threading.Event()
    stuck, quick, quicker = Target("stuck", gate), Target("a"), Target("b")
    running = Running(stuck, quick, quicker)
    try:
        wait_for("many collections", lambda: running.sent("a") >= 20 and running.sent("b") >= 20)
        assert running.sent("stuck") == 0
        running.scraper.stop()
        running.thread.join(DEADLINE_S)
        assert not running.thread.is_alive()
        assert quick.closed and quicker.closed and not stuck.closed
    finally:
        gate.set()
    assert running.consumer.corrupt == running.consumer.dropped == 0


def test_a_failure_costs_the_target_that_has_it() -> None:
    """One line in the log; the others go on."""
    running = Running(Target("bad", error=ValueError("no")), Target("good"))
    wait_for("collections", lambda: running.sent("good") >= 5)
    running.scraper.stop()
    running.thread.join(DEADLINE_S)
    assert running.log == ["collector bad failed: ValueError: no"]
    assert running.sent("bad") == 0


def test_the_end_of_a_thread_ends_the_worker() -> None:
    """So that the supervisor starts a new one."""
    running = Running(Target("bad", error=SystemExit("gone")), Target("good"))
    running.thread.join(DEADLINE_S)
    assert isinstance(running.error, SystemExit)


@pytest.mark.parametrize("ring", [True, False])
def test_it_ends_with_the_supervisor(ring: bool) -> None:
    """The lifeline's end is enough; a ring of the wake bell asks for a collection and is no end."""
    running = Running(Target("a"))
    wait_for("a collection", lambda: running.sent("a"))
    if ring:
        running.wake.ring()
        wait_for("more", lambda: running.sent("a") >= 3)
        assert running.thread.is_alive()
    os.close(running.lifeline_end)
    running.thread.join(DEADLINE_S)
    assert not running.thread.is_alive() and running.error is None
