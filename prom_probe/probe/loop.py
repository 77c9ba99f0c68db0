"""A probe worker's loop: collect, encode, push, keep the beat."""

from __future__ import annotations

import gc
import select
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from prom_probe.ring.codec import Batch, Event, encode, encode_announcements

if TYPE_CHECKING:
    from prom_probe.collectors.base import Collector
    from prom_probe.ring.doorbell import Doorbell
    from prom_probe.ring.producer import Producer
    from prom_probe.ring.slot import Slot


class Channel:
    """Sends one collector's rows through the ring, and announces its columns before they are needed."""

    def __init__(self, collector: Collector, producer: Producer) -> None:
        self._collector = collector
        self._producer = producer
        self._layout = -1
        self._announced = 0
        self._generation = -1

    def send(self, t_ms: int, took_ns: int, late_ns: int = -1) -> None:
        """Push the collector's row. If the ring is full, the row is counted there as dropped.

        `late_ns`: see `Batch`. Raises ValueError for a row that is longer than any frame of the ring.
        """
        layout, producer = self._collector.layout, self._producer
        if layout.number != self._layout or producer.generation != self._generation:
            self._layout, self._announced, self._generation = layout.number, 0, producer.generation
        if len(layout.columns) > self._announced:
            self._announce()
        if not self._announced and layout.columns:
            producer.drop()  # without its columns it could not be read
            return
        row = layout.row[: self._announced]
        values = row.tobytes()
        done_ns = time.monotonic_ns()
        payload = encode(Batch(self._collector.name, self._layout, t_ms, took_ns, done_ns, values, late_ns))
        if not producer.push(payload) and len(payload) > producer.max_payload:
            raise ValueError(
                f"a row of {len(row)} columns is longer than the ring's frames, {producer.max_payload} bytes"
            )

    def _announce(self) -> None:
        layout, producer = self._collector.layout, self._producer
        for end, payload in encode_announcements(
            self._collector.name, layout.number, layout.columns, self._announced, producer.max_payload
        ):
            if not producer.push(payload):
                return  # the rest is announced with the next beat
            self._announced = end

    def event(self, event: Event) -> None:
        self._producer.push(encode(event))


class ProbeClock:
    """The monotonic clock in seconds, the wall clock in milliseconds, and waiting; a test hands in its own."""

    def now_s(self) -> float:
        return time.monotonic()

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def wait(self, fds: Sequence[int], seconds: float) -> Sequence[int]:
        """Wait until one of the descriptors is readable, for `seconds` at most. Returns those that are."""
        return select.select(fds, [], [], seconds)[0]


_CLOCK = ProbeClock()


class Probe:
    """Runs collectors on a common beat until `stop` or the end of the supervisor.

    `lifeline` is a descriptor that becomes readable when the supervisor is gone. Ringing `wake` asks for a collection
    at once. `slot` has what the worker before left, and keeps what the next one needs.
    """

    def __init__(
        self,
        collectors: Sequence[Collector],
        interval_s: float,
        producer: Producer,
        slot: Slot,
        *,
        wake: Doorbell,
        lifeline: int,
        log: Callable[[str, str], None],
        clock: ProbeClock = _CLOCK,
    ) -> None:
        self._clock = clock
        self._channels = [(collector, Channel(collector, producer)) for collector in collectors]
        self._interval = interval_s
        self._producer = producer
        self._slot = slot
        self._wake = wake
        self._lifeline = lifeline
        self._log = log
        self._failing: set[str] = set()
        self._stopping = False

    def stop(self) -> None:
        """End the loop after the collection in progress; may be called from a signal handler."""
        self._stopping = True
        self._wake.ring()

    def run(self) -> None:
        """Collect at every beat of the monotonic clock. A missed beat is counted and skipped, not made up for."""
        self._restore()
        beat = self._clock.now_s()
        for collector, channel in self._channels:
            channel.event(Event(collector.name, self._clock.now_ms(), "started"))
        self._collect_all()
        gc.freeze()  # what exists now is kept; scanning it would cost a tenth of each collection
        gc.set_threshold(10_000, 20, 50)
        while not self._stopping:
            beat += self._interval
            late = self._clock.now_s() - beat
            if late >= 0:
                missed = int(late / self._interval) + 1
                beat += missed * self._interval
                for collector, channel in self._channels:
                    channel.event(Event(collector.name, self._clock.now_ms(), "overran", missed))
            if not self._wait_until(beat) or self._stopping:
                break
            self._collect_all(round((self._clock.now_s() - beat) * 1e9))
        for collector, _ in self._channels:
            collector.close()

    def _wait_until(self, beat: float) -> bool:
        """Wait for the beat, and collect whenever the bell rings. Returns False if the supervisor is gone."""
        while (left := beat - self._clock.now_s()) > 0:
            readable = self._clock.wait([self._lifeline, self._wake.fd], left)
            if self._lifeline in readable:
                return False
            if readable:
                self._wake.clear()
                if self._stopping:
                    return True
                self._collect_all()
        return True

    def _collect_all(self, late_ns: int = -1) -> None:
        """`late_ns`: how long after its beat this starts; -1 for a collection without a beat."""
        for collector, channel in self._channels:
            t_ms, start_ns = self._clock.now_ms(), time.monotonic_ns()
            try:
                collector.collect()
                channel.send(t_ms, time.monotonic_ns() - start_ns, late_ns)
            except Exception as error:
                self._failed(collector, channel, error)
                continue
            self._failing.discard(collector.name)
            late_ns = -1
        self._slot.write(msgspec.msgpack.encode({c.name: c.checkpoint() for c, _ in self._channels}))
        self._producer.beat()

    def _failed(self, collector: Collector, channel: Channel, error: Exception) -> None:
        """A failure costs the collector's own samples of this beat, and one log line until it works again."""
        text = f"{type(error).__name__}: {error}"
        channel.event(Event(collector.name, self._clock.now_ms(), "failed", text=text))
        if collector.name not in self._failing:
            self._failing.add(collector.name)
            self._log("error", f"collector {collector.name} failed: {text}")

    def _restore(self) -> None:
        """Give each collector what the worker before this one has left."""
        try:
            left = msgspec.msgpack.decode(self._slot.read() or b"\x80", type=dict[str, bytes])
        except msgspec.DecodeError as error:
            self._log("error", f"cannot read what the last worker left: {error}")
            return
        for collector, _ in self._channels:
            if collector.name in left:
                collector.restore(left[collector.name])
