"""What a probe's push costs and how long a sample is under way, beside a Unix datagram socket in the same run."""

from __future__ import annotations

import argparse
import asyncio
import os
import select
import socket
import time
from array import array
from collections.abc import Callable

from bench.report import Row, percentile, print_table
from prom_probe.model.family import Column, Family, column
from prom_probe.ring.codec import Batch, decode, encode
from prom_probe.ring.consumer import Consumer
from prom_probe.ring.doorbell import Doorbell
from prom_probe.ring.layout import create_ring
from prom_probe.ring.producer import Producer
from prom_probe.tsdb.store import Store, StoreOptions

VALUES = 30  # about 290 bytes a frame, as the design's reference


def frame(t_ms: int, row: array[float]) -> bytes:
    """One encoded batch, stamped with the time at which its collection was done."""
    return encode(Batch("bench", 1, t_ms, 0, time.monotonic_ns(), row.tobytes()))


def burst_ring(count: int) -> list[float]:
    """Seconds of each push into a ring that is drained between bursts."""
    ring = create_ring(1 << 20)
    producer, consumer = Producer(ring, Doorbell()), Consumer(ring)

    def drain() -> None:
        consumer.pop()
        consumer.commit()

    return _burst(producer.push, drain, count)


def burst_datagram(count: int) -> list[float]:
    """The same into a Unix datagram socket."""
    a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    b.setblocking(False)
    b.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    a.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)

    def drain() -> None:
        try:
            while True:
                b.recv(65536)
        except BlockingIOError:
            pass

    times = _burst(a.send, drain, count)
    a.close()
    b.close()
    return times


def _burst(send: Callable[[bytes], object], drain: Callable[[], None], count: int) -> list[float]:
    row = array("d", range(VALUES))
    times = []
    for i in range(count):
        payload = frame(i, row)
        start = time.perf_counter_ns()
        send(payload)
        times.append((time.perf_counter_ns() - start) / 1e9)
        if i % 50 == 49:
            drain()
    return times


def latency(rate: int, seconds: float) -> tuple[list[float], list[float]]:
    """(datagram, ring): seconds from collection done to stored, from a probe process to an idle loop.

    Frames go the two ways in turn, `rate` a second each way, so that both see the same noise.
    """
    ring, bell = create_ring(1 << 20), Doorbell()
    a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    b.setblocking(False)
    consumer = Consumer(ring)
    count = int(rate * seconds)
    pid = os.fork()
    if pid == 0:
        ways: tuple[Callable[[bytes], object], ...] = (a.send, Producer(ring, bell).push)
        row = array("d", range(VALUES))
        beat = time.monotonic() + 0.2
        for i in range(count):
            for way, send in enumerate(ways):
                beat += 0.5 / rate
                if (left := beat - time.monotonic()) > 0:
                    select.select([], [], [], left)
                send(frame(2 * i + way, row))
        os._exit(0)
    store = Store(StoreOptions())
    store.announce("bench", 1, 0, columns())
    times: tuple[list[float], list[float]] = ([], [])

    def take(payload: bytes, way: int) -> None:
        batch = decode(payload)
        assert isinstance(batch, Batch)
        store.append_row(batch.collector, batch.layout, batch.t_ms, batch.values)
        times[way].append((time.monotonic_ns() - batch.done_ns) / 1e9)

    def on_bell() -> None:
        bell.clear()
        for _, payload in consumer.pop():
            take(payload, 1)
        consumer.commit()

    def on_datagram() -> None:
        try:
            while True:
                take(b.recv(65536), 0)
        except BlockingIOError:
            pass

    async def receive() -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(b.fileno(), on_datagram)
        loop.add_reader(bell.fd, on_bell)
        deadline = loop.time() + seconds + 10
        while min(map(len, times)) < count and loop.time() < deadline:
            await asyncio.sleep(0.05)

    asyncio.run(receive())
    os.waitpid(pid, 0)
    a.close()
    b.close()
    return times[0][count // 10 :], times[1][count // 10 :]


def columns() -> list[Column]:
    """What the frames' values are called."""
    family = Family("bench", "gauge", "A value.")
    return [column(family, exposed=False, n=str(i)) for i in range(VALUES)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="of the latency runs")
    args = parser.parse_args()
    rows: list[Row] = []
    burst_ring(5000)
    for name, datagram_s, ring_s in (
        ("push, burst", burst_datagram(50_000), burst_ring(50_000)),
        ("collected to stored, 1000/s", *latency(1000, args.seconds)),
        ("collected to stored, 20/s", *latency(20, args.seconds)),
    ):
        for quantile in (0.5, 0.99):
            peer, ours = percentile(datagram_s, quantile) * 1e6, percentile(ring_s, quantile) * 1e6
            rows.append((f"{name}, p{quantile * 100:g}", f"{ours:.1f} us", f"{peer:.1f} us", f"{ours / peer:.2f}"))
    print_table(("What", "ring", "Unix datagram", "ratio"), rows)
    print("budgets: push at most 1.3x; p99 at 1000/s at most 120 us, else at most 1.2x in the same run")


if __name__ == "__main__":
    main()
