"""Refreshes of the process tree dashboard beside a Prometheus that has the same samples, in one run.

A run of a 50-process tree with churn is drawn anew and loaded into both: into a store on disk that the program opens,
and by remote write, as if Prometheus had scraped the program each second with --expose.per-process. Then each is asked
in turn for what Grafana asks for, over 6 connections, for another range each time, with a pause before it. The answers
are compared. Needs Debian's prometheus, and cramjam.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import random
import socket
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from bench.footprint import cpu_seconds, pss_kib
from bench.grafana import Ask, Board, Refresh
from bench.pages import ROOT
from bench.recorded_tree import MINUTE, TARGET, RecordedTree, store_minutes, write_minutes
from bench.report import Row, percentile, print_table
from prom_probe.tsdb.store import Store, StoreOptions, StoreStats
from tests.support.peers import Peer, free_port, prometheus
from tests.support.sidecar import children

BOARD = ROOT / "grafana" / "dashboards" / "process-tree.json"
CONNECTIONS = 6  # of a browser to Grafana
THINK_S = (0.1, 0.3)
WARM_UP = 3  # refreshes of each range that are not counted
QUIET_S = 2  # before memory is measured: the heap is trimmed a second after the last query
HOURS, SPARE_MINUTES = 6, 10
TOLERANCE = 1e-9
PLENTY = 1 << 40

# (seconds, step): the rows of the design's budget.
RANGES = ((900, 1), (3600, 15), (21_600, 60))

Samples: TypeAlias = dict[tuple[str, ...], list[tuple[float, float]]]


class Connection:
    """A kept connection that does as little as it can: what it costs falls on both peers."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._stream = self._socket.makefile("rb", 1 << 16)

    def ask(self, ask: Ask) -> bytes:
        """The answer's body, decompressed if it is gzip. RuntimeError if it is not 200."""
        head = "Host: localhost\r\nAccept-Encoding: gzip\r\n"
        if ask.form:
            head += f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(ask.form)}\r\n"
        self._socket.sendall(f"{'POST' if ask.form else 'GET'} {ask.path} HTTP/1.1\r\n{head}\r\n{ask.form}".encode())
        status = self._stream.readline()
        headers = {}
        while (line := self._stream.readline()) not in (b"\r\n", b""):
            name, _, value = line.partition(b":")
            headers[name.lower()] = value.strip().lower()
        body = self._chunks() if b"transfer-encoding" in headers else self._stream.read(int(headers[b"content-length"]))
        if b" 200 " not in status:
            raise RuntimeError(f"{status!r}: {ask.expr}: {body[:500]!r}")
        return body

    def _chunks(self) -> bytes:
        out = []
        while size := int(self._stream.readline(), 16):
            out.append(self._stream.read(size))
            self._stream.readline()
        self._stream.readline()
        return b"".join(out)

    def close(self) -> None:
        self._stream.close()
        self._socket.close()


class Figures(NamedTuple):
    """Of some refreshes: seconds each took, CPU seconds each cost, and the MiB (PSS) of all processes after them."""

    walls: list[float]
    cpus: list[float]
    pss: float


class Browser:
    """Refreshes the dashboard from a peer."""

    def __init__(self, peer: Peer) -> None:
        self._pids = [peer.pid, *children(peer.pid)]
        self._connections = [Connection(peer.port) for _ in range(CONNECTIONS)]
        self.walls: list[float] = []
        self.cpus: list[float] = []

    def refresh(self, refresh: Refresh) -> dict[Ask, bytes]:
        """The answers, as they came."""
        answers: dict[Ask, bytes] = {}
        left = deque(refresh.queries)
        before, begun = self._cpu(), time.perf_counter()
        for ask in refresh.variables:
            answers[ask] = self._connections[0].ask(ask)

        def work(connection: Connection) -> None:
            while True:
                try:
                    ask = left.popleft()
                except IndexError:
                    return
                answers[ask] = connection.ask(ask)

        threads = [threading.Thread(target=work, args=(one,)) for one in self._connections]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.walls.append(time.perf_counter() - begun)
        self.cpus.append(self._cpu() - before)
        if len(answers) != len({*refresh.variables, *refresh.queries}):
            raise RuntimeError("a request has not been answered")
        return answers

    def figures(self) -> Figures:
        """Of the refreshes since the last call, the first ones left out."""
        time.sleep(QUIET_S)
        found = Figures(self.walls[WARM_UP:], self.cpus[WARM_UP:], sum(map(pss_kib, self._pids)) / 1024)
        self.walls, self.cpus = [], []
        return found

    def close(self) -> None:
        for connection in self._connections:
            connection.close()

    def _cpu(self) -> float:
        return sum(map(cpu_seconds, self._pids))


def program(folder: str) -> Peer:
    """Ourselves over a store on disk."""
    port = free_port()
    flags = ["--web.listen-address=", f"--api.listen-address=127.0.0.1:{port}", f"--storage.tsdb.path={folder}"]
    flags += ["--interval=1h", "--storage.tsdb.retention.time=8h", "--storage.tsdb.retention.size=64MB"]
    argv = [sys.executable, "-m", "prom_probe", "run", *flags]
    return Peer("prom_probe", argv, port, Path(tempfile.mkdtemp()))


# -- whether the answers are the same


def differences(ours: dict[Ask, bytes], theirs: dict[Ask, bytes]) -> list[str]:
    """The expressions whose answers are not equal."""
    found = []
    for ask in ours:
        mine, other = _data(ours[ask]), _data(theirs[ask])
        if isinstance(mine, list):
            same = "label/tree" not in ask.path or mine == other  # the others are labels that a scrape adds
        else:
            same = _same(_samples(mine["result"], ask.expr), _samples(other["result"], ask.expr))
        if not same:
            found.append(ask.expr)
    return found


def _data(body: bytes) -> Any:
    return json.loads(gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body)["data"]


def _samples(result: list[dict[str, Any]], expr: str) -> Samples:
    """The points by labels; of a topk over a range, whatever the labels are: of equal values it takes either."""
    out: Samples = {}
    for series in result:
        labels = sorted(f"{name}={value}" for name, value in series["metric"].items() if name not in TARGET)
        points = [(float(t), float(v)) for t, v in series.get("values") or [series["value"]]]
        if expr.startswith("topk"):
            for t, v in points:
                out.setdefault((str(t),), []).append((t, v))
        else:
            out[tuple(labels)] = points
    for points in out.values():
        points.sort()
    return out


def _same(ours: Samples, theirs: Samples) -> bool:
    return ours.keys() == theirs.keys() and all(_close(points, theirs[key]) for key, points in ours.items())


def _close(ours: list[tuple[float, float]], theirs: list[tuple[float, float]]) -> bool:
    return len(ours) == len(theirs) and all(
        mine[0] == other[0] and math.isclose(mine[1], other[1], rel_tol=TOLERANCE, abs_tol=TOLERANCE)
        for mine, other in zip(ours, theirs, strict=True)
    )


# -- the run


def store_run(folder: str, run: RecordedTree, minutes: int) -> StoreStats:
    """Make the store that the program opens."""
    store = Store(StoreOptions(path=folder, retention_bytes=PLENTY, retention_ms=PLENTY))
    store_minutes(store, run.minutes(minutes))
    stats = store.stats()
    store.close()
    return stats


def measure(
    browsers: Sequence[Browser], board: Board, range_s: int, step_s: int, end_s: int, refreshes: int
) -> tuple[list[Figures], int]:
    """The figures of each peer, and how many answers were compared. RuntimeError if two differ."""
    source = random.Random()
    compared = 0
    for number in range(WARM_UP + refreshes):
        refresh = board.refresh(end_s - source.uniform(1, SPARE_MINUTES * MINUTE / 2), range_s, step_s)
        answers = []
        for browser in browsers:
            time.sleep(source.uniform(*THINK_S))
            answers.append(browser.refresh(refresh))
        if number % 5 == 0:
            if wrong := differences(*answers):
                raise RuntimeError("the answers differ:\n" + "\n".join(wrong))
            compared += len(answers[0])
    return [browser.figures() for browser in browsers], compared


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="of the run, anew if not given")
    parser.add_argument("--refreshes", type=int, default=40, help="of each range, by each peer")
    args = parser.parse_args()
    minutes = HOURS * MINUTE + SPARE_MINUTES
    end_s = int(time.time()) // MINUTE * MINUTE
    start_s = end_s - minutes * MINUTE
    rows: list[Row] = []
    total = 0
    with tempfile.TemporaryDirectory() as folder, prometheus() as theirs:
        run = RecordedTree(start_s, args.seed)
        with ProcessPoolExecutor(1) as beside:
            stored = beside.submit(store_run, folder, run, minutes)
            for body in write_minutes(run.minutes(minutes)):
                theirs.write(body)
            stats = stored.result()
        board = Board(BOARD)
        with program(folder) as ours:
            browsers = [Browser(ours), Browser(theirs)]
            for range_s, step_s in RANGES:
                found, compared = measure(browsers, board, range_s, step_s, end_s, args.refreshes)
                rows.append(row(f"{range_s // 60} min at {step_s} s", *found))
                total += compared
            for browser in browsers:
                browser.close()
    print(f"seed {args.seed}: {stats.series:,} series, {stats.samples:,} samples, {stats.bytes / 1e6:.1f} MB with us")
    head = (
        "a refresh",
        "ours, ms p50/p99",
        "Prometheus",
        "P / ours p50",
        "p99",
        "CPU ms, ours",
        "Prometheus",
        "P / ours",
    )
    print_table((*head, "PSS MiB, ours", "Prometheus"), rows)
    refresh = board.refresh(end_s, *RANGES[0])
    print(f"{len(refresh.variables)} requests, then {len(refresh.queries)} over {CONNECTIONS} connections at once")
    print(f"{total:,} answers compared, none differs; budget: P / ours p50 at least 1 in each row")


def row(name: str, ours: Figures, theirs: Figures) -> Row:
    def of(values: Sequence[float], quantile: float) -> float:
        return 1000 * percentile(values, quantile)

    cells = [f"{of(each.walls, 0.5):.0f}/{of(each.walls, 0.99):.0f}" for each in (ours, theirs)]
    cells += [f"{of(theirs.walls, quantile) / of(ours.walls, quantile):.2f}" for quantile in (0.5, 0.99)]
    cpus = [of(each.cpus, 0.5) for each in (ours, theirs)]
    cells += [*(f"{cpu:.0f}" for cpu in cpus), f"{cpus[1] / cpus[0]:.2f}", f"{ours.pss:.1f}", f"{theirs.pss:.1f}"]
    return (name, *cells)


if __name__ == "__main__":
    main()
