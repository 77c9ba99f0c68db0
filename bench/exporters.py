"""A scrape's latency and CPU, what rest costs, memory, series: beside node_exporter and process-exporter in one run."""

from __future__ import annotations

import argparse
import http.client
import os
import shutil
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from bench.collect import OTHERS, sleepers, tree
from bench.footprint import pss_kib
from bench.report import Row, percentile, print_table
from tests.support.peers import ExporterPeer, free_port, node_exporter
from tests.support.sidecar import Sidecar, children, read_comm
from tests.support.waiting import wait_for

HEAD = (
    "exporter",
    "scrape ms median",
    "p99",
    "CPU ms a scrape",
    "CPU at rest, %",
    "CPU ms in 15 s with one scrape",
    "PSS MiB",
    "series",
    "KiB",
)
SCRAPE_INTERVAL_S = 15
TREE_NAME = "bench-tree"


class Exporter(NamedTuple):
    """A running exporter: its processes, where it is scraped."""

    name: str
    pids: Callable[[], list[int]]
    port: int


def cpu_s(pids: Sequence[int]) -> float:
    """User and system time of live processes in seconds, exact to the nanosecond (their CPU clocks)."""
    return sum(time.clock_gettime_ns((~pid << 3) | 2) for pid in pids) / 1e9


def watch_machine(stack: ExitStack) -> Exporter:
    peer = stack.enter_context(node_exporter())
    return Exporter(peer.name, lambda: [peer.pid], peer.port)


def process_exporter(stack: ExitStack) -> Exporter:
    """Of the tree alone: told which command to group, and that children belong to it."""
    port = free_port()
    flags = [f"-web.listen-address=127.0.0.1:{port}", f"-procnames={TREE_NAME}", "-children=true"]
    argv = ["prometheus-process-exporter", *flags]
    peer = stack.enter_context(ExporterPeer("process-exporter", argv, port, Path(tempfile.mkdtemp())))
    return Exporter("process-exporter, that tree", lambda: [peer.pid], port)


def prom_probe(stack: ExitStack, root: int) -> Exporter:
    sidecar = stack.enter_context(Sidecar(f"--watch={TREE_NAME}=pid:{root}", flags=["--expose.system"]))
    wait_for("the tree", lambda: sidecar.metric("proctree_processes", tree=TREE_NAME))
    supervisor = sidecar.process.pid

    def pids() -> list[int]:
        return [supervisor, *(pid for pid in children(supervisor) if read_comm(pid).startswith("pp-"))]

    return Exporter("prom_probe (system, tree, cgroup; 1 s)", pids, urllib.parse.urlsplit(sidecar.web).port or 0)


class Scraper:
    """Scrapes over one kept connection, as Prometheus does."""

    def __init__(self, exporter: Exporter) -> None:
        self.exporter = exporter
        self.took_ms: list[float] = []
        self.body = b""
        self._connection = http.client.HTTPConnection("127.0.0.1", exporter.port, timeout=30)

    def scrape(self, timed: bool = True) -> None:
        start = time.perf_counter_ns()
        self._connection.request("GET", "/metrics")
        self.body = self._connection.getresponse().read()
        if timed:
            self.took_ms.append((time.perf_counter_ns() - start) / 1e6)

    def close(self) -> None:
        self._connection.close()

    @property
    def series(self) -> int:
        return sum(1 for line in self.body.splitlines() if line and not line.startswith(b"#"))


def rest(scrapers: Sequence[Scraper], seconds: float) -> list[float]:
    """CPU seconds a second of each exporter while nobody scrapes any."""
    pids = [scraper.exporter.pids() for scraper in scrapers]
    before, start = [cpu_s(p) for p in pids], time.monotonic()
    time.sleep(seconds)
    elapsed = time.monotonic() - start
    return [(cpu_s(p) - b) / elapsed for p, b in zip(pids, before, strict=True)]


def burst(scraper: Scraper, rounds: int, at_rest: float) -> float:
    """CPU seconds a scrape, without what rest would have cost in that time."""
    pids = scraper.exporter.pids()
    before, start = cpu_s(pids), time.monotonic()
    for _ in range(rounds):
        scraper.scrape()
        time.sleep(0.005)  # so that none answers from what it has just read
    elapsed = time.monotonic() - start
    return max(0.0, cpu_s(pids) - before - at_rest * elapsed) / rounds


def measure(scrapers: Sequence[Scraper], rounds: int, seconds: float) -> list[Row]:
    for scraper in scrapers:
        for _ in range(5):
            scraper.scrape(timed=False)
    at_rest = rest(scrapers, seconds)
    costs = [0.0] * len(scrapers)
    for _ in range(10):  # in turns, so that a noisy moment falls on all
        for i, scraper in enumerate(scrapers):
            costs[i] += burst(scraper, rounds // 10, at_rest[i]) / 10
    return [row(scraper, cost, idle) for scraper, cost, idle in zip(scrapers, costs, at_rest, strict=True)]


def row(scraper: Scraper, cost_s: float, at_rest: float) -> Row:
    return (
        scraper.exporter.name,
        f"{percentile(scraper.took_ms, 0.5):.2f}",
        f"{percentile(scraper.took_ms, 0.99):.2f}",
        f"{cost_s * 1000:.2f}",
        f"{at_rest * 100:.2f}",
        f"{(at_rest * SCRAPE_INTERVAL_S + cost_s) * 1000:.0f}",
        f"{sum(map(pss_kib, scraper.exporter.pids())) / 1024:.1f}",
        str(scraper.series),
        f"{len(scraper.body) / 1024:.0f}",
    )


def check(scraper: Scraper, processes: int) -> None:
    """That it has watched the whole tree, where it watches trees."""
    for line in scraper.body.decode().splitlines():
        if line.startswith(("proctree_processes{", "namedprocess_namegroup_num_procs{")):
            assert float(line.rpartition(" ")[2]) == processes, f"{scraper.exporter.name}: {line}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=200, help="scrapes of each exporter")
    parser.add_argument("--seconds", type=float, default=20.0, help="at rest")
    arguments = parser.parse_args()
    with sleepers(OTHERS), tree(arguments.processes, TREE_NAME) as root, ExitStack() as stack:
        exporters = [prom_probe(stack, root)]
        for program, start in (
            ("prometheus-node-exporter", watch_machine),
            ("prometheus-process-exporter", process_exporter),
        ):
            if shutil.which(program):
                exporters.append(start(stack))
            else:
                print(f"{program} is not installed")
        scrapers = [Scraper(exporter) for exporter in exporters]
        rows = measure(scrapers, arguments.rounds, arguments.seconds)
        for scraper in scrapers:
            scraper.close()
            check(scraper, arguments.processes)
    print(f"A tree of {arguments.processes} processes among {OTHERS} others, {os.cpu_count()} CPUs")
    print_table(HEAD, rows)


if __name__ == "__main__":
    main()
