"""Prometheus's API: answers, errors and status codes, as clients know them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from urllib.parse import quote, urlencode

import pytest

from prom_probe.model.family import Family, column
from prom_probe.model.feature import Feature
from prom_probe.model.labels import make_labels
from prom_probe.model.sample import STALE
from prom_probe.model.series import Newest
from prom_probe.promql.limits import QueryLimits
from prom_probe.web.context import About
from prom_probe.web.routes import ROUTES
from tests.support.web_harness import NOW_MS, NOW_S, FakeStore, Site, serving, stored

A = make_labels("up", {"job": "a", "instance": "x:1"})
B = make_labels("up", {"job": "b"})
ENDED = make_labels("ended", {"job": "a"})
C = make_labels("x_total", {"job": "b", "le.dot": "1"})


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """Two `up` series and a counter, a sample a second for a minute up to now."""
    times = [NOW_MS - 1000 * i for i in range(60, -1, -1)]
    store = stored(
        (A, [(t, 1.0) for t in times]),
        (B, [(t, 0.0) for t in times]),
        (C, [(t, float(i)) for i, t in enumerate(times)]),
        (ENDED, [(NOW_MS - 2000, 7.0), (NOW_MS - 1000, STALE)]),
    )
    with serving(store) as running:
        yield running
        assert not running.logged


def metric(labels: object) -> dict[str, str]:
    return dict(labels)  # type: ignore[call-overload, no-any-return]


def ask(site: Site, path: str, post: bool = False, **params: str) -> object:
    """The JSON of a successful answer's data, by URL or by form."""
    form = urlencode(params)
    reply = site.post(f"/api/v1/{path}", form) if post else site.ask(f"/api/v1/{path}?{form}")
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json"), reply.text
    assert reply.json["status"] == "success"
    return reply.json["data"]


@pytest.mark.parametrize("post", [False, True])
def test_query(site: Site, post: bool) -> None:
    """Now, where no time is given."""
    assert ask(site, "query", post, query="up") == {
        "resultType": "vector",
        "result": [{"metric": metric(A), "value": [NOW_S, "1"]}, {"metric": metric(B), "value": [NOW_S, "0"]}],
    }
    assert ask(site, "query", post, query="1+1", time="4") == {"resultType": "scalar", "result": [4, "2"]}
    assert ask(site, "query", post, query='"s"', time="4") == {"resultType": "string", "result": [4, "s"]}
    assert ask(site, "query", post, query="up[2s]")["result"][0]["values"] == [  # type: ignore[index]
        [NOW_S - 1, "1"],
        [NOW_S, "1"],
    ]
    assert ask(site, "query", post, query="up", time=str(NOW_S - 1000))["result"] == []  # type: ignore[index]


@pytest.mark.parametrize("post", [False, True])
def test_query_range(site: Site, post: bool) -> None:
    """A matrix, whatever the notation of its times."""
    want = {
        "resultType": "matrix",
        "result": [{"metric": {}, "values": [[NOW_S - 20, "1"], [NOW_S - 10, "1"], [NOW_S, "1"]]}],
    }
    query = "sum(rate(x_total[10s]))"
    for start, end, step in (
        (str(NOW_S - 20), str(NOW_S), "10"),
        ("2023-11-14T22:13:00Z", "2023-11-14T22:13:20+00:00", "10s"),
        (str(NOW_S - 20), str(NOW_S), "0m10s"),
    ):
        assert ask(site, "query_range", post, query=query, start=start, end=end, step=step) == want


def test_bytes_of_a_query_that_are_not_utf8_are_replaced(site: Site) -> None:
    """In strings, labels and errors, as Prometheus's JSON has them."""
    assert ask(site, "query", query=r'"a\xffb"', time="4") == {"resultType": "string", "result": [4, "a\ufffdb"]}
    labelled = r'label_replace(vector(1), "a", "\xff", "", "")'
    for data in (
        ask(site, "query", query=labelled, time="1"),
        ask(site, "query_range", query=labelled, start="1", end="2", step="1"),
    ):
        assert data["result"][0]["metric"] == {"a": "\ufffd"}  # type: ignore[index]
    query = quote(r'label_replace(vector(1), "\xff", "", "", "")')
    reply = site.ask(f"/api/v1/query?query={query}")
    assert (reply.status, reply.json["error"]) == (
        422,
        "invalid destination label name in label_replace(): \ufffd",
    )


def test_a_posted_url_without_a_body(site: Site) -> None:
    """vmalert sends its parameters in the URL of a POST."""
    assert site.ask("/api/v1/query?query=1&time=1", method="POST").json["data"]["result"] == [1, "1"]


NO_TIME = 'cannot parse "x" to a valid timestamp'
NO_DURATION = 'cannot parse "x" to a valid duration'
NO_STEP = "zero or negative query resolution step widths are not accepted. Try a positive integer"
TOO_FINE = "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)"
NO_RANGE = 'invalid expression type "string" for range query, must be Scalar or instant Vector'


def invalid(name: str, reason: str) -> str:
    return f'invalid parameter "{name}": {reason}'


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("query", invalid("query", "1:1: parse error: no expression found in input")),
        ("query?query=foo(", invalid("query", "1:")),
        ("query?query=1&time=x", invalid("time", f"Invalid time value for 'time': {NO_TIME}")),
        ("query?query=1&timeout=x", invalid("timeout", NO_DURATION)),
        ("query?query=1&limit=-1", invalid("limit", "limit must be non-negative")),
        ("query?query=1&lookback_delta=x", f"error parsing lookback delta duration: {NO_DURATION}"),
        ("query?query=%zz", 'error parsing form values: invalid URL escape "%zz"'),
        ("query?query=up" + "%2Bup" * 250, invalid("query", "")),
        ("query_range?query=1", invalid("start", 'cannot parse "" to a valid timestamp')),
        ("query_range?query=1&start=1&end=x", invalid("end", NO_TIME)),
        (
            "query_range?query=1&start=1&end=0&step=1",
            invalid("end", "end timestamp must not be before start time"),
        ),
        ("query_range?query=1&start=1&end=9&step=x", invalid("step", NO_DURATION)),
        ("query_range?query=1&start=1&end=9&step=0", invalid("step", NO_STEP)),
        ("query_range?query=1&start=1&end=9&step=-1", invalid("step", NO_STEP)),
        ("query_range?query=1&start=0&end=11001&step=1", TOO_FINE),
        ("query_range?query=%22s%22&start=1&end=2&step=1", invalid("query", NO_RANGE)),
        ("format_query?query=foo(", invalid("query", "1:5: parse error: unclosed left parenthesis")),
        ("parse_query", invalid("query", "1:1: parse error: no expression found in input")),
        ("series", "no match[] parameter provided"),
        ("series?match[]=foo(", invalid("match[]", "1:4: parse error: ")),
        ("series?match[]={a=~%22.*%22}", invalid("match[]", "")),
        ("series?match[]=up&limit=-1", invalid("limit", "limit must be non-negative")),
        ("labels?match[]={}", invalid("match[]", "")),
        ("labels?start=x", invalid("start", f"Invalid time value for 'start': {NO_TIME}")),
        ("label/job/values?end=x", invalid("end", f"Invalid time value for 'end': {NO_TIME}")),
        ("label/U__/values", 'invalid label name: ""'),
        ("label/%ff/values", "invalid UTF-8"),
        ("metadata?limit=x", "limit must be a number"),
        ("metadata?limit_per_metric=x", "limit_per_metric must be a number"),
    ],
)
def test_bad_data(site: Site, path: str, message: str) -> None:
    """Prometheus's words for a client's mistakes."""
    reply = site.ask(f"/api/v1/{path}")
    assert (reply.status, reply.headers["content-type"]) == (400, "application/json"), reply.text
    assert (reply.json["status"], reply.json["errorType"]) == ("error", "bad_data")
    assert message in reply.json["error"]


def test_execution_errors(site: Site) -> None:
    """A query that fails over these samples."""
    reply = site.ask("/api/v1/query?query=" + quote("up + on () up"))
    assert (reply.status, reply.json["errorType"]) == (422, "execution")


@pytest.mark.parametrize("path", ["query?query=up&timeout=-1", "query?query=up&timeout=0.000001"])
def test_timeouts(site: Site, path: str) -> None:
    """A timeout of zero."""
    reply = site.ask(f"/api/v1/{path}")
    assert (reply.status, reply.json["errorType"]) == (503, "timeout")
    assert reply.json["error"].startswith("query timed out in ")


def test_the_longest_range_is_answered(site: Site) -> None:
    """11,000 steps are the most that are allowed."""
    data = ask(site, "query_range", query="1", start="0", end="11000", step="1")
    assert len(data["result"][0]["values"]) == 11_001  # type: ignore[index]


def test_limit_and_stats(site: Site) -> None:
    """Fewer series with a warning; what the query cost."""
    reply = site.ask("/api/v1/query?query=up&limit=1&stats=all").json
    assert len(reply["data"]["result"]) == 1
    assert reply["warnings"] == ["results truncated due to limit"]
    assert reply["data"]["stats"]["samples"]["totalQueryableSamples"] == 2
    timings = reply["data"]["stats"]["timings"]
    assert timings.keys() == {
        *("evalTotalTime", "resultSortTime", "queryPreparationTime", "innerEvalTime", "execQueueTime", "execTotalTime")
    }
    assert timings["execTotalTime"] >= timings["evalTotalTime"] > timings["innerEvalTime"] > 0
    assert reply["data"]["stats"]["samples"]["peakSamples"] >= 1
    assert "stats" not in site.ask("/api/v1/query?query=up").json["data"]


def test_values_of_stats_that_are_deprecated(site: Site) -> None:
    """They give statistics, and a warning."""
    deprecated = (
        r'value "a\"b" for parameter "stats" is deprecated and will be rejected in the next major release, use '
    )
    for value, warnings in (("true", []), ("all", []), ('a"b', [deprecated + '"true" or "all"'])):
        reply = site.ask(f"/api/v1/query?query=up&stats={quote(value)}").json
        assert "stats" in reply["data"]
        assert reply.get("warnings", []) == warnings


def test_stats_of_each_step(site: Site) -> None:
    """What was used and read; for each step, if its feature is on."""
    asked = f"/api/v1/query_range?query=rate(x_total[20s])&start={NOW_S - 10}&end={NOW_S}&step=10&stats=all"
    samples = site.ask(asked).json["data"]["stats"]["samples"]
    assert (samples["totalQueryableSamples"], samples["samplesRead"], len(samples)) == (40, 30, 3)
    limits = QueryLimits(features=frozenset({Feature.PER_STEP_STATS}))
    with serving(site.store, limits=limits) as other:
        samples = other.ask(asked).json["data"]["stats"]["samples"]
        assert samples["totalQueryableSamplesPerStep"] == [[NOW_S - 10, 20], [NOW_S, 20]]
        assert samples["samplesReadPerStep"] == [[NOW_S - 10, 20], [NOW_S, 10]]
        assert len(other.ask(asked.replace("all", "1")).json["data"]["stats"]["samples"]) == 3


@pytest.mark.parametrize("post", [False, True])
def test_expressions_as_written(site: Site, post: bool) -> None:
    """Their layout, and their tree."""
    assert ask(site, "format_query", post, query="sum(up)by(job)") == "sum by (job) (up)"
    tree = ask(site, "parse_query", post, query="-(1)")
    number = {"type": "numberLiteral", "val": "1"}
    assert tree == {"type": "unaryExpr", "op": "-", "expr": {"type": "parenExpr", "expr": number}}


def test_lookback_delta(site: Site) -> None:
    """The client may choose how old a sample may be."""
    late = str(NOW_S + 60)
    assert len(ask(site, "query", query="up", time=late)["result"]) == 2  # type: ignore[index]
    assert ask(site, "query", query="up", time=late, lookback_delta="30s")["result"] == []  # type: ignore[index]


def test_notes_of_the_engine_come_through(site: Site) -> None:
    """A rate of a metric whose name is not a counter's."""
    assert "might not be a counter" in site.ask("/api/v1/query?query=rate(up[1m])").json["infos"][0]


@pytest.mark.parametrize("post", [False, True])
def test_labels_and_values(site: Site, post: bool) -> None:
    """All, or of what `match[]` selects; sorted."""
    assert ask(site, "labels", post) == ["__name__", "instance", "job", "le.dot"]
    assert ask(site, "labels", post, **{"match[]": "x_total"}) == ["__name__", "job", "le.dot"]
    assert ask(site, "labels", post, start="0", end="1") == []


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("label/__name__/values", ["ended", "up", "x_total"]),
        ("label/job/values", ["a", "b"]),
        ("label/job/values?match[]=x_total", ["b"]),
        ("label/job/values?match[]=x_total&match[]=" + quote('up{job="a"}'), ["a", "b"]),
        ("label/U__le_2e_dot/values", ["1"]),
        ("label/le.dot/values", ["1"]),
        ("label/nope/values", []),
        ("label/job/values?limit=1", ["a"]),
        ("label/job/values?limit=0", ["a", "b"]),
    ],
)
def test_label_values(site: Site, path: str, values: list[str]) -> None:
    """UTF-8 names come escaped or as they are."""
    assert site.ask(f"/api/v1/{path}").json["data"] == values


@pytest.mark.parametrize("post", [False, True])
def test_series(site: Site, post: bool) -> None:
    """Each series once, however many selectors match it."""
    assert ask(site, "series", post, **{"match[]": "up"}) == [metric(A), metric(B)]
    assert ask(site, "series", post, **{"match[]": "nope"}) == []
    both = "match[]=up&match[]=" + quote('{job="b"}')
    assert site.ask(f"/api/v1/series?{both}").json["data"] == [metric(A), metric(B), metric(C)]
    cut = site.ask(f"/api/v1/series?{both}&limit=2").json
    assert (len(cut["data"]), cut["warnings"]) == (2, ["results truncated due to limit"])


def test_metadata() -> None:
    """Type, help and unit by name, with its three parameters."""
    families = [
        Family("a", "gauge", "A."),
        Family("b_seconds", "counter", "B.", "seconds"),
        Family("a", "counter", "A2."),
    ]
    with serving(FakeStore(families=families)) as site:
        a = [{"type": "gauge", "help": "A.", "unit": ""}, {"type": "counter", "help": "A2.", "unit": ""}]
        b = [{"type": "counter", "help": "B.", "unit": "seconds"}]
        assert ask(site, "metadata") == {"a": a, "b_seconds": b}
        assert ask(site, "metadata", metric="b_seconds") == {"b_seconds": b}
        assert ask(site, "metadata", limit="1") == {"a": a}
        assert ask(site, "metadata", limit_per_metric="1") == {"a": a[:1], "b_seconds": b}


def test_what_we_do_not_have(site: Site) -> None:
    """Empty, in the shape that clients expect; exemplars are probed with times in milliseconds."""
    assert ask(site, "query_exemplars", query="test", start="1700000000000", end="1700000000001") == []
    assert ask(site, "rules") == {"groups": []}
    assert ask(site, "alerts") == {"alerts": []}
    assert ask(site, "alertmanagers") == {"activeAlertmanagers": [], "droppedAlertmanagers": []}
    assert ask(site, "notifications") == []
    assert ask(site, "status/walreplay") == {"min": 0, "max": 0, "current": 0}


def test_status() -> None:
    """Facts about the process."""
    about = About(
        {"version": "1.2.3"},
        config_yaml=lambda: "interval: 1s\n",
        flags=lambda: {"interval": "1s"},
        storage_retention=lambda: "6h",
        start_time_s=NOW_S - 0.5,
    )
    with serving(FakeStore(), about=about) as site:
        assert ask(site, "status/buildinfo") == {
            **dict.fromkeys(("revision", "branch", "buildUser", "buildDate", "goVersion"), ""),
            "version": "3.14.0",
            "prom_probe_version": "1.2.3",
        }
        assert site.ask("/version").json == ask(site, "status/buildinfo")
        assert ask(site, "status/config") == {"yaml": "interval: 1s\n"}
        assert ask(site, "status/flags") == {"interval": "1s"}
        info = ask(site, "status/runtimeinfo")
        assert isinstance(info, dict)
        assert info["startTime"] == "2023-11-14T22:13:19.500Z"
        assert info["storageRetention"] == "6h"


def test_features(site: Site) -> None:
    """What is on by default, as Prometheus lists it; experimental functions are not."""
    data = ask(site, "features")
    assert isinstance(data, dict)
    assert {"api", "promql", "promql_functions", "promql_operators", "tsdb"} <= data.keys()
    assert (data["promql"]["duration_expr"], data["promql"]["delayed_name_removal"]) == (True, False)
    assert (data["promql_functions"]["rate"], data["promql_functions"]["mad_over_time"]) == (True, False)
    assert (data["promql_operators"]["topk"], data["promql_operators"]["limitk"]) == (True, False)


FORM_ENDPOINTS = [route.path for route in ROUTES if "POST" in route.methods and "GET" in route.methods]


@pytest.mark.parametrize("path", FORM_ENDPOINTS)
def test_every_form_may_be_multipart(site: Site, path: str) -> None:
    """What `curl -F` sends is read as what `curl -d` sends."""
    times = {"start": str(NOW_S - 5), "end": str(NOW_S), "step": "5", "time": str(NOW_S)}
    fields = {"query": "up", "match[]": "up", **times}
    parts = [f'--x\r\ncontent-disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in fields.items()]
    body = ("".join(parts) + "--x--\r\n").encode()
    found = site.ask(path, method="POST", body=body, Content_Type="multipart/form-data; boundary=x")
    assert found.status == 200
    assert found.json == site.post(path, urlencode(fields)).json


BAD_LIMITS = [("0", "a positive number"), ("x", "a positive number"), ("10001", "not exceed 10000")]


@pytest.mark.parametrize(("limit", "error"), BAD_LIMITS)
def test_bad_limits_of_the_stores_status(site: Site, limit: str, error: str) -> None:
    """A limit is at least 1, at most 10,000."""
    reply = site.ask(f"/api/v1/status/tsdb?limit={limit}")
    assert (reply.status, reply.json["errorType"]) == (400, "bad_data")
    assert error in reply.json["error"]


def test_status_of_the_store(site: Site) -> None:
    """Which names and values have most series."""
    data = ask(site, "status/tsdb", limit="1")
    assert isinstance(data, dict)
    assert data["headStats"]["numSeries"] == data["headStats"]["chunkCount"] == 4
    oldest, newest = data["headStats"]["minTime"], data["headStats"]["maxTime"]
    assert (oldest, newest) == (site.store.oldest_ms(), site.store.newest_ms())
    assert oldest <= newest
    assert data["seriesCountByMetricName"] == [{"name": "up", "value": 2}]
    assert data["labelValueCountByLabelName"] == [{"name": "__name__", "value": 3}]
    assert data["seriesCountByLabelValuePair"][0]["value"] == 2


def test_the_span_of_an_empty_store_is_none() -> None:
    """As of Prometheus's empty head: the largest and the smallest number."""
    with serving() as site:
        data = ask(site, "status/tsdb")
        assert isinstance(data, dict)
        assert (data["headStats"]["minTime"], data["headStats"]["maxTime"]) == ((1 << 63) - 1, -(1 << 63))


def test_targets() -> None:
    """Our collectors, with the outcome of their last collection."""
    from array import array

    success = Family("prom_probe_collector_success", "gauge", "S.")
    took = Family("prom_probe_collector_duration_seconds", "gauge", "D.")
    columns = [
        column(success, collector="process"),
        column(success, collector="system"),
        column(took, collector="process"),
    ]
    rows = [Newest(name, 0, [], NOW_MS, b"") for name in ("process", "system")]
    rows.append(Newest("self", 0, columns, NOW_MS, array("d", [1.0, 0.0, 0.25]).tobytes()))
    about = About({}, fault_of={"process": "at last", "system": "no /proc"}.__getitem__)
    with serving(FakeStore(rows), about=about) as site:
        data = ask(site, "targets")
        assert isinstance(data, dict)
        keys = ("health", "lastScrapeDuration", "lastError")
        assert {t["labels"]["instance"]: tuple(map(t.get, keys)) for t in data["activeTargets"]} == {
            "process": ("up", 0.25, ""),
            "system": ("down", 0.0, "no /proc"),
            "self": ("unknown", 0.0, ""),
        }
        assert data["activeTargets"][0]["lastScrape"] == "2023-11-14T22:13:20.000Z"
        none = {"activeTargets": [], "droppedTargets": [], "droppedTargetCounts": {"prom_probe": 0}}
        assert ask(site, "targets", state="dropped") == none
        assert ask(site, "targets", scrapePool="another") == none
        assert ask(site, "targets", scrapePool="prom_probe") == data
        assert ask(site, "scrape_pools") == {"scrapePools": ["prom_probe"]}


def test_metadata_of_targets() -> None:
    """Each collector's families, those of the targets and the metric that are asked for."""
    a, b = Family("a", "gauge", "A."), Family("b_seconds", "counter", "B.", "seconds")
    rows = [
        Newest("process", 0, [column(a, pid="1"), column(a, pid="2"), column(b)], NOW_MS, b""),
        Newest("system", 0, [column(b)], NOW_MS, b""),
    ]
    process, system = ({"instance": name, "job": "prom_probe"} for name in ("process", "system"))
    about_a = {"type": "gauge", "help": "A.", "unit": ""}
    about_b = {"type": "counter", "help": "B.", "unit": "seconds"}
    all_of = [
        {"target": process, "metric": "a", **about_a},
        {"target": process, "metric": "b_seconds", **about_b},
        {"target": system, "metric": "b_seconds", **about_b},
    ]
    with serving(FakeStore(rows)) as site:
        assert ask(site, "targets/metadata") == all_of
        assert ask(site, "targets/metadata", limit="1") == all_of[:1]
        assert ask(site, "targets/metadata", metric="a") == [{"target": process, **about_a}]
        assert ask(site, "targets/metadata", match_target='{instance=~"s.*",job!="x"}') == all_of[2:]
        path = "/api/v1/targets/metadata"
        assert site.ask(f"{path}?metric=c").json["errorType"] == "not_found"
        assert site.ask(f"{path}?match_target=(").json["errorType"] == "bad_data"


def test_metrics_in_the_format_and_of_the_part_that_is_asked_for() -> None:
    """OpenMetrics by Accept; `name[]` and `collect[]` as other exporters have them."""
    one, two = Family("one_total", "counter", "One."), Family("two_bytes", "gauge", "Two.", "bytes")
    rows = [
        Newest(name, 0, [column(family)], NOW_MS, struct.pack("<d", value))
        for name, family, value in (("first", one, 1.0), ("second", two, 2.0))
    ]
    with serving(FakeStore(rows)) as site:
        plain = site.ask("/metrics")
        assert plain.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert plain.headers["vary"] == "Accept" and "# EOF" not in plain.text
        reply = site.ask("/metrics", Accept="application/openmetrics-text;version=1.0.0")
        assert reply.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
        assert "# UNIT two_bytes bytes\n" in reply.text and reply.text.endswith("# EOF\n")

        def samples(query: str) -> list[str]:
            lines = site.ask(f"/metrics?{query}").text.splitlines()
            return [line for line in lines if line.partition(" ")[0] in ("one_total", "two_bytes")]

        assert samples("name[]=one_total") == samples("collect[]=first") == ["one_total 1"]
        assert samples("name[]=one_total&name[]=two_bytes") == ["one_total 1", "two_bytes 2"]
        assert samples("collect[]=first&name[]=two_bytes") == []
        refused = site.ask("/metrics?collect[]=nonsense")
        assert refused.status == 400 and refused.text.startswith("unknown collector 'nonsense'; known are first,")


def test_federate(site: Site) -> None:
    """The newest samples with their times, sorted by name; nothing without a selector."""
    reply = site.ask("/federate?match[]=x_total&match[]=" + quote('{job="a"}'))
    assert reply.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert reply.text == (
        f'# TYPE up untyped\nup{{instance="x:1",job="a"}} 1 {NOW_MS}\n'
        f'# TYPE x_total untyped\nx_total{{job="b",le_dot="1"}} 60 {NOW_MS}\n'
    )
    assert (site.ask("/federate").status, site.ask("/federate").body) == (200, b"")
    assert site.ask("/federate?match[]=foo(").status == 400


@pytest.mark.parametrize(
    ("told", "status"), [("10", 200), ("0.000001", 503), ("0", 200), ("-1", 200), ("nan", 200), ("soon", 200)]
)
def test_federation_ends_when_the_scraper_has_gone(site: Site, told: str, status: int) -> None:
    """The scraper's own timeout counts; nonsense is ignored."""
    client = site.client()
    head = (
        f"GET /federate?match[]=up HTTP/1.1\r\nHost: localhost\r\nX-Prometheus-Scrape-Timeout-Seconds: {told}\r\n\r\n"
    )
    client.send(head.encode())
    assert client.read().status == status


def test_queries_are_timed(site: Site) -> None:
    """From arrival to answer."""
    before = site.value("prom_probe_query_duration_seconds_count")
    ask(site, "query", query="up")
    ask(site, "query", query="1")
    assert site.value("prom_probe_query_duration_seconds_count") == before + 2


def test_the_table_of_the_trees() -> None:
    """The watched trees, links to everything, no script, nothing from outside, all text escaped."""
    from array import array

    processes = Family("proctree_processes", "gauge", "P.")
    memory = Family("proctree_resident_memory_bytes", "gauge", "M.", "bytes")
    up = Family("prom_probe_worker_up", "gauge", "U.")
    columns = [
        column(processes, tree="<b>"),
        column(memory, tree="<b>"),
        column(up, worker="gpu"),
        column(up, worker="process"),
    ]
    rows = [Newest("process", 0, columns, NOW_MS, array("d", [3.0, 5 * 2.0**20, 0.0, 1.0]).tobytes())]
    target = [
        column(Family("up", "gauge", "U."), job="app"),
        column(Family("scrape_duration_seconds", "gauge", "D."), job="app"),
    ]
    rows.append(Newest("scrape:app", 0, target, NOW_MS, array("d", [1.0, 0.0123]).tobytes()))
    with serving(FakeStore(rows)) as site:
        reply = site.ask("/status")
        assert (reply.status, reply.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert reply.headers["content-security-policy"].startswith("default-src 'none'; ")
        assert "&lt;b&gt;</td>" in reply.text
        assert "5.0 MiB" in reply.text
        assert '<tr><td>app</td><td class="n">–</td><td class="n">12.3 ms</td></tr>' in reply.text
        assert reply.text.count('class="bad">down') == 1
        assert "<script" not in reply.text
        assert "//" not in reply.text.replace("<!DOCTYPE", "")
        for link in ("/metrics", "/-/healthy", "/-/ready", "/api/v1/labels", "/federate"):
            assert f'href="{link}' in reply.text
        assert "7 series, 1,234 samples in 55.5 KiB" in reply.text
    with serving(FakeStore()) as site:
        text = site.ask("/status").text
        assert "No process tree is watched." in text
        assert "Scraped targets" not in text
