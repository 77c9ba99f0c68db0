"""Range and instant queries beside Prometheus and VictoriaMetrics, over the same samples, in one run.

Needs Debian's prometheus and victoria-metrics, and cramjam. The samples come in by remote write, drawn anew with each
run. A client thinks between its requests, and no two requests are equal: their window moves on by a second each time.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from urllib.parse import urlencode

from bench.report import Row, percentile, print_table
from prom_probe.model.labels import Labels
from tests.support.dataset import SHAPES, counters, gauges
from tests.support.peers import Peer, encode_write, prom_probe, prometheus, victoria_metrics

TURNS, WARM_UP = 5, 2  # that each peer has of each query, and requests at the beginning of each that are not counted
THINK_S = (0.02, 0.05)  # between two requests
CHUNK = 100  # samples of a series in one remote write request
JITTER_MS = 20  # of a target's timestamps


class Data(NamedTuple):
    """So many counters and as many gauges of a shape, one sample a second, and how they are asked for."""

    shape: str
    series: int = 500
    samples: int = 3600  # under a window
    step_s: int = 15
    jitter_ms: int = 0  # of the timestamps of each instance
    letters: str = "abcdefg"


DATA = {
    **{shape: Data(shape) for shape in SHAPES},
    "targets": Data("ticks", jitter_ms=JITTER_MS),
    "wide": Data("ticks", series=10_000, samples=300, letters="df"),
    "long": Data("lognormal", series=100, samples=6 * 3600, step_s=60, letters="abde"),
}

# name, PromQL, whether over a range; the letters are those of the design's budgets.
QUERIES = {
    "a": ("one series", 'x{job="job-1",instance="host-003:9100"}', True),
    "b": ("rate, one series", 'rate(x{job="job-1",instance="host-003:9100"}[1m])', True),
    "c": ("rate, a fifth of the series", 'rate(x{job=~"job-[12]"}[1m])', True),
    "d": ("sum by job of rate, all series", "sum by (job) (rate(x[1m]))", True),
    "e": ("quantile_over_time 5m, a fifth", 'quantile_over_time(0.99, g{job=~"job-[12]"}[5m])', True),
    "f": ("instant topk, all series", "topk(5, g)", False),
    "g": ("instant, 3,600 raw points", 'g{job="job-1",instance="host-003:9100"}[1h]', False),
}

Series = list[tuple[Labels, Sequence[float]]]


def draw(data: Data, more: int, seed: int) -> Series:
    """The series, with so many samples more than are under a window."""
    size = data.series, data.samples + more
    return [*counters(*size, seed, data.shape), *gauges(*size, seed + 1, data.shape)]


def write_requests(series: Series, start_ms: int, jitter_ms: int = 0) -> Iterator[bytes]:
    """Remote writes of all samples, one a second, in time order, as agents send them.

    With `jitter_ms`, the series of each instance are late by up to so much, together, as they are for a target.
    """
    samples = len(series[0][1])
    late = {dict(labels)["instance"]: [0] * samples for labels, _ in series}
    for instance, by in late.items():
        source = random.Random(instance)
        by[:] = (source.randint(0, jitter_ms) for _ in by)
    for first in range(0, samples, CHUNK):
        last = min(first + CHUNK, samples)
        times = {instance: [start_ms + i * 1000 + by[i] for i in range(first, last)] for instance, by in late.items()}
        for part in range(0, len(series), 250):
            some = series[part : part + 250]
            yield encode_write((labels, times[dict(labels)["instance"]], values[first:last]) for labels, values in some)


def load(peer: Peer, requests: Sequence[bytes]) -> float:
    """Send the remote writes; the seconds that it took."""
    peer.renew()  # others may have been loaded for a minute
    begun = time.perf_counter()
    for body in requests:
        peer.write(body)
    return time.perf_counter() - begun


def path(peer: Peer, expr: str, end_s: float, start_s: float | None = None, step_s: int = 0) -> str:
    """The URL of a query; over a range if there is a start."""
    if start_s is not None:
        form = {"query": expr, "start": start_s, "end": end_s, "step": step_s, "nocache": 1}
        return f"{peer.query_prefix}/query_range?{urlencode(form)}"
    return f"{peer.query_prefix}/query?{urlencode({'query': expr, 'time': end_s, 'nocache': 1})}"


def measure(peer: Peer, urls: Sequence[str]) -> list[float]:
    """Seconds of each request, over one connection, with a pause before each."""
    times: list[float] = []
    for url in urls:
        time.sleep(random.uniform(*THINK_S))
        begun = time.perf_counter()
        status, body = peer.get(url)
        times.append(time.perf_counter() - begun)
        if status != 200:
            raise RuntimeError(f"{peer.name} answered {status}: {body[:300]!r}")
    return times


def wait_until_searchable(peer: Peer, series: int, end_s: float) -> None:
    """VictoriaMetrics shows what it was given after a while."""
    peer.renew()  # others were written to since
    deadline = time.monotonic() + 30
    count = 0.0
    while time.monotonic() < deadline:
        _, body = peer.get(path(peer, 'count({__name__=~"x|g"})', end_s))
        result = json.loads(body)["data"]["result"]
        count = float(result[0]["value"][1]) if result else 0
        if count == series:
            return
        time.sleep(0.2)
    raise RuntimeError(f"{peer.name} has {count} of {series} series")


def wait_until_settled(peer: Peer) -> None:
    """We seal blocks behind the scenes, a fifth of a core at most: until the store's bytes stand still."""
    before, since = -1.0, time.monotonic()
    while time.monotonic() - since < 4:
        time.sleep(0.5)
        _, body = peer.get(path(peer, "prom_probe_tsdb_storage_bytes", time.time()))
        now = float(json.loads(body)["data"]["result"][0]["value"][1])
        if abs(now - before) > 100_000:
            before, since = now, time.monotonic()


def beside(data: Data, runs: int, only: str, seed: int) -> dict[str, dict[str, list[float]]]:
    """Seconds of each request by query and peer."""
    each = WARM_UP + -(-runs // TURNS)
    series = draw(data, TURNS * each, seed)
    start_s = int(time.time()) - len(series[0][1])
    requests = list(write_requests(series, start_s * 1000, data.jitter_ms))
    times: dict[str, dict[str, list[float]]] = {}
    with prom_probe(True) as warm, prom_probe(False) as cold, prometheus() as prom, victoria_metrics() as victoria:
        peers: Sequence[Peer] = (warm, cold, prom, victoria)
        for peer in peers:
            took = load(peer, requests)
            speed = len(series) * len(series[0][1]) / took / 1e6
            print(f"{peer.name}: {speed:.2f} million samples/s by remote write")
        for peer in peers:
            wait_until_searchable(peer, len(series), start_s + len(series[0][1]))
        for peer in (warm, cold):
            wait_until_settled(peer)
        for letter in data.letters:
            if letter not in only:
                continue
            _, expr, over_range = QUERIES[letter]
            for turn in range(TURNS):  # so that a noisy moment falls on all
                begins = [start_s + turn * each + i for i in range(each)]
                for peer in peers:  # one after the other, so that none is timed beside another
                    urls = [
                        path(peer, expr, begin + data.samples, begin if over_range else None, data.step_s)
                        for begin in begins
                    ]
                    found = measure(peer, urls)[WARM_UP:]
                    times.setdefault(letter, {}).setdefault(peer.name, []).extend(found)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=",".join(DATA), help="which data sets")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="of the samples, anew if not given")
    parser.add_argument("--runs", type=int, default=40, help="of each query, at least")
    parser.add_argument("--only", default="".join(QUERIES), help="letters of the queries to run")
    args = parser.parse_args()
    for name in args.data.split(","):
        data = DATA[name]
        print(f"\n{name}: {data.series} series of each kind, {data.samples} s, seed {args.seed}")
        times = beside(data, args.runs, args.only, args.seed)
        rows: list[Row] = []
        for letter, by_peer in times.items():
            cells = [f"{percentile(t, 0.5) * 1e3:.2f}/{percentile(t, 0.9) * 1e3:.2f}" for t in by_peer.values()]
            ours, cold, theirs, victorias = (percentile(t, 0.5) for t in by_peer.values())
            ratios = (theirs / ours, victorias / ours, theirs / cold)
            rows.append((f"{letter}: {QUERIES[letter][0]}", *cells, *(f"{ratio:.2f}" for ratio in ratios)))
        head = ("ms p50/p90", "warm", "cold", "Prometheus", "VictoriaMetrics", "P / warm", "V / warm", "P / cold")
        print_table(head, rows)
    print(
        "budgets: P/warm: c at least 3, d 6, e 20, a, b, f, g 0.9; V/warm: c, d, e at least 1; half of it for targets"
    )


if __name__ == "__main__":
    main()
