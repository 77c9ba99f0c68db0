"""The query guard and the limits hold in the real program, over HTTP; how late it is at worst, `bench.beside` tells."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from prom_probe.model.labels import Labels, make_labels
from tests.support.dataset import counters, gauges
from tests.support.peers import encode_write
from tests.support.programs import program
from tests.support.sidecar import Sidecar
from tests.support.waiting import DEADLINE_S, wait_for

SERIES, SAMPLES = 400, 1200
LIMIT = 64 << 20  # bytes, --query.max-memory

EVIL = "(a|aa)+$"  # the engine knows a way around that of (a+)+$
ALL = '{__name__=~"x|g|h_bucket"}'


class Answer(NamedTuple):
    status: int
    body: bytes

    @property
    def error(self) -> tuple[int, str, str]:
        """Status, errorType and text of an error, the latter two empty for others."""
        if self.status == 200:
            return 200, "", ""
        try:
            answer = json.loads(self.body)
        except ValueError:
            return self.status, "", ""
        return self.status, answer.get("errorType", ""), answer.get("error", "")


class Loaded:
    """A sidecar with samples of every second from `start` to `end`, one series a label value that backtracks."""

    def __init__(self, sidecar: Sidecar, series: Iterable[tuple[Labels, Sequence[float]]] = ()) -> None:
        self.sidecar = sidecar
        self.end = int(time.time())
        self.start = self.end - SAMPLES + 1
        self._write([*series, (make_labels("evil", {"v": "a" * 40 + "b"}), [1.0] * SAMPLES)])

    def _write(self, series: list[tuple[Labels, Sequence[float]]]) -> None:
        headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
        headers["X-Prometheus-Remote-Write-Version"] = "0.1.0"
        for first in range(0, SAMPLES, 200):
            times = range((self.start + first) * 1000, (self.start + first + 200) * 1000, 1000)
            for part in range(0, len(series), 250):
                some = ((labels, times, values[first : first + 200]) for labels, values in series[part : part + 250])
                request = urllib.request.Request(f"{self.sidecar.api}/api/v1/write", encode_write(some), headers)
                with urllib.request.urlopen(request, timeout=DEADLINE_S):
                    pass

    def get(
        self, path: str, form: Mapping[str, object] | None = None, *, base: str = "", method: str = "GET"
    ) -> Answer:
        body = urllib.parse.urlencode(form).encode() if form else None
        url = (base or self.sidecar.api) + path
        if body is not None and method == "GET":
            url, body = f"{url}?{body.decode()}", None
        try:
            with urllib.request.urlopen(
                urllib.request.Request(url, body, method=method), timeout=DEADLINE_S
            ) as response:
                return Answer(response.status, response.read())
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.read())

    def instant(self, expr: str, **form: object) -> Answer:
        return self.get("/api/v1/query", {"query": expr, "time": self.end, **form}, method="POST")

    def range(self, expr: str, step: float = 1, **form: object) -> Answer:
        asks = {"query": expr, "start": self.start, "end": self.end, "step": step, **form}
        return self.get("/api/v1/query_range", asks, method="POST")

    @property
    def aggregator(self) -> int:
        return self.sidecar.worker("aggregator")


def dataset() -> Iterator[tuple[Labels, Sequence[float]]]:
    """Counters x, gauges g, and histograms."""
    yield from counters(SERIES // 2, SAMPLES)
    for labels, values in gauges(SERIES // 2, SAMPLES):
        yield make_labels("g", {**dict(labels[1:]), "kind": "gauge"}), values
    bounds = ("0.1", "0.5", "1", "5", "+Inf")
    for i, (_, values) in enumerate(counters(100, SAMPLES, seed=3)):
        yield make_labels("h_bucket", {"le": bounds[i % 5], "instance": f"i{i // 5}"}), values


RECEIVER = ["--web.enable-remote-write-receiver", "--storage.tsdb.retention.size=512MB"]


@pytest.fixture(scope="module")
def loaded() -> Iterator[Loaded]:
    flags = [*RECEIVER, f"--query.max-memory={LIMIT}B", "--interval.system=100ms"]
    with Sidecar(flags=flags) as sidecar:
        yield Loaded(sidecar, dataset())


@pytest.fixture(autouse=True)
def lives(loaded: Loaded) -> Iterator[None]:
    """Whatever is asked, the process that answers stays the same, and answers."""
    before = loaded.aggregator
    yield
    assert loaded.aggregator == before
    assert loaded.instant("1+1").status == 200


# -- what is refused


def chain(size: int) -> str:
    return "+".join(["1"] * (size // 2))


REFUSED = {
    "nested parentheses": ("(" * 10_000 + "1" + ")" * 10_000, "longer than the 16384 bytes"),
    "nested parentheses that fit": ("(" * 5_000 + "1" + ")" * 5_000, "nests deeper than 100 levels"),
    "nested calls": ("abs(" * 3_000 + "x" + ")" * 3_000, "nests deeper than 100 levels"),
    "unclosed parentheses": ("(" * 16_000, "nests deeper than 100 levels"),
    "signs": ("-" * 16_000 + "1", "more than 200 operators"),
    "a chain of 20 KB": (chain(20_000), "longer than the 16384 bytes"),
    "a chain that fits": (chain(16_000), "more than 200 operators"),
    "subqueries": ("x" + "[1m:1s]" * 2_000, "more than 200 operators"),
    "a regex that is large written out": ('x{job=~"' + r"(a|b|\\pL){1000}" * 600 + '"}', "expression too large"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_expressions_that_are_too_large(loaded: Loaded, name: str) -> None:
    """Expressions that would kill or stall the process are bad_data, and say why."""
    expr, reason = REFUSED[name]
    for answer in (loaded.instant(expr), loaded.range(expr)):
        status, kind, text = answer.error
        assert (status, kind) == (400, "bad_data")
        assert reason in text


def test_the_largest_expressions_are_answered(loaded: Loaded) -> None:
    """What the guard lets through is evaluated."""
    assert loaded.instant("(" * 100 + "1" + ")" * 100).status == 200
    assert loaded.instant("+".join(["1"] * 201)).status == 200


# -- errors beside Prometheus's

ASKED: tuple[tuple[str, dict[str, str]], ...] = (
    ("/api/v1/query", {"query": "up{"}),
    ("/api/v1/query", {}),
    ("/api/v1/query", {"query": "up", "time": "x"}),
    ("/api/v1/query", {"query": "up", "timeout": "x"}),
    ("/api/v1/query", {"query": "up", "timeout": "0.5s"}),
    ("/api/v1/query", {"query": "vector(1)", "timeout": "0"}),
    ("/api/v1/query", {"query": 'label_replace(vector(1), "a", "b", "c", "(")'}),
    ("/api/v1/query", {"query": "vector(1) + on() group_left() (vector(1) or label_replace(vector(2),'a','b','',''))"}),
    ("/api/v1/query", {"query": "count_values('', vector(1))"}),
    ("/api/v1/query_range", {"query": "up", "start": "0", "end": "11001", "step": "1"}),
    ("/api/v1/query_range", {"query": "up", "start": "0", "end": "11000", "step": "1"}),
    ("/api/v1/query_range", {"query": "up", "start": "0", "end": "1", "step": "0"}),
    ("/api/v1/query_range", {"query": "up", "start": "1", "end": "0", "step": "1"}),
    ("/api/v1/query_range", {"query": "up", "start": "1", "end": "0"}),
    ("/api/v1/query_range", {"query": "up", "start": "0", "end": "1", "step": "1y1y"}),
    ("/api/v1/query_range", {"query": "up[5m]", "start": "0", "end": "1", "step": "1"}),
    ("/api/v1/query_range", {"query": "'a'", "start": "0", "end": "1", "step": "1"}),
    ("/api/v1/series", {}),
    ("/api/v1/series", {"match[]": "{}"}),
    ("/api/v1/series", {"match[]": "{a=~'('}"}),
    ("/api/v1/labels", {"start": "x"}),
    ("/api/v1/label/a/values", {"match[]": "1"}),
    ("/api/v1/metadata", {"limit": "x"}),
    ("/api/v1/nothing", {}),
    ("/api/v2/query", {"query": "up"}),
    ("/api/v1/status/nothing", {}),
)


def test_errors_are_those_of_prometheus(loaded: Loaded) -> None:
    """HTTP status and errorType are Prometheus's, for each kind of mistake."""
    program("prometheus")
    from tests.support.peers import prometheus

    with prometheus() as peer:
        different = {}
        for path, form in ASKED:
            theirs_status, theirs_body = peer.get(f"{path}?{urllib.parse.urlencode(form)}")
            theirs = Answer(theirs_status, theirs_body).error[:2]
            ours = loaded.get(path, form).error[:2]
            if ours != theirs:
                different[path, str(form)] = (ours, theirs)
    assert not different


# -- time


def many(one: str, times: int = 60) -> str:
    """`one` so often that it takes a second or more."""
    return "+".join([f"count({one})"] * times)


HEAVY = {
    "rate": many(f"rate({ALL}[5m])"),
    "subquery": many(f"max_over_time(rate({ALL}[1m])[5m:1s])"),
    "nested subqueries": many("sum_over_time(sum_over_time(sum_over_time(x[1m:1s])[1m:1s])[1m:1s])", 40),
    "quantile_over_time": many(f"quantile_over_time(0.5, {ALL}[5m])"),
    "high quantile_over_time": many(f"quantile_over_time(0.99, {ALL}[10m])"),
    "deviation": many(f"stddev_over_time({ALL}[5m])"),
    "label_replace": many(f'label_replace({ALL}, "a", "$1", "instance", "(.*)")'),
    "topk": many(f"topk by (job) (2, {ALL})"),
    "count_values": many('count_values("v", clamp(round(g), 0, 50))'),
    "quantile of each": many("quantile by (instance, job) (0.5, x)"),
    "matching": many("x * on (job, instance) group_left () x"),
    "or": many(f"{ALL} or {ALL}"),
    "sort": many(f"sort_desc({ALL})"),
    "histogram_quantile": many("histogram_quantile(0.9, rate(h_bucket[5m]))"),
    "absent": many(f"absent(rate({ALL}[5m]))"),
    "predict_linear": many(f"predict_linear({ALL}[5m], 60)"),
    "all series": many('{__name__=~".+"}'),
}


@pytest.mark.parametrize("name", HEAVY)
def test_a_query_past_its_deadline(loaded: Loaded, name: str) -> None:
    """Whatever it is doing, it stops, and says so as Prometheus does."""
    status, kind, text = loaded.range(HEAVY[name], timeout=0.1).error
    assert (status, kind) == (503, "timeout")
    assert text.startswith("query timed out in ")


BACKTRACKING = (
    f'label_replace(evil, "a", "$1", "v", "{EVIL}")',
    f'evil{{v=~"{EVIL}"}}',
    f'count(evil{{v!~"{EVIL}"}}) + 1',
)


@pytest.mark.parametrize("expr", BACKTRACKING)
def test_a_regex_that_backtracks(loaded: Loaded, expr: str) -> None:
    """It ends by its deadline, and others are answered meanwhile: by a later deadline where the machine is slow."""
    for timeout in (1, 4, 16, 64):
        with ThreadPoolExecutor(1) as pool:
            evil = pool.submit(loaded.instant, expr, timeout=timeout)
            answered = 0
            while not evil.done():
                assert loaded.instant("count(x)").status == 200
                assert loaded.get("/metrics", base=loaded.sidecar.web).status == 200
                answered += not evil.done()
        assert evil.result().error[:2] == (503, "timeout")
        if answered > 3:
            return
    raise AssertionError("others wait until it has ended")


def test_a_regex_that_would_backtrack_elsewhere(loaded: Loaded) -> None:
    """The textbook case is answered at once: the value does not match."""
    assert json.loads(loaded.instant('evil{v=~"(a+)+$"}', timeout=60).body)["data"]["result"] == []
    assert b'"a":' not in loaded.instant('label_replace(evil, "a", "$1", "v", "(a+)+$")', timeout=60).body


def test_the_timeout_of_the_flag() -> None:
    """`--query.timeout` bounds what a client asks for, and look-ups of labels and series too, off the loop."""
    with Sidecar(flags=[*RECEIVER, "--query.timeout=500ms"]) as sidecar:
        own = Loaded(sidecar)
        late = (503, "timeout", "query timed out in expression evaluation")
        assert own.instant(BACKTRACKING[0], timeout=DEADLINE_S).error == late
        for path in ("/api/v1/series", "/api/v1/labels", "/api/v1/label/v/values", "/federate"):
            answer = own.get(path, {"match[]": f'evil{{v=~"{EVIL}"}}'})
            assert (answer.status, b"timed out" in answer.body) == (503, True), path


# -- memory


def growth(loaded: Loaded, ask: Callable[[], list[Answer]]) -> tuple[int, list[Answer]]:
    """By how many bytes `ask` made the aggregator grow at most, and what it gave."""
    pid = loaded.aggregator
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # the high-water mark starts from here
    before = resident(pid, "VmRSS")
    answers = ask()
    return resident(pid, "VmHWM") - before, answers


def resident(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise AssertionError(name)


FINE = (SAMPLES - 1) / 10_990  # a step of which there are as many as may be
WORST: dict[str, tuple[tuple[str, ...], float]] = {
    "rate, fine": (('rate(x{job=~"job-[12]"}[5m])',), FINE),
    "selector, fine": ((ALL,), FINE),
    "matching, fine": (('x{job=~"job-[12]"} * on(job, instance) x',), FINE),
    "a filter, fine": (('x{job=~"job-[1-3]"} > 5',), FINE),
    "a subquery of milliseconds": (('sum_over_time((x{job="job-1"})[2m:10ms])',), 1.0),
    "a million steps": (("sum_over_time(x[10m:1ms])",), 1.0),
    "as many names as values": ((f'count_values("v", {ALL})',), 1.0),
    "timestamps": ((f"timestamp({ALL})",), 1.0),
    "topk": ((f"topk(10, {ALL})",), FINE),
    "four others": (("x * 2 + x * 3", "quantile_over_time(0.5, g[10m])", "sort(rate(x[5m]))", "g * 2 or g"), 1.0),
}


@pytest.mark.parametrize("name", WORST)
def test_four_queries_at_the_memory_limit(loaded: Loaded, name: str) -> None:
    """However many bytes they need, they get about the limit together; the others are told."""
    exprs, step = WORST[name]
    four = list(itertools.islice(itertools.cycle(exprs), 4))
    loaded.range("sum(rate(x[1m]))")  # what is imported and cached once is not theirs
    with ThreadPoolExecutor(4) as pool:
        grown, answers = growth(loaded, lambda: list(pool.map(lambda expr: loaded.range(expr, step), four)))
    assert grown < 1.6 * LIMIT
    for answer in answers:
        status, kind, text = answer.error
        assert status in (200, 503) or ((status, kind) == (422, "execution") and "--query.max-memory" in text)
    # And all of it is free again.
    wait_for("the memory of queries is free", lambda: loaded.range(f"sum({ALL})").status == 200)


ALL_TIME = (
    ("/api/v1/query", {"query": '{__name__=~".+"}'}),
    ("/api/v1/query", {"query": '{__name__=~".+"}[100y]'}),
    ("/api/v1/query", {"query": 'sum(count_over_time({__name__="x"}[100y]))'}),
    ("/api/v1/query_range", {"query": '{__name__=~".+"}', "start": "0", "end": "{end}", "step": "200000"}),
    ("/api/v1/query_range", {"query": 'rate({__name__=~".+"}[100y])', "start": "0", "end": "{end}", "step": "200000"}),
    ("/api/v1/series", {"match[]": '{__name__=~".+"}', "start": "0", "end": "{end}"}),
    ("/federate", {"match[]": '{__name__=~".+"}'}),
)


@pytest.mark.parametrize(("path", "form"), ALL_TIME)
def test_all_series_for_all_time(loaded: Loaded, path: str, form: dict[str, str]) -> None:
    """It is answered, or too much for the limits, and says so."""
    given = {name: value.replace("{end}", str(loaded.end)) for name, value in form.items()}
    status, kind, text = loaded.get(path, given).error
    assert status == 200 or ((status, kind) == (422, "execution") and "--query.max-" in text)


# -- many at once


def test_two_hundred_queries_at_once(loaded: Loaded) -> None:
    """Each is answered: with its result, or that there was no time for it."""
    begin = threading.Barrier(200)

    def ask(i: int) -> int:
        begin.wait()
        return loaded.range(f"sum by (job) (rate(x[{i % 10 + 1}m]))", 15).status

    with ThreadPoolExecutor(200) as pool:
        found = Counter(pool.map(ask, range(200)))
    assert found[200] + found[503] == 200
    assert found[200] > 0


def test_a_full_queue_times_out(loaded: Loaded) -> None:
    """A query that waits behind long ones until its time is over hears that, and that it was the queue."""
    late = (503, "timeout", "query timed out in query queue")
    with ThreadPoolExecutor(4) as pool:
        for timeout in (2, 8, 32):  # longer where the machine is slow
            long = [pool.submit(loaded.instant, BACKTRACKING[0], timeout=timeout) for _ in range(4)]
            found = None
            while found != late and not all(one.done() for one in long):
                found = loaded.range("sum(rate(x[5m]))", timeout=0.2).error
            assert {one.result().error[:2] for one in long} == {(503, "timeout")}
            if found == late:
                return
    raise AssertionError("no query was told of the queue")


def test_clients_that_leave(loaded: Loaded) -> None:
    """Queries whose clients are gone give their places and memory back."""
    host = urllib.parse.urlsplit(loaded.sidecar.api).netloc
    form = urllib.parse.urlencode({"query": ALL, "start": loaded.start, "end": loaded.end, "step": 1})
    for _ in range(20):
        connection = http.client.HTTPConnection(host)
        connection.request("GET", f"/api/v1/query_range?{form}")
        connection.close()
    wait_for("the memory of queries is free", lambda: loaded.range(f"sum({ALL})").status == 200)


def test_ingest_and_scrapes_beside_heavy_queries(loaded: Loaded) -> None:
    """No frame is lost, and each scrape is answered with what is new."""
    stop = threading.Event()

    def loop() -> int:
        done = 0
        while not stop.is_set():
            done += loaded.range(f"quantile_over_time(0.5, {ALL}[1m])", 10).status == 200
        return done

    frames = "prom_probe_ring_frames_total"
    before = sums(loaded, frames)
    with ThreadPoolExecutor(4) as pool:
        loops = [pool.submit(loop) for _ in range(4)]
        with contextlib.ExitStack() as ending:
            ending.callback(stop.set)
            wait_for("frames come in meanwhile", lambda: sums(loaded, frames) >= before + 20)
    assert all(one.result() > 0 for one in loops)
    assert sums(loaded, "prom_probe_ring_dropped_frames_total") == 0


def sums(loaded: Loaded, name: str) -> float:
    found = [value for (family, _), value in loaded.sidecar.metrics().items() if family == name]
    assert found
    return sum(found)
