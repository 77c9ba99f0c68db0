"""Clients that know Prometheus take us for one: promtool, a library, the web page's completion, federation, Grafana."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest

from prom_probe.model.labels import make_labels
from tests.support.fetched import node_modules
from tests.support.paths import ROOT
from tests.support.peers import encode_write, prometheus
from tests.support.programs import missing, program
from tests.support.prometheus import REMOTE_WRITE, matrix, newest_s
from tests.support.sidecar import Sidecar
from tests.support.waiting import DEADLINE_S, wait_for

NODE = ROOT / "tests" / "clients"
YEAR_S = 365 * 86400


@pytest.fixture(scope="module")
def sidecar() -> Iterator[Sidecar]:
    """Some seconds of a sleeping command's samples, and a series whose names need quotes."""
    with Sidecar("--", "sleep", "1000", flags=[REMOTE_WRITE, "--interval=200ms"]) as found:
        labels = make_labels("quoted.name", {"http.status": "ok"})
        body = encode_write([(labels, [round(time.time() * 1000)], [1.0])])
        headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
        with urllib.request.urlopen(urllib.request.Request(f"{found.api}/api/v1/write", body, headers)) as answer:
            assert answer.status == 204
        # One more than the tests ask for: a client that leaves out the second under way misses one.
        wait_for("five collections", lambda: (found.value("count_over_time(proctree_threads[1m])") or 0) >= 5)
        yield found


# -- promtool

RATE = "sum(rate(system_cpu_seconds_total[10s]))"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["instant", "URL", 'proctree_processes{tree="sleep"}'], ['proctree_processes{tree="sleep"} => 1 @[']),
        (["instant", "--time=1970-01-01T00:00:04Z", "URL", "1+1"], ["scalar: 2 @[4]"]),
        (["instant", "URL", "proctree_threads[1m]"], ['proctree_threads{tree="sleep"} =>\n1 @[']),
        (["range", "--step=1s", "--start=AGO", "--end=NOW", "URL", RATE], ["{} =>\n", "@["]),
        (["range", "URL", "vector(1)"], ["{} =>\n1 @["]),  # the last five minutes, at a step of its own choice
        (["range", "--header=X-Y=z", "--start=AGO", "URL", "vector(2)"], ["{} =>\n2 @["]),
        (["series", "--match=proctree_threads", "URL"], ['{__name__="proctree_threads", tree="sleep"}\n']),
        (
            ["series", "--match=proctree_threads", '--match={__name__=~"proctree_proc.+s"}', "--start=AGO", "URL"],
            ['"proctree_threads"', '"proctree_processes"'],
        ),
        (["labels", "URL", "tree"], ["sleep\n"]),
        (["labels", "--start=AGO", "--end=NOW", "URL", "__name__"], ["proctree_threads\n", "system_load1\n"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and value[0].islower() else "",
)
def test_promtool(sidecar: Sidecar, args: list[str], words: list[str]) -> None:
    """Each kind of question; without times, promtool asks for the series and labels of more than a year."""
    now = time.time()
    places = {"URL": sidecar.api, "NOW": f"{now:.3f}", "AGO": f"{now - 60:.3f}"}
    for place, value in places.items():
        args = [arg.replace(place, value) for arg in args]
    done = subprocess.run([program("promtool"), "query", *args], capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 0, done
    for word in words:
        assert word in done.stdout


def test_promtool_shows_our_errors(sidecar: Sidecar) -> None:
    """It prints what we say is wrong."""
    done = subprocess.run(
        [program("promtool"), "query", "instant", sidecar.api, "sum(up"],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert done.returncode == 1
    assert "bad_data" in done.stderr
    assert "1:7" in done.stderr


# -- PyPI's prometheus-api-client


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_python_client(sidecar: Sidecar, method: str) -> None:
    """Every question that the library can ask; with POST it sends URL parameters and an empty body."""
    try:
        from prometheus_api_client import PrometheusConnect
        from prometheus_api_client.exceptions import PrometheusApiClientException
    except ImportError:
        missing("prometheus-api-client is not installed")
    client = PrometheusConnect(sidecar.api, method=method, timeout=DEADLINE_S)
    end = datetime.now(UTC)
    start = end - timedelta(minutes=5)
    assert client.check_prometheus_connection()
    assert {"proctree_threads", "system_load1"} <= set(client.all_metrics())
    assert {"__name__", "tree", "mode"} <= set(client.get_label_names())
    assert client.get_label_values("tree") == ["sleep"]
    match = {"match[]": "proctree_threads"}
    assert client.get_series(start, end, match) == [{"__name__": "proctree_threads", "tree": "sleep"}]
    (current,) = client.get_current_metric_value("proctree_threads", {"tree": "sleep"})
    assert current["value"][1] == "1"
    (raw,) = client.get_metric_range_data("proctree_threads", None, start, end, chunk_size=timedelta(minutes=1))[-1:]
    assert len(raw["values"]) >= 4
    assert client.custom_query("sum(proctree_threads)")[0]["value"][1] == "1"
    (ranged,) = client.custom_query_range("vector(1)", start, end, "15")
    assert len(ranged["values"]) == 21
    assert client.get_metric_aggregation("proctree_threads", ["max", "average"], start, end, "60")["max"] == 1
    with pytest.raises(PrometheusApiClientException, match="bad_data"):
        client.custom_query("sum(up")


# -- npm's @prometheus-io/codemirror-promql


COMPLETIONS = {
    "proctree_|": {"proctree_threads", "proctree_cpu_seconds_total"},
    "rate(proctree_cpu|": {"proctree_cpu_seconds_total"},
    "proctree_cpu_seconds_total{|}": {"tree", "mode"},
    "sum by (|)": {"tree", "mode", "device"},
    'proctree_threads{tree="|"}': {"sleep"},
    'system_cpu_seconds_total{mode="|"}': {"user", "system", "idle"},
    'proctree_cpu_seconds_total{tree="sleep",mode="|"}': {"user", "system"},
}


def test_completion(sidecar: Sidecar) -> None:
    """Metric names with their types and helps, label names of a metric and of all, label values."""
    node_modules(NODE)
    args = [program("node"), "complete.cjs", sidecar.api, *COMPLETIONS]
    done = subprocess.run(args, cwd=NODE, capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["errors"] == []
    for (expr, wanted), options in zip(COMPLETIONS.items(), answer["found"], strict=True):
        assert wanted <= {option["label"] for option in options}, expr
    assert {option["label"] for option in answer["found"][4]} == {"sleep"}
    (threads,) = (option for option in answer["found"][0] if option["label"] == "proctree_threads")
    assert threads["detail"] == "gauge"
    assert "threads" in threads["info"].lower()


# -- /federate


def test_a_real_prometheus_federates_us(sidecar: Sidecar) -> None:
    """What it stores of us are our samples: the same series, times and values, under our labels and its own two."""
    program("prometheus")
    config = (
        "scrape_configs:\n"
        "- job_name: federate\n"
        "  scrape_interval: 500ms\n"
        "  scrape_timeout: 500ms\n"
        "  honor_labels: true\n"
        "  metrics_path: /federate\n"
        "  params: {'match[]': ['{__name__=~\"proctree_.*\"}', 'system_cpu_seconds_total{mode!=\"idle\"}']}\n"
        f"  static_configs: [{{targets: ['{sidecar.api.removeprefix('http://')}']}}]\n"
    )
    with prometheus(config) as peer:
        seen, expr = 'proctree_threads{job="federate"}[1m]', '__name__=~"proctree_.*|system_cpu_seconds_total"'

        def window() -> tuple[Any, Any] | None:
            """The last three seconds of both, once each series has several samples there."""
            at_s = newest_s(peer.url, seen) - 0.1  # no sample is at either end
            theirs = matrix(peer.url, f'{{job="federate",{expr}}}[3s]', at_s)
            ours = matrix(sidecar.api, f'{{{expr},mode!="idle"}}[3s]', at_s)
            return (theirs, ours) if len(theirs) == len(ours) and all(len(one) > 2 for one in theirs.values()) else None

        theirs, ours = wait_for("three seconds of samples", window)
    found = {tuple(pair for pair in labels if pair[0] not in ("job", "instance")): theirs[labels] for labels in theirs}
    assert found.keys() == ours.keys()
    for labels, samples in found.items():
        assert set(samples) <= set(ours[labels]), labels


# -- Grafana


class Ask(NamedTuple):
    """A request, and whether the answer's `data` is right. Values in braces stand for times, of now and before."""

    name: str
    path: str
    url: dict[str, Any] | None  # parameters in the URL
    form: dict[str, Any] | None  # in a POST's body, None for a GET
    right: Callable[[Any], bool]


def kind(name: str, count: int = 1) -> Callable[[Any], bool]:
    """Whether a query's result is of this type and has at least so many series."""
    return lambda data: data["resultType"] == name and len(data["result"]) >= count


def has(*values: Any) -> Callable[[Any], bool]:
    return lambda data: all(value in data for value in values)


def equals(wanted: Any) -> Callable[[Any], bool]:
    return lambda data: bool(data == wanted)


THREADS = {"__name__": "proctree_threads", "tree": "sleep"}
SPAN = {"start": "{ago}", "end": "{now}"}
TWO = {"resultType": "scalar", "result": [4, "2"]}

ASKED: tuple[Ask, ...] = (
    Ask("health check", "query", None, {"query": "1+1", "time": "4"}, equals(TWO)),
    Ask("health check by GET", "query", {"query": "1+1", "time": "4"}, None, equals(TWO)),
    Ask("URL parameters, empty body", "query", {"query": "1+1", "time": "4"}, {}, equals(TWO)),
    Ask("body before URL", "query", {"query": "3", "time": "4"}, {"query": "1+1"}, equals(TWO)),
    Ask("RFC 3339", "query", None, {"query": "1+1", "time": "1970-01-01T01:00:04.000+01:00"}, equals(TWO)),
    Ask("instant", "query", None, {"query": "proctree_threads", "time": "{now}"}, kind("vector")),
    Ask("panel", "query_range", None, {"query": "proctree_threads", **SPAN, "step": "1"}, kind("matrix")),
    Ask("decimal step", "query_range", None, {"query": "proctree_threads", **SPAN, "step": "0.5"}, kind("matrix")),
    Ask(
        "durations",
        "query_range",
        None,
        {"query": "rate(proctree_cpu_seconds_total[1m0s])", **SPAN, "step": "0m15s", "timeout": "1m0s"},
        kind("matrix", 2),
    ),
    Ask(
        "RFC 3339 range",
        "query_range",
        None,
        {"query": "vector(1)", "start": "{ago_text}", "end": "{now_text}", "step": "30s"},
        lambda data: len(data["result"][0]["values"]) == 11,
    ),
    Ask("a year", "query_range", None, {"query": "up or proctree_threads", **SPAN, "start": "{year}", "step": "1h"},
        kind("matrix")),
    Ask("a year over all", "query", None, {"query": "count_over_time(proctree_threads[1y])"}, kind("vector")),
    Ask("names in quotes", "query", None, {"query": '{"quoted.name","http.status"="ok"}'}, kind("vector")),
    Ask("labels", "labels", None, {**SPAN, "limit": "40000"}, has("__name__", "tree", "http.status")),
    Ask("labels of", "labels", None, {"match[]": "proctree_threads", **SPAN}, equals(["__name__", "tree"])),
    Ask("labels of two", "labels", None, {"match[]": ["proctree_threads", "proctree_cpu_seconds_total"], **SPAN},
        equals(["__name__", "mode", "tree"])),
    Ask("labels, no limit", "labels", None, {"limit": "0"}, has("__name__", "tree", "mode")),
    Ask("labels, limit", "labels", None, {"limit": "1"}, equals(["__name__"])),
    Ask("series", "series", None, {"match[]": "proctree_threads", **SPAN, "limit": "40000"}, equals([THREADS])),
    Ask("series of a year", "series", {"match[]": "proctree_threads", "start": "{year}", "end": "{now}"}, None,
        equals([THREADS])),
    Ask("values", "label/tree/values", {**SPAN, "limit": "40000"}, None, equals(["sleep"])),
    Ask("metric search", "label/__name__/values", {"match[]": '{__name__=~".*tree_thr.*"}', "limit": "40000"}, None,
        equals(["proctree_threads", "proctree_threads_max"])),
    Ask("values of a quoted name", "label/U__http_2e_status/values", SPAN, None, equals(["ok"])),
    Ask("no such label", "label/nothing/values", SPAN, None, equals([])),
    Ask("metadata", "metadata", {"limit": "40000"}, None, lambda data: data["proctree_threads"][0]["type"] == "gauge"),
    Ask("metadata of one", "metadata", {"metric": "proctree_threads"}, None, lambda data: len(data) == 1),
    Ask("exemplars", "query_exemplars", None, {"query": "test", "start": "{ago_ms}", "end": "{now_ms}"}, equals([])),
    Ask("rules", "rules", {}, None, equals({"groups": []})),
    Ask("alerts", "alerts", {}, None, equals({"alerts": []})),
    Ask("flags", "status/flags", {}, None, has("query.timeout")),
    Ask("version", "status/buildinfo", {}, None, lambda data: data["version"] >= "3" and "features" not in data),
)  # fmt: skip


def filled(parameters: dict[str, Any] | None) -> list[tuple[str, str]]:
    """The parameters with times for what stands in braces; a list is given as many times as it is long."""
    now = time.time()
    times = {"now": now, "ago": now - 300, "year": now - YEAR_S}
    words = {name: f"{value:.3f}" for name, value in times.items()}
    words |= {f"{name}_ms": f"{value * 1000:.0f}" for name, value in times.items()}
    words |= {
        f"{name}_text": f"{datetime.fromtimestamp(value, UTC):%Y-%m-%dT%H:%M:%SZ}" for name, value in times.items()
    }
    found = []
    for name, value in (parameters or {}).items():
        for one in value if isinstance(value, list) else [value]:
            for word, text in words.items():
                one = one.replace("{" + word + "}", text)
            found.append((name, one))
    return found


def ask(sidecar: Sidecar, path: str, url: dict[str, Any] | None, form: dict[str, Any] | None) -> tuple[int, bytes]:
    """(status, body) of a GET, or of a POST where there is a form."""
    target = f"{sidecar.api}{path}" + (f"?{urllib.parse.urlencode(filled(url))}" if url else "")
    body = None if form is None else urllib.parse.urlencode(filled(form)).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(target, body), timeout=DEADLINE_S) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


@pytest.mark.parametrize("asked", ASKED, ids=lambda asked: asked.name)
def test_what_grafana_asks(sidecar: Sidecar, asked: Ask) -> None:
    """Grafana's requests, and those of its like: 200, and the data that they look for."""
    status, body = ask(sidecar, f"/api/v1/{asked.path}", asked.url, asked.form)
    answer = json.loads(body)
    assert status == 200, answer
    assert answer["status"] == "success"
    assert asked.right(answer["data"]), answer["data"]


def test_the_result_type_comes_first(sidecar: Sidecar) -> None:
    """Grafana reads the answer as a stream: it must know the type before the result comes."""
    _, body = ask(sidecar, "/api/v1/query", {"query": "proctree_threads"}, None)
    assert body.startswith(b'{"status":"success","data":{"resultType":"vector","result":[')


def test_what_was_cut_off_is_told(sidecar: Sidecar) -> None:
    """As a warning, which Grafana shows on the panel."""
    _, body = ask(sidecar, "/api/v1/series", None, {"match[]": '{__name__=~"system_.*"}', "limit": "2"})
    answer = json.loads(body)
    assert len(answer["data"]) == 2
    assert answer["warnings"] == ["results truncated due to limit"]


def test_the_version_is_asked_for_by_post_first(sidecar: Sidecar) -> None:
    """405 in plain text, as a Prometheus answers; Grafana then GETs."""
    assert ask(sidecar, "/api/v1/status/buildinfo", None, {}) == (405, b"Method Not Allowed\n")


@pytest.mark.parametrize(
    ("path", "form", "status", "error_type"),
    [
        ("query", {"query": "sum(up"}, 400, "bad_data"),
        ("query", {"query": ""}, 400, "bad_data"),
        ("query", {"query": "1", "time": "yesterday"}, 400, "bad_data"),
        ("query", {"query": "1", "timeout": "soon"}, 400, "bad_data"),
        ("query", {"query": "proctree_threads * on () proctree_cpu_seconds_total"}, 422, "execution"),
        ("query", {"query": 'label_replace(proctree_threads,"x","$1","tree","(")'}, 422, "execution"),
        ("query", {"query": "1", "timeout": "0"}, 503, "timeout"),
        ("query_range", {"query": "1", "end": "1", "step": "1"}, 400, "bad_data"),
        ("series", {}, 400, "bad_data"),
        ("series", {"match[]": '{a=~".*"}'}, 400, "bad_data"),
        ("labels", {"limit": "-1"}, 400, "bad_data"),
        ("nothing", {}, 404, None),
        ("label/tree/values", {}, 405, None),
        ("metadata", {}, 405, None),
    ],
)
def test_errors_have_their_form(
    sidecar: Sidecar, path: str, form: dict[str, Any], status: int, error_type: str | None
) -> None:
    """JSON with Prometheus's error type, or plain text where there is no such page or method."""
    got, body = ask(sidecar, f"/api/v1/{path}", None, form)
    assert got == status, body
    if error_type is None:
        assert body in (b"404 page not found\n", b"Method Not Allowed\n")
    else:
        answer = json.loads(body)
        assert (answer["status"], answer["errorType"]) == ("error", error_type)
        assert answer["error"]
