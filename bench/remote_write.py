"""What remote writes cost: samples a second decoded, and taken into the store; the loop's turns meanwhile."""

from __future__ import annotations

import argparse
import asyncio
import time

from bench.report import Row, print_table
from prom_probe.model.labels import Labels, make_labels
from prom_probe.remote.receiver import Receiver, decompress
from prom_probe.remote.write_request import Decoder
from prom_probe.tsdb.store import Store, StoreOptions
from tests.support.write_tools import message, pack

NOW_MS = 1_700_000_000_000

# Series a request, samples a series.
SHAPES = ((1000, 100), (1000, 1), (100, 1))


def labels_of(i: int) -> Labels:
    """Seven labels and a name, as node_exporter's series have them in a cluster."""
    pairs = {"instance": f"host-{i % 50}:9100", "cpu": str(i // 50), "mode": "user", "job": "node"}
    return make_labels("node_cpu_seconds_total", {**pairs, "cluster": "west", "env": "prod", "team": "storage"})


def bodies(series: int, samples: int, count: int) -> list[bytes]:
    """Requests that follow each other in time; every seventh value is 0."""
    return [
        pack(
            message(
                *(
                    (labels_of(i), [(NOW_MS + 1000 * (n * samples + j), (i + j) % 7 * 1.1) for j in range(samples)])
                    for i in range(series)
                )
            )
        )
        for n in range(count)
    ]


def decode_s(requests: list[bytes]) -> list[float]:
    """Seconds of each request's decompression and decoding."""
    decoder, took = Decoder(), []
    for body in requests:
        start = time.perf_counter()
        decoder.decode(decompress(body))
        took.append(time.perf_counter() - start)
    return took


async def receive_s(requests: list[bytes]) -> list[float]:
    """Seconds from each request to its answer."""
    receiver, store = new_receiver()
    took = []
    for body in requests:
        start = time.perf_counter()
        refused = await receiver.write(body)
        took.append(time.perf_counter() - start)
        assert not refused
        store.maintain(NOW_MS, 0.1)
    return took


async def longest_turn_s(requests: list[bytes]) -> float:
    """The most CPU seconds that the loop's thread took for one turn."""
    receiver, store = new_receiver()
    longest_s = 0.0
    for body in requests:
        answer = receiver.write(body)
        while not answer.done():
            start = time.thread_time()
            await asyncio.sleep(0)
            longest_s = max(longest_s, time.thread_time() - start)
        store.maintain(NOW_MS, 0.1)
    return longest_s


def new_receiver() -> tuple[Receiver, Store]:
    store = Store(StoreOptions(retention_bytes=1 << 30))
    store.maintain(NOW_MS)
    return Receiver(store, lambda level, text: print(level, text)), store


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=6)
    count = parser.parse_args().requests
    rows: list[Row] = []
    for series, samples in SHAPES:
        requests = bodies(series, samples, count)
        decoded, received = decode_s(requests), asyncio.run(receive_s(requests))
        longest_s = asyncio.run(longest_turn_s(requests))
        total = series * samples
        rates = [f"{total / seconds / 1e6:.2f}" for took in (decoded, received) for seconds in (took[0], min(took[1:]))]
        rows.append((f"{series} x {samples}", *rates, f"{longest_s * 1e3:.1f}"))
    head = ("series x samples", "decoded, new series", "known series", "stored, new series", "known series")
    print("Million samples a second; the longest turn of the loop in CPU milliseconds.\n")
    print_table((*head, "longest turn"), rows)


if __name__ == "__main__":
    main()
