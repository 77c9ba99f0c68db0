"""Range and instant queries beside Prometheus and VictoriaMetrics, over the same samples, in one run.

Needs Debian's prometheus and victoria-metrics, and cramjam. The samples come in by remote write.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from urllib.parse import urlencode

from bench.report import Row, percentile, print_table
from prom_probe.model.labels import Labels
from tests.support.dataset import counters, gauges
from tests.support.peers import Peer, encode_write, prom_probe, prometheus, victoria_metrics

STEP_S = 15
TURNS, TURN_S = 5, 0.2  # that each peer has of each query, and how long one is at least
CHUNK = 100  # samples of a series in one remote write request

# name, PromQL, whether over a range; the letters are those of the design's budgets.
QUERIES = {
    "a": ("one series", 'x{job="job-1",instance="host-003:9100"}', True),
    "b": ("rate, one series", 'rate(x{job="job-1",instance="host-003:9100"}[1m])', True),
    "c": ("rate, 100 series", 'rate(x{job=~"job-[12]"}[1m])', True),
    "d": ("sum by job of rate, 500 series", "sum by (job) (rate(x[1m]))", True),
    "e": ("quantile_over_time 5m, 100 series", 'quantile_over_time(0.99, g{job=~"job-[12]"}[5m])', True),
    "f": ("instant topk, 500 series", "topk(5, g)", False),
    "g": ("instant, 3,600 raw points", 'g{job="job-1",instance="host-003:9100"}[1h]', False),
}

Series = list[tuple[Labels, Sequence[float]]]


def load(peer: Peer, series: Series, start_ms: int) -> float:
    """Write all samples in time order, as agents do; the seconds that it took."""
    samples = len(series[0][1])
    peer.renew()  # others may have been loaded for a minute
    begun = time.perf_counter()
    for first in range(0, samples, CHUNK):
        times = range(start_ms + first * 1000, start_ms + min(first + CHUNK, samples) * 1000, 1000)
        for part in range(0, len(series), 250):
            body = ((labels, times, values[first : first + CHUNK]) for labels, values in series[part : part + 250])
            peer.write(encode_write(body))
    return time.perf_counter() - begun


def path(peer: Peer, expr: str, over_range: bool, start_s: float, end_s: float) -> str:
    """The URL of a query."""
    if over_range:
        form = {"query": expr, "start": start_s, "end": end_s, "step": STEP_S, "nocache": 1}
        return f"{peer.query_prefix}/query_range?{urlencode(form)}"
    return f"{peer.query_prefix}/query?{urlencode({'query': expr, 'time': end_s, 'nocache': 1})}"


def measure(peer: Peer, url: str, runs: int, least_s: float) -> list[float]:
    """Seconds of each run, back to back over one connection: so many, for so long; after two that are not counted."""
    times: list[float] = []
    while len(times) < runs + 2 or sum(times) < least_s:
        begun = time.perf_counter()
        status, body = peer.get(url)
        times.append(time.perf_counter() - begun)
        if status != 200:
            raise RuntimeError(f"{peer.name} answered {status}: {body[:300]!r}")
    return times[2:]


def wait_until_searchable(peer: Peer, series: int, end_s: float) -> None:
    """VictoriaMetrics shows what it was given after a while."""
    deadline = time.monotonic() + 30
    count = 0.0
    while time.monotonic() < deadline:
        _, body = peer.get(path(peer, 'count({__name__=~"x|g"})', False, 0, end_s))
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
        _, body = peer.get(path(peer, "prom_probe_tsdb_storage_bytes", False, 0, time.time()))
        now = float(json.loads(body)["data"]["result"][0]["value"][1])
        if abs(now - before) > 100_000:
            before, since = now, time.monotonic()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=500, help="counters, and as many gauges")
    parser.add_argument("--samples", type=int, default=3600, help="of each series, one a second")
    parser.add_argument("--runs", type=int, default=40, help="of each query, at least")
    parser.add_argument("--only", default="".join(QUERIES), help="letters of the queries to run")
    args = parser.parse_args()
    series: Series = [*counters(args.series, args.samples), *gauges(args.series, args.samples)]
    end_ms = int(time.time()) * 1000
    start_ms = end_ms - (args.samples - 1) * 1000
    times: dict[str, dict[str, list[float]]] = {}
    with prom_probe(True) as warm, prom_probe(False) as cold, prometheus() as prom, victoria_metrics() as victoria:
        peers: Sequence[Peer] = (warm, cold, prom, victoria)
        for peer in peers:
            took = load(peer, series, start_ms)
            print(f"{peer.name}: {len(series) * args.samples / took / 1e6:.2f} million samples/s by remote write")
        for peer in peers:
            wait_until_searchable(peer, len(series), end_ms / 1000)
        for peer in (warm, cold):
            wait_until_settled(peer)
        for letter in args.only:
            _, expr, over_range = QUERIES[letter]
            for _ in range(TURNS):  # so that a noisy moment falls on all
                for peer in peers:  # one after the other, so that none is timed beside another
                    url = path(peer, expr, over_range, start_ms / 1000, end_ms / 1000)
                    found = measure(peer, url, -(-args.runs // TURNS), TURN_S)
                    times.setdefault(letter, {}).setdefault(peer.name, []).extend(found)
    rows: list[Row] = []
    for letter, by_peer in times.items():
        cells = [f"{percentile(t, 0.5) * 1e3:.2f}/{percentile(t, 0.99) * 1e3:.2f}" for t in by_peer.values()]
        ours, cold_s, theirs, victorias = (percentile(t, 0.5) for t in by_peer.values())
        ratios = (theirs / ours, victorias / ours, theirs / cold_s)
        rows.append((f"{letter}: {QUERIES[letter][0]}", *cells, *(f"{ratio:.2f}" for ratio in ratios)))
    head = ("ms p50/p99", "warm", "cold", "Prometheus", "VictoriaMetrics", "P / warm", "V / warm", "P / cold")
    print_table(head, rows)
    print(
        "budgets: c, d, e: V/warm at least 1, P/warm at least 3, 8, 20; a, b, f, g: P/warm at least 1, V/warm at least"
    )
    print("0.5; cold d: P/cold at least 3")


if __name__ == "__main__":
    main()
