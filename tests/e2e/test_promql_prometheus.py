"""Our engine and a real Prometheus give the same answers to generated expressions over the same samples.

Debian's Prometheus is of before 3.0, where ranges are closed on the left too: samples and steps are placed so that
none falls on a window's end. Expressions whose answers hang on the last bit of a float are not generated.
"""

from __future__ import annotations

import json
import math
import random
import re
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prom_probe.model.labels import METRIC_NAME, Labels, make_labels
from prom_probe.promql.engine import Engine
from prom_probe.promql.result import QueryError, Result
from prom_probe.promql.syntax import written
from prom_probe.tsdb.store import Store, StoreOptions
from tests.support.peers import prometheus
from tests.support.programs import program
from tests.support.waiting import DEADLINE_S

T0_MS = 1_700_000_000_000
SAMPLES = 720  # every 5 s, for an hour
START_S, END_S, STEP_S = T0_MS // 1000 + 1203, T0_MS // 1000 + 3403, 110  # 3 s off every subquery's steps

Point = tuple[int, float]


def samples() -> dict[Labels, list[Point]]:
    """Gauges with gaps, counters, counters with resets, buckets; timestamps jitter and are never whole seconds."""
    chance = random.Random(7)
    found: dict[Labels, list[Point]] = {}
    for i in range(6):
        pairs = {"i": str(i), "job": f"j{i % 2}", "kind": "g"}
        points = [(_time(chance, n), chance.uniform(-100, 100)) for n in range(SAMPLES)]
        if i % 3 == 1:
            points = [p for n, p in enumerate(points) if not 200 < n < 290 and n % 7]
        if i % 3 == 2:
            points = [p for n, p in enumerate(points) if not 300 < n < 400]
        found[make_labels("g", pairs)] = points
    for i in range(6):
        total, points = 1000.0 * (i + 1), []
        for n in range(SAMPLES):
            total += chance.randrange(0, 50)
            if i % 2 and chance.random() < 0.01:
                total = 0.0
            points.append((_time(chance, n), total))
        found[make_labels("c_total", {"i": str(i), "job": f"j{i % 2}", "kind": "c"})] = points
    for i in range(2):
        counts = [0.0] * 4
        lines: list[list[Point]] = [[] for _ in counts]
        for n in range(SAMPLES):
            first = chance.randrange(4)
            t_ms = _time(chance, n)
            for b in range(4):
                counts[b] += float(b >= first) * chance.choice((1, 2))
            counts = [max(counts[: b + 1]) for b in range(4)]
            for b in range(4):
                lines[b].append((t_ms, counts[b] + 100))
        for b, le in enumerate(("0.1", "1", "5", "+Inf")):
            found[make_labels("h_bucket", {"i": str(i), "le": le, "kind": "h"})] = lines[b]
    return found


def _time(chance: random.Random, n: int) -> int:
    return T0_MS + n * 5000 + chance.choice((117, 137, 177, 431))


def openmetrics(data: dict[Labels, list[Point]]) -> str:
    """The samples as a file that promtool makes blocks of."""
    lines = []
    for name in sorted({dict(labels)[METRIC_NAME] for labels in data}):
        lines.append(f"# TYPE {name.removesuffix('_total')} unknown\n")
        for labels, points in data.items():
            pairs = dict(labels)
            if pairs.pop(METRIC_NAME) == name:
                inner = ",".join(f'{key}="{value}"' for key, value in pairs.items())
                lines += [f"{name}{{{inner}}} {value!r} {t_ms / 1000:.3f}\n" for t_ms, value in points]
    return "".join([*lines, "# EOF\n"])


class Peers:
    """Prometheus and our store with the same samples."""

    def __init__(self, folder: Path) -> None:
        data = samples()
        text = folder / "samples.txt"
        text.write_text(openmetrics(data))
        subprocess.run(
            [program("promtool"), "tsdb", "create-blocks-from", "openmetrics", "-q", str(text), str(folder / "data")],
            check=True,
            capture_output=True,
            timeout=DEADLINE_S,
        )
        store = Store(StoreOptions(retention_ms=10**13, retention_bytes=1 << 30))
        for labels, points in data.items():
            for t_ms, value in points:
                store.append(labels, t_ms, value)
        self._snapshot = store.snapshot()
        self._engine = Engine()
        program("prometheus")
        self.prometheus = prometheus("scrape_configs: []\n", "--storage.tsdb.retention.time=100y", data=folder / "data")

    def theirs(self, expr: str) -> dict[Labels, dict[int, float]] | None:
        """Their matrix as series -> time in s -> value; None for an error in evaluation."""
        form = {"query": expr, "start": START_S, "end": END_S, "step": STEP_S}
        try:
            with urllib.request.urlopen(
                f"{self.prometheus.url}/api/v1/query_range", urllib.parse.urlencode(form).encode(), timeout=DEADLINE_S
            ) as response:
                found: list[Any] = json.load(response)["data"]["result"]
        except urllib.error.HTTPError as error:
            assert error.code == 422, (expr, error.read())
            return None
        return {make_labels("", row["metric"]): {int(t): float(value) for t, value in row["values"]} for row in found}

    def their_vector(self, expr: str, at_s: int = START_S) -> list[tuple[Labels, float]] | None:
        """Their instant vector in its order; None for an error in evaluation."""
        form = urllib.parse.urlencode({"query": expr, "time": at_s}).encode()
        try:
            with urllib.request.urlopen(f"{self.prometheus.url}/api/v1/query", form, timeout=DEADLINE_S) as response:
                found: list[Any] = json.load(response)["data"]["result"]
        except urllib.error.HTTPError as error:
            assert error.code == 422, (expr, error.read())
            return None
        return [(make_labels("", row["metric"]), float(row["value"][1])) for row in found]

    def our_vector(self, expr: str, at_s: int = START_S) -> list[tuple[Labels, float]] | None:
        try:
            result = self._engine.instant(self._snapshot, expr, at_s * 1000)
        except QueryError as error:
            assert error.kind == "execution", (expr, error)
            return None
        return list(zip(result.labels, result.values[:, 0].tolist(), strict=True))

    def layout(self, expr: str) -> str | None:
        """Their layout of the expression; None where it is none."""
        form = urllib.parse.urlencode({"query": expr}).encode()
        try:
            with urllib.request.urlopen(
                f"{self.prometheus.url}/api/v1/format_query", form, timeout=DEADLINE_S
            ) as response:
                return str(json.load(response)["data"])
        except urllib.error.HTTPError as error:
            assert error.code == 400, (expr, error.read())
            return None

    def ours(self, expr: str) -> dict[Labels, dict[int, float]] | None:
        try:
            result: Result = self._engine.range(self._snapshot, expr, START_S * 1000, END_S * 1000, STEP_S * 1000)
        except QueryError as error:
            assert error.kind == "execution", (expr, error)
            return None
        assert result.present is not None
        seconds = (result.timestamps // 1000).tolist()
        return {
            labels: {t: v for t, v, here in zip(seconds, values.tolist(), present.tolist(), strict=True) if here}
            for labels, values, present in zip(result.labels, result.values, result.present, strict=True)
        }


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peers]:
    found = Peers(tmp_path_factory.mktemp("prometheus"))
    with found.prometheus:
        yield found


# -- expressions

_offset = st.sampled_from(["", "", "", " offset 50s", " offset -20s", f" @ {START_S - 600}", " @ end()", " @ start()"])
_range = st.sampled_from(["30s", "1m", "5m", "17m"])
_gauge = st.sampled_from(["g", 'g{job="j0"}', 'g{i=~"[123]"}', 'g{i!="2",job!~"j0|x"}'])
_counter = st.sampled_from(["c_total", 'c_total{job="j1"}', 'c_total{i=~"0|2|4"}'])
_by = st.sampled_from(
    ["", " by (job)", " by (i, job)", " without (i)", " without (i, kind)", " by ()", " by (nothing)"]
)


def _of(template: str, *parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*parts).map(lambda values: template.format(*values))


_named = st.sampled_from(['{i="1"}', '{__name__=~"g|c_total",job="j0"}', '{__name__!="h_bucket",i=~"0|3"}'])
_raw = st.one_of(_of("{}{}", _gauge, _offset), _of("{}{}", _counter, _offset))
_over_counter = _of(
    "{}({}[{}]{})", st.sampled_from(["rate", "increase", "irate", "resets", "changes"]), _counter, _range, _offset
)
_over_gauge = _of(
    "{}({}[{}]{})",
    st.sampled_from(
        ["delta", "idelta", "deriv", "changes"]
        + [f"{one}_over_time" for one in ("sum", "avg", "min", "max", "count", "last", "stddev", "stdvar", "present")]
    ),
    _gauge,
    _range,
    _offset,
)
_with_parameter = st.one_of(
    _of("quantile_over_time({}, {}[{}])", st.sampled_from(["0", "0.3", "0.99", "1", "-1", "2"]), _gauge, _range),
    _of("predict_linear({}[{}], {})", _gauge, _range, st.sampled_from(["60", "-300"])),
    _of("absent_over_time({}[{}])", st.sampled_from(['g{i="1"}', 'g{i="9",job="x"}', "g"]), _range),
    _of(
        "histogram_quantile({}, {})",
        st.sampled_from(["0.1", "0.5", "0.99"]),
        st.sampled_from(
            ["h_bucket", "rate(h_bucket[5m])", "sum by (le) (rate(h_bucket[5m]))", "sum by (i, le) (h_bucket)"]
        ),
    ),
    _of("{}({})", st.sampled_from(["round", "floor", "ceil", "hour", "day_of_week", "timestamp"]), _gauge),
    _of("count_values{}('v', floor({} / 40))", _by, _gauge),
    _of("{}{} ({})", st.sampled_from(["stddev", "stdvar"]), _by, _gauge),
    _of("absent({})", _raw),
    _of("{}({})", st.sampled_from(["abs", "-", "day_of_year", "timestamp", "ceil"]), _named),
    _of("{}({}[5m])", st.sampled_from(["rate", "last_over_time", "sum_over_time"]), _named),
    _of("{} by (__name__, i) ({}({}))", st.sampled_from(["sum", "count"]), st.sampled_from(["", "abs"]), _named),
)
_leaf = st.one_of(_raw, _over_counter, _over_gauge, _with_parameter)
_number = st.sampled_from(["0", "1", "2.5", "-3", "1e3", 'scalar(g{i="0"})', "time()", "(1 / 0)"])


def _grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        _of("{}{} ({})", st.sampled_from(["sum", "avg", "min", "max", "count", "group"]), _by, inner),
        _of("{}{} ({}, {})", st.sampled_from(["topk", "bottomk"]), _by, st.sampled_from(["1", "3", "0"]), _raw),
        _of("quantile{} ({}, {})", _by, st.sampled_from(["0", "0.5", "0.9", "1.5"]), inner),
        _of("{}({})", st.sampled_from(["abs", "sgn", "sqrt", "sin", "atan", "deg", "-", "+"]), inner),
        _of("clamp({}, -50, 40)", inner),
        _of("({}) {} ({})", inner, st.sampled_from(["+", "-", "*", "/"]), _number),
        _of("({}) {} ({})", _number, st.sampled_from(["+", "-", "*", "/", "%"]), _raw),
        _of("({}) {} ({})", _raw, st.sampled_from([">", "<", ">=", "!=", "> bool", "<= bool", "== bool"]), _number),
        _of(
            "({}) {} {} ({})",
            inner,
            st.sampled_from(["+", "-", "*", "/"]),
            st.sampled_from(
                ["", "ignoring (kind)", "on (i)", "on (i, job)", "on (job) group_left ()", "on (i) group_right (kind)"]
            ),
            inner,
        ),
        _of(
            "({}) {} {} ({})",
            inner,
            st.sampled_from(["and", "or", "unless"]),
            st.sampled_from(["", "on (i)", "on (job)", "ignoring (kind)", "on ()"]),
            inner,
        ),
        _of(
            "{}_over_time(({})[{}:{}]{})",
            st.sampled_from(["sum", "max", "count", "last", "avg"]),
            st.one_of(_leaf, _of("sum{} ({})", _by, _leaf)),  # not of subqueries: their steps would fall on its ends
            st.sampled_from(["1m", "10m"]),
            st.sampled_from(["10s", "30s", ""]),
            st.sampled_from(["", " offset 1m"]),
        ),
        _of("label_replace({}, 'new', '$1x', '{}', '(.)(.*)')", inner, st.sampled_from(["i", "job", "none"])),
        _of("label_join({}, 'new', '-', 'i', 'job')", inner),
    )


EXPRESSIONS = st.recursive(_leaf, _grow, max_leaves=4)


def _same(a: float, b: float) -> bool:
    if math.isnan(a) or math.isnan(b) or math.isinf(a) or math.isinf(b):
        return (math.isnan(a) and math.isnan(b)) or a == b
    return abs(a - b) <= 1e-9 * max(abs(a), abs(b), 1e-3)


@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(expr=EXPRESSIONS)
def test_the_same_answers(peers: Peers, expr: str) -> None:
    """The same series, the same points, values within 1e-9, or an error on both sides."""
    theirs, ours = peers.theirs(expr), peers.ours(expr)
    if theirs is None or ours is None:
        assert theirs is None, "theirs is an answer, ours an error"
        assert ours is None, "theirs is an error, ours an answer"
        return
    assert ours.keys() == theirs.keys()
    for labels, points in theirs.items():
        assert ours[labels].keys() == points.keys(), labels
        for t, value in points.items():
            assert _same(ours[labels][t], value), (labels, t, ours[labels][t], value)


_RANDOM = re.compile(r"count_values|histogram_quantile|\[\w+:")
_ORDERED = st.one_of(EXPRESSIONS, _of("{}({})", st.sampled_from(["sort", "sort_desc"]), EXPRESSIONS))


@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(expr=_ORDERED)
def test_the_same_order(peers: Peers, expr: str) -> None:
    """An instant vector has the same series in the same order, unless theirs is random."""
    theirs, ours = peers.their_vector(expr), peers.our_vector(expr)
    if theirs is None or ours is None:
        assert theirs is ours
        return
    assert sorted(labels for labels, _ in ours) == sorted(labels for labels, _ in theirs)
    if not _RANDOM.search(expr) and len({repr(value) for _, value in ours}) == len(ours):
        assert [labels for labels, _ in ours] == [labels for labels, _ in theirs]


def _one(name: str, value: str) -> str:
    return f"label_replace(vector({value}), 'i', '{name}', '', '')"


# Where Debian's Prometheus 2 means something else than 3, whose meaning is ours: their vector, and ours.
BEFORE_3 = [
    # Both ends of a range belong to it.
    ("count_over_time(vector(1)[30s:10s])", [((), 4.0)], [((), 3.0)]),
    # A dot does not match a line break.
    (
        "count by (b) (label_replace(label_replace(vector(1), 'a', 'x\\ny', '', ''), 'b', 'yes', 'a', 'x.y'))",
        [((), 1.0)],
        [((("b", "yes"),), 1.0)],
    ),
    # Sums are not compensated.
    (f"sum({_one('a', '1e100')} or {_one('b', '1')} or {_one('c', '-1e100')})", [((), 0.0)], [((), 1.0)]),
    # The type of a metric is part of what is matched.
    (
        "vector(1) + ignoring (x) label_replace(vector(1), '__type__', 'gauge', '', '')",
        [],
        [((), 2.0)],
    ),
]


@pytest.mark.parametrize(("expr", "theirs", "ours"), BEFORE_3)
def test_known_differences(peers: Peers, expr: str, theirs: object, ours: object) -> None:
    """What generated expressions leave out, since it has changed; a newer Prometheus here would show that."""
    at_s = START_S // 10 * 10
    assert peers.their_vector(expr, at_s) == theirs
    assert peers.our_vector(expr, at_s) == ours


_WRITTEN = st.one_of(
    EXPRESSIONS,
    _of("{} + {} * {}", EXPRESSIONS, EXPRESSIONS, EXPRESSIONS),
    _of("sum by (a, b) (-{} ^ +{}) - +-{}", EXPRESSIONS, EXPRESSIONS, EXPRESSIONS),
)


@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(expr=_WRITTEN)
def test_the_same_layout(peers: Peers, expr: str) -> None:
    """`format_query` splits and indents alike, or both refuse the expression."""
    theirs = peers.layout(expr)
    try:
        ours = written(expr).pretty()
    except QueryError:
        assert theirs is None
        return
    assert ours == theirs
