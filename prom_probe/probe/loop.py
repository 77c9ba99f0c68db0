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
    """One collector's way into the ring: announces its columns when needed, then sends rows."""

    def __init__(self, collector: Collector, producer: Producer) -> None:
        self._collector = collector
        self._producer = producer
        self._layout = -1
        self._announced = 0
        self._generation = -1

    def send(self, t_ms: int, took_ns: int, late_ns: int = -1) -> None:
        """Push the collector's row. What does not fit into the ring is counted there and not sent again.

        `late_ns`: see `Batch`. ValueError for a row that is longer than any frame of the ring.
        """
        layout, producer = self._collector.layout, self._producer
        if layout.number != self._layout or producer.generation != self._generation:
            self._layout, self._announced, self._generation = layout.number, 0, producer.generation
        if len(layout.columns) > self._announced:
            self._announce()
        if not self._announced and layout.columns:
            producer.drop()  # nobody could read it
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


class Probe:
    """Runs collectors on a common beat until told to stop; everything it needs is passed in.

    `lifeline` is a descriptor that becomes readable when the supervisor is gone. Ringing `wake` asks for a collection
    at once, or, after `stop()`, for the end.
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
    ) -> None:
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
        """Collect at every beat of the monotonic clock; a missed beat is recorded and skipped, never made up for."""
        self._restore()
        beat = time.monotonic()
        for collector, channel in self._channels:
            channel.event(Event(collector.name, _now_ms(), "started"))
        self._collect_all()
        gc.freeze()  # what lives now lives on; looking through it again would cost a tenth of each collection
        gc.set_threshold(10_000, 20, 50)
        while not self._stopping:
            beat += self._interval
            late = time.monotonic() - beat
            if late >= 0:
                missed = int(late / self._interval) + 1
                beat += missed * self._interval
                for collector, channel in self._channels:
                    channel.event(Event(collector.name, _now_ms(), "overran", missed))
            if not self._wait_until(beat) or self._stopping:
                break
            self._collect_all(round((time.monotonic() - beat) * 1e9))
        for collector, _ in self._channels:
            collector.close()

    def _wait_until(self, beat: float) -> bool:
        """Wait for the beat or the wake bell, which asks for a collection at once; False if the supervisor is gone."""
        while (left := beat - time.monotonic()) > 0:
            readable, _, _ = select.select([self._lifeline, self._wake.fd], [], [], left)
            if self._lifeline in readable:
                return False
            if readable:
                self._wake.clear()
                if self._stopping:
                    return True
                self._collect_all()
        return True

    def _collect_all(self, late_ns: int = -1) -> None:
        """`late_ns`: how long after its beat this begins, -1 where no beat asked for it."""
        for collector, channel in self._channels:
            t_ms, start_ns = _now_ms(), time.monotonic_ns()
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
        """A collector's failure costs its own samples of this beat, and one log line until it works again."""
        text = f"{type(error).__name__}: {error}"
        channel.event(Event(collector.name, _now_ms(), "failed", text=text))
        if collector.name not in self._failing:
            self._failing.add(collector.name)
            self._log("error", f"collector {collector.name} failed: {text}")

    def _restore(self) -> None:
        """Give each collector what a worker before this one left."""
        try:
            left = msgspec.msgpack.decode(self._slot.read() or b"\x80", type=dict[str, bytes])
        except msgspec.DecodeError as error:
            self._log("error", f"what the last worker left cannot be read: {error}")
            return
        for collector, _ in self._channels:
            if collector.name in left:
                collector.restore(left[collector.name])


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
