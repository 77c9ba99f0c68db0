"""Limits of queries as a fleet of clients meets them, beside `test_guard.py`: memory, many at once, their timeouts."""

from __future__ import annotations

import json
import re
import threading
import time
import urllib.parse
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.dataset import counters, gauges
from tests.support.peers import encode_write
from tests.support.sidecar import Sidecar
from tests.support.waiting import DEADLINE_S, wait_for

SERIES, SAMPLES = 150, 1800  # counters, and as many gauges, one sample a second
MEMORY = 64_000_000


class Loaded:
    """A sidecar with half an hour of samples, and their last second."""

    def __init__(self, sidecar: Sidecar, end_s: int) -> None:
        self.sidecar = sidecar
        self.end_s = end_s
        self.start_s = end_s - SAMPLES + 1

    def ask(self, expr: str, *, step: float = 0, **parameters: object) -> tuple[int, dict[str, Any]]:
        """(status, answer) of a range query with this step, else of an instant query; answers to come as JSON."""
        form: dict[str, object] = {"query": expr}
        form |= {"start": self.start_s, "end": self.end_s, "step": step} if step else {"time": self.end_s}
        form |= parameters
        kind = "query_range" if step else "query"
        status, body = self.sidecar.get(f"/api/v1/{kind}?{urllib.parse.urlencode(form)}")
        return status, json.loads(body)

    def refused(self, status: int, kind: str, text: str, expr: str, *, step: float = 0, **parameters: object) -> None:
        """Check that a query is refused with these."""
        found, answer = self.ask(expr, step=step, **parameters)
        assert (found, answer["status"], answer["errorType"]) == (status, "error", kind), answer
        assert re.search(text, str(answer["error"])), answer


@pytest.fixture(scope="module")
def loaded() -> Iterator[Loaded]:
    flags = ["--web.enable-remote-write-receiver", f"--query.max-memory={MEMORY // 1024}KB"]
    with Sidecar(flags=[*flags, "--storage.tsdb.retention.size=256MB"]) as sidecar:
        end_s = int(time.time())
        series = [*counters(SERIES, SAMPLES), *gauges(SERIES, SAMPLES)]
        for first in range(0, SAMPLES, 300):
            times = range((end_s - SAMPLES + 1 + first) * 1000, (end_s - SAMPLES + 1 + first + 300) * 1000, 1000)
            body = encode_write((labels, times, values[first : first + 300]) for labels, values in series)
            _write(sidecar, body)
        loaded = Loaded(sidecar, end_s)
        wait_for("all is stored", lambda: loaded.ask(f"count(x) == {SERIES}")[1]["data"]["result"])
        yield loaded
        assert "Traceback" not in sidecar.stderr
        assert sidecar.metric("prom_probe_worker_restarts_total", worker="aggregator") == 0


def _write(sidecar: Sidecar, body: bytes) -> None:
    import urllib.request

    headers = {
        "Content-Type": "application/x-protobuf",
        "Content-Encoding": "snappy",
        "X-Prometheus-Remote-Write-Version": "0.1.0",
    }
    request = urllib.request.Request(sidecar.api + "/api/v1/write", body, headers)
    with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
        assert answer.status == 204


def test_a_client_cannot_ask_for_more_time_than_there_is(loaded: Loaded) -> None:
    """And 0 is none at all."""
    loaded.refused(503, "timeout", "timed out", "x", timeout="0")
    loaded.refused(400, "bad_data", 'invalid parameter "timeout"', "x", timeout="soon")


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def test_four_worst_queries_stay_within_the_memory_limit(loaded: Loaded) -> None:
    """Each is answered, or refused because the others hold the memory; ours grows by about the limit at most."""
    pid = loaded.sidecar.worker("aggregator")
    loaded.ask("rate(x[1m])", step=1)  # what the engine itself takes is there
    before = _resident(pid)
    peak, done = before, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.002):
            peak = max(peak, _resident(pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    worst: Sequence[str] = (
        "x * 2 + x * 3",
        "quantile_over_time(0.5, g[20m])",
        "sort(rate(x[20m]))",
        "g * 2 or g offset 1s",
    )
    try:
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda expr: loaded.ask(expr, step=1), worst))
    finally:
        done.set()
        watcher.join()
    for status, answer in answers:
        assert status in (200, 422, 503), answer
        if status == 422:
            assert "more memory" in str(answer["error"])
    grown = peak - before
    assert grown < 1.3 * MEMORY, f"grew by {grown / 1e6:.0f} MB"


def test_two_hundred_at_once_are_all_answered(loaded: Loaded) -> None:
    """200 or 503, none lost, none broken."""
    with ThreadPoolExecutor(200) as pool:
        answers = list(pool.map(lambda i: loaded.ask(f"sum(rate(x[{i % 50 + 10}s]))", step=15), range(200)))
    assert {status for status, _ in answers} <= {200, 503}
    assert sum(status == 200 for status, _ in answers) >= 100
