"""Scrapes and ingest beside a query that loops, their p99; and how late heavy queries notice their deadline.

The samples come in by remote write. The budget: `/metrics` within 20 ms p99.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode

from bench.query import Series, load, write_requests
from bench.report import Row, percentile, print_table
from tests.support.dataset import counters, gauges
from tests.support.peers import Peer, free_port

BUDGET_S = 0.02
ALL = '{__name__=~"x|g"}'

# name, PromQL, step in seconds
QUERIES = {
    "rate": ("sum by (job) (rate(x[1m]))", 1),
    "quantile": ("quantile_over_time(0.5, g[5m])", 15),
    "deviation": ("sum(stddev_over_time(x[5m])) + sum(stddev_over_time(g[5m]))", 5),
    "topk": (f"topk(5, {ALL})", 5),
    "points": ("g", 5),
    "names": ('count_values("v", clamp(round(g), 0, 50))', 5),
}
DEADLINE_S = 0.2  # that queries are given which take longer


def program() -> tuple[Peer, int]:
    """Ourselves, sampling the system ten times a second, and the port of its API."""
    port = free_port()
    flags = ["--web.listen-address=", f"--api.listen-address=127.0.0.1:{port}", "--web.enable-remote-write-receiver"]
    flags += [
        "--storage.tsdb.retention.size=512MB",
        "--storage.tsdb.retention.time=1d",
        "--interval.system=100ms",
        "--expose.self=full",
    ]
    argv = [sys.executable, "-m", "prom_probe", "run", *flags]
    return Peer("prom_probe", argv, port, Path(tempfile.mkdtemp())), port


def asker(port: int) -> Callable[[str], tuple[int, bytes]]:
    """Gives (status, body) of a path, over a connection of its own."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)

    def get(path: str) -> tuple[int, bytes]:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()

    return get


def path(expr: str, start_s: float, end_s: float, step_s: float, **more: object) -> str:
    form = {"query": expr, "start": start_s, "end": end_s, "step": step_s, **more}
    return f"/api/v1/query_range?{urlencode(form)}"


@contextmanager
def looping(port: int, url: str, clients: int) -> Iterator[list[int]]:
    """While it is open, `clients` ask for `url` back to back; gives the status of each answer."""
    stop, found = threading.Event(), list[int]()

    def loop() -> None:
        get = asker(port)
        while not stop.is_set():
            found.append(get(url)[0])

    threads = [threading.Thread(target=loop) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def scrapes(port: int, seconds: float) -> list[float]:
    """How long each of the scrapes took, one every 20 ms."""
    get, times, end = asker(port), list[float](), time.monotonic() + seconds
    while time.monotonic() < end:
        begun = time.perf_counter()
        status, _ = get("/metrics")
        times.append(time.perf_counter() - begun)
        if status != 200:
            raise RuntimeError(f"/metrics answered {status}")
        time.sleep(0.02)
    return times


def ingest(port: int) -> dict[str, float]:
    """The counts of the ingest latency's histogram by upper bound, and of frames that were lost."""
    found: dict[str, float] = {"dropped": 0.0}
    for line in asker(port)("/metrics")[1].decode().splitlines():
        name, _, value = line.rpartition(" ")
        if name.startswith("prom_probe_ingest_latency_seconds_bucket"):
            bound = name.split('le="')[1].split('"')[0]
            found[bound] = found.get(bound, 0.0) + float(value)
        elif name.startswith("prom_probe_ring_dropped_frames_total"):
            found["dropped"] += float(value)
    return found


def ingest_p99(before: dict[str, float], after: dict[str, float]) -> str:
    """The bucket's bound that 99 of 100 of the frames in between stayed below, in ms."""
    grown = {bound: after[bound] - before.get(bound, 0.0) for bound in after if bound != "dropped"}
    for bound in sorted(grown, key=float):
        if grown[bound] >= 0.99 * grown["+Inf"]:
            return f"<= {float(bound) * 1e3:g}"
    return "?"


def lateness(port: int, url: str, runs: int = 5) -> str:
    """By how many ms the worst of some answers missed its deadline, "-" where it was in time."""
    get, late = asker(port), list[float]()
    for _ in range(runs):
        begun = time.perf_counter()
        status, body = get(url)
        took = time.perf_counter() - begun
        if status == 503 and json.loads(body)["errorType"] == "timeout":
            late.append(took - DEADLINE_S)
    return f"{max(late) * 1e3:.1f}" if late else "-"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=500, help="counters, and as many gauges")
    parser.add_argument("--samples", type=int, default=1800, help="of each series, one a second")
    parser.add_argument("--seconds", type=float, default=5.0, help="that each query loops")
    parser.add_argument("--clients", type=int, default=1, help="that loop at the same time")
    parser.add_argument("--only", default=",".join(QUERIES), help="queries to run")
    args = parser.parse_args()
    series: Series = [*counters(args.series, args.samples), *gauges(args.series, args.samples)]
    end_s = int(time.time())
    start_s = end_s - args.samples + 1
    rows: list[Row] = []
    peer, port = program()
    with peer:
        load(peer, list(write_requests(series, start_s * 1000)))
        asker(port)(path("sum(x)", start_s, end_s, 15))  # loads the engine
        rows.append(("nothing", "", *figures(port, "", args.seconds, 0)))
        for name in args.only.split(","):
            expr, step_s = QUERIES[name]
            url = path(expr, start_s, end_s, step_s)
            late = lateness(port, path("+".join([f"count({expr})"] * 60), start_s, end_s, step_s, timeout=DEADLINE_S))
            rows.append((name, late, *figures(port, url, args.seconds, args.clients)))
    print_table(("beside", "late ms", "queries", "/metrics ms p50", "p99", "max", "ingest ms p99", "frames lost"), rows)
    print(f"budget: /metrics p99 below {BUDGET_S * 1e3:g} ms, no frame lost, at most 200 ms late")


def figures(port: int, url: str, seconds: float, clients: int) -> Row:
    before = ingest(port)
    with looping(port, url, clients) as statuses:
        times = scrapes(port, seconds)
    after = ingest(port)
    if any(status != 200 for status in statuses):
        raise RuntimeError(f"answered {sorted(set(statuses))}: {url}")
    p50, p99 = (f"{percentile(times, quantile) * 1e3:.1f}" for quantile in (0.5, 0.99))
    lost = f"{after['dropped'] - before['dropped']:g}"
    return (str(len(statuses)), p50, p99, f"{max(times) * 1e3:.1f}", ingest_p99(before, after), lost)


if __name__ == "__main__":
    main()
