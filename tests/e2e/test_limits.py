"""The guard and the limits of queries, over HTTP: what is refused is refused quickly and in words; others go on."""

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

from bench.dataset import counters, gauges
from bench.peers import encode_write
from tests.e2e.sidecar import Sidecar, wait_for

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
        wait_for("all is stored", lambda: loaded.ask("count(x)")[1]["data"]["result"][0]["value"][1] == str(SERIES))
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
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status == 204


@pytest.mark.parametrize(
    ("expr", "text"),
    [
        ("(" * 10_000 + "1" + ")" * 10_000, "16384 bytes|too (long|deep)|nest"),
        ("(" * 4000 + "1" + ")" * 4000, "nest"),
        ("1" + "+1" * 10_000, "bytes"),
        ("1" + "+1" * 5000, "operators"),
        ("-" * 5000 + "1", "nest|operators"),
        ("sum(" * 500 + "x" + ")" * 500, "nest"),
        ("", "no expression found"),
    ],
)
def test_monsters_are_refused_in_words(loaded: Loaded, expr: str, text: str) -> None:
    """Before the parser, which they would kill, sees them."""
    import urllib.request

    body = urllib.parse.urlencode({"query": expr}).encode()
    request = urllib.request.Request(loaded.sidecar.api + "/api/v1/query", body)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    answer = json.loads(refused.value.read())
    assert refused.value.code == 400 and answer["errorType"] == "bad_data"
    assert re.search(text, answer["error"]), answer["error"][:300]


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"start": 0, "end": 11_000, "step": 1}, ""),
        ({"start": 0, "end": 11_001, "step": 1}, "exceeded maximum resolution of 11,000 points per timeseries"),
        ({"start": 0, "end": 10, "step": 0}, "zero or negative query resolution step widths are not accepted"),
        ({"start": 0, "end": 10, "step": -1}, "zero or negative query resolution step widths are not accepted"),
        ({"start": 10, "end": 0, "step": 1}, "end timestamp must not be before start time"),
        ({"start": "x", "end": 0, "step": 1}, 'invalid parameter "start"'),
        ({"end": 0, "step": 1}, 'invalid parameter "start"'),
    ],
)
def test_ranges_that_make_no_sense(loaded: Loaded, parameters: dict[str, object], text: str) -> None:
    """With upstream's words."""
    form = urllib.parse.urlencode({"query": "1", **parameters})
    status, body = loaded.sidecar.get(f"/api/v1/query_range?{form}")
    answer = json.loads(body)
    if text:
        assert (status, answer["errorType"]) == (400, "bad_data") and text in answer["error"]
    else:
        assert status == 200 and len(answer["data"]["result"][0]["values"]) == 11_001


def test_a_regex_that_backtracks_keeps_nobody_waiting(loaded: Loaded) -> None:
    """It ends by its deadline; small queries and scrapes are answered meanwhile."""
    evil = "label_replace(vector(1), 'a', '" + "a" * 40 + "b', '', '')"
    expr = f'label_replace({evil}, "c", "$1", "a", "(a+)+$")'
    begun = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        heavy = pool.submit(loaded.ask, expr, timeout="2s")
        answered = 0
        while not heavy.done():
            assert loaded.ask("1")[0] == 200
            assert loaded.sidecar.get("/metrics")[0] == 200
            answered += 1
        status, answer = heavy.result()
    assert time.monotonic() - begun < 10
    assert answered
    assert status in (200, 503), answer  # an engine that does not backtrack may answer
    if status == 503:
        assert answer["errorType"] == "timeout"


HEAVY = (
    'sum(rate({__name__=~"x|g"}[20m]))',
    "max_over_time(sum(rate(x[1m]))[25m:1s])",
    'quantile_over_time(0.5, {__name__=~"x|g"}[20m])',
    'stddev_over_time({__name__=~"x|g"}[20m])',
    'label_replace({__name__=~"x|g"}, "b", "$1$1", "instance", "(.*)")',
    'topk(20, {__name__=~"x|g"})',
    'count_values("v", {__name__=~"x|g"})',
    "g * on (job, instance) x / on (job, instance) g + on (job, instance) x",
    'sort_desc({__name__=~"x|g"})',
    'predict_linear({__name__=~"x|g"}[20m], 60)',
    'quantile by (job) (0.9, {__name__=~"x|g"})',
    "double_exponential_smoothing(g[20m], 0.5, 0.5)",
    "changes(x[20m]) + resets(x[20m])",
)


@pytest.mark.parametrize("expr", HEAVY)
def test_a_deadline_is_kept(loaded: Loaded, expr: str) -> None:
    """Past it the query says so with 503, in whatever function it is; some are quick enough to be answered."""
    begun = time.monotonic()
    status, answer = loaded.ask(expr, step=1, timeout="100ms")
    took = time.monotonic() - begun
    if status == 503:
        assert answer["errorType"] == "timeout" and "timed out" in str(answer["error"])
    else:
        assert status in (200, 422), answer
    print(f"{took:.2f} s, status {status}: {expr}")  # the bench of such figures is bench.beside
    assert took < 5


def test_a_client_cannot_ask_for_more_time_than_there_is(loaded: Loaded) -> None:
    """And 0 is none at all."""
    loaded.refused(503, "timeout", "timed out", "x", timeout="0")
    loaded.refused(400, "bad_data", 'invalid parameter "timeout"', "x", timeout="soon")


def test_all_series_for_all_time(loaded: Loaded) -> None:
    """Answered, or refused in words; the process lives."""
    for expr in ('{__name__=~".+"}[1y]', 'rate({__name__=~".+"}[1y])', 'count({__name__=~".+"})'):
        status, answer = loaded.ask(expr)
        assert status in (200, 422), answer
    status, answer = loaded.ask('{__name__=~".+"}', step=1)
    assert status in (200, 422), answer
    assert loaded.sidecar.get("/api/v1/series?" + urllib.parse.urlencode({"match[]": '{__name__=~".+"}'}))[0] == 200


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


def test_a_heavy_query_in_a_loop_costs_no_frame(loaded: Loaded) -> None:
    """Ingest and scrapes go on beside it."""
    stop = threading.Event()

    def loop() -> int:
        count = 0
        while not stop.is_set():
            status, _ = loaded.ask('quantile_over_time(0.5, {__name__=~"x|g"}[5m])', step=5)
            assert status in (200, 422)
            count += 1
        return count

    runs = loaded.sidecar.metric("prom_probe_collector_runs_total", collector="process") or 0
    with ThreadPoolExecutor(1) as pool:
        looping = pool.submit(loop)
        wait_for(
            "three more collections",
            lambda: (loaded.sidecar.metric("prom_probe_collector_runs_total", collector="process") or 0) >= runs + 3,
        )
        stop.set()
        assert looping.result() >= 1
    for ring in ("process", "system"):
        assert loaded.sidecar.metric("prom_probe_ring_dropped_frames_total", ring=ring) == 0
        assert loaded.sidecar.metric("prom_probe_ring_corrupt_frames_total", ring=ring) == 0


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/api/v1/nothing", 404, "404 page not found\n"),
        ("/api/v2/query", 404, "404 page not found\n"),
        ("/api/v1/write", 405, "Method Not Allowed\n"),
    ],
)
def test_other_paths_answer_in_plain_text(loaded: Loaded, path: str, status: int, text: str) -> None:
    """As upstream does."""
    found, body = loaded.sidecar.get(path)
    assert (found, body.decode()) == (status, text)
