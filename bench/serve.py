"""Scrapes of /metrics beside prometheus_client's server, FastAPI and Falcon on uvicorn, and node_exporter, in one run.

Needs the extra `bench` (pip install -e '.[bench]'); node_exporter where it is installed, with the series that it has.

python -m bench.serve [--seconds 3]
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import os
import shutil
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from bench.report import Row, percentile, print_table
from prom_probe.model.family import Family, column
from tests.support.peers import free_port

FAMILIES = 50  # so many, the series being spread over them


# -- the servers, each in a process of its own


def ours(series: int, port: int) -> None:
    """Our store and server, with a row that changes each second."""
    from prom_probe.history.history import History
    from prom_probe.history.run_info import RunInfo
    from prom_probe.model.meter import Meter
    from prom_probe.promql.limits import QueryLimits
    from prom_probe.tsdb.store import Store
    from prom_probe.web.app import App
    from prom_probe.web.context import About
    from prom_probe.web.http.server import Server

    store = Store()
    families = [Family(f"bench_{i}_bytes", "gauge", "A gauge of the benchmark.", "bytes") for i in range(FAMILIES)]
    store.announce("bench", 1, 0, [column(families[i % FAMILIES], instance=f"i{i}") for i in range(series)])

    async def serve() -> None:
        history = History(RunInfo(), store)
        app = App(store, history=history, meter=Meter(), limits=QueryLimits(), about=About({}), log=print)
        server = Server(app)
        server.start(socket.create_server(("127.0.0.1", port)), api=False, loopback=True)
        beat = 0
        while True:
            beat += 1
            values = [i * 1.5 + beat for i in range(series)]
            store.append_row("bench", 1, round(time.time() * 1000), struct.pack(f"<{series}d", *values))
            await asyncio.sleep(1)

    asyncio.run(serve())


def _registry(series: int) -> None:
    from prometheus_client import REGISTRY, Gauge

    for collector in list(REGISTRY._collector_to_names):
        REGISTRY.unregister(collector)
    gauges = [Gauge(f"bench_{i}_bytes", "A gauge of the benchmark.", ["instance"]) for i in range(FAMILIES)]
    for i in range(series):
        gauges[i % FAMILIES].labels(f"i{i}").set(i * 1.5)


def client(series: int, port: int) -> None:
    """prometheus_client's own server."""
    from prometheus_client import start_http_server

    _registry(series)
    start_http_server(port, "127.0.0.1")
    while True:
        time.sleep(60)


def fastapi(series: int, port: int) -> None:
    """FastAPI on uvicorn, as its users serve metrics."""
    import uvicorn
    from fastapi import FastAPI, Response
    from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

    _registry(series)
    app = FastAPI()

    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    app.add_api_route("/metrics", metrics)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error")


def falcon(series: int, port: int) -> None:
    """Falcon on uvicorn."""
    import falcon.asgi
    import uvicorn
    from prometheus_client import generate_latest

    _registry(series)

    class Metrics:
        async def on_get(self, request: object, response: falcon.asgi.Response) -> None:
            response.content_type = "text/plain; version=0.0.4; charset=utf-8"
            response.data = generate_latest()

    app = falcon.asgi.App()
    app.add_route("/metrics", Metrics())
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error")


SERVERS: dict[str, Callable[[int, int], None]] = {
    "prom_probe": ours,
    "prometheus_client": client,
    "FastAPI + uvicorn": fastapi,
    "Falcon + uvicorn": falcon,
}


# -- the measurement


def _argv(name: str, series: int, port: int) -> Sequence[str]:
    if name == "node_exporter":
        return ["prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]
    return [sys.executable, "-m", "bench.serve", "--serve", name, "--series", str(series), "--port", str(port)]


def _cpu_s(pid: int) -> float:
    with open(f"/proc/{pid}/stat", encoding="ascii") as stream:
        fields = stream.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident_mb(pid: int) -> float:
    with open(f"/proc/{pid}/statm", encoding="ascii") as stream:
        return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def measure(name: str, series: int, seconds: float) -> Row:
    """One server's figures over one kept connection, scrapes back to back."""
    port = free_port()
    process = subprocess.Popen(_argv(name, series, port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

        def scrape() -> bytes:
            connection.request("GET", "/metrics")
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                raise RuntimeError(f"{name} answered {answer.status}")
            return body

        _wait(port, process, name)
        body = b""
        for _ in range(5):
            body = scrape()
        found = sum(not line.startswith(b"#") for line in body.splitlines())
        times, before, end = [], _cpu_s(process.pid), time.perf_counter() + seconds
        while (begun := time.perf_counter()) < end:
            scrape()
            times.append(time.perf_counter() - begun)
        cpu_ms = (_cpu_s(process.pid) - before) / len(times) * 1000
        resident = _resident_mb(process.pid)
        connection.close()
    finally:
        process.terminate()
        process.wait()
    return (
        name,
        f"{found:,}",
        f"{cpu_ms:.2f}",
        f"{percentile(times, 0.5) * 1000:.2f}",
        f"{percentile(times, 0.99) * 1000:.2f}",
        f"{len(times) / sum(times):,.0f}",
        f"{resident:.0f}",
    )


# What 1,000 connections have sent when they say no more, or go on byte by byte.
CROWDS = {"nobody": None, "1,000 idle": b"", "1,000 dripping": b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: "}


def beside(crowd: str, sent: bytes | None) -> Row:
    """A scrape on a new connection each, beside a crowd of others: its time, and what the crowd takes."""
    port = free_port()
    argv = _argv("prom_probe", 500, port)
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait(port, process, "prom_probe")
        times: list[float] = []

        def scrape() -> None:
            begun = time.perf_counter()
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
                answer.read()
            times.append(time.perf_counter() - begun)

        for _ in range(20):
            scrape()
        before = _resident_mb(process.pid)
        times.clear()
        with ExitStack() as stack:
            others = []
            for number in range(1000 if sent is not None else 0):
                others.append(stack.enter_context(socket.create_connection(("127.0.0.1", port), 5)))
                others[-1].sendall(sent or b"")
                if number % 10 == 0:
                    scrape()
            for _ in range(100):
                if sent:
                    _drip(others)
                scrape()
            grown = _resident_mb(process.pid) - before
    finally:
        process.terminate()
        process.wait()
    return (
        crowd,
        f"{percentile(times, 0.5) * 1000:.2f}",
        f"{percentile(times, 0.99) * 1000:.2f}",
        f"{max(times) * 1000:.2f}",
        f"{grown:.1f}",
    )


def _drip(others: Sequence[socket.socket]) -> None:
    """One byte more from each that has not been cut off."""
    for sock in others:
        try:
            sock.send(b"x")
        except OSError:
            pass


def _wait(port: int, process: subprocess.Popen[bytes], name: str) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{name} does not listen; is the extra `bench` installed?") from None
            time.sleep(0.05)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="of scrapes, for each server and size")
    parser.add_argument("--serve", choices=SERVERS, help=argparse.SUPPRESS)
    parser.add_argument("--series", type=int, default=500, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        SERVERS[args.serve](args.series, args.port)
        return
    head = ("server", "samples", "CPU ms a scrape", "p50 ms", "p99 ms", "scrapes/s", "RSS MB")
    for series in (500, 5000):
        print(f"\n{series} series")
        rows = [measure(name, series, args.seconds) for name in SERVERS]
        if series == 500 and shutil.which("prometheus-node-exporter"):
            rows.append(measure("node_exporter", series, args.seconds))
        print_table(head, rows)
    print("\nbudget: ahead of all in CPU a scrape and p50\n")
    print_table(
        ("a scrape beside other connections", "p50 ms", "p99 ms", "max ms", "RSS grown by MB"),
        [beside(crowd, sent) for crowd, sent in CROWDS.items()],
    )
    print("\nbudget: below 50 ms, less than 10 MB")


if __name__ == "__main__":
    main()
