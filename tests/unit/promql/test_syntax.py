"""Expressions as they were written: Prometheus's layout, and the tree as JSON."""

from __future__ import annotations

from typing import Any

import pytest

from prom_probe.promql.functions import FUNCTIONS
from prom_probe.promql.result import QueryError
from prom_probe.promql.syntax import duration, written

LONG = 'requests_total{instance="another",job="some job with a name"}'

LAYOUTS = [
    ("sum(x)by(b,a)", "sum by (b, a) (x)"),
    ("SUM(x) BY (a)", "sum by (a) (x)"),
    ("sum by () (x)", "sum(x)"),
    ("sum without() (x)", "sum without () (x)"),
    ("topk(3,x)", "topk(3, x)"),
    ('count_values("v",x)', 'count_values("v", x)'),
    ('x{b="1",a=~"2"}offset -5m@3', 'x{a=~"2",b="1"} @ 3.000 offset -5m'),
    ('{__name__="x",a!~""}', '{__name__="x",a!~""}'),
    ('{"a.b",c="d"}', '{__name__="a.b",c="d"}'),
    ('x{"a.b"="c"}', 'x{"a.b"="c"}'),
    ('sum by ("a.b", c) (x)', 'sum by ("a.b", c) (x)'),
    ("x[300s]@ end()", "x[5m] @ end()"),
    ("x[1w1d:] offset 90m", "x[8d:] offset 1h30m"),
    ("x[604800]", "x[1w]"),
    ("+x", "+x"),
    ("-x^2", "-x ^ 2"),
    ("+x^-y", "+x ^ -y"),
    ("+-x*y", "+-x * y"),
    ("-+-(x)", "-+-(x)"),
    ("- +1", "-1"),
    ("-(1)", "-(1)"),
    ("1e10+0x1f-.5e-8", "10000000000 + 31 - 0.000000005"),
    ("inf*-NaN", "+Inf * NaN"),
    ("vector(90s)", "vector(1m30s)"),
    ("-1w", "-1w"),
    ("label_replace(x,'a',`b\"`,'c','d')", 'label_replace(x, "a", "b\\"", "c", "d")'),
    ("1<bool 2", "1 < bool 2"),
    ("x and y", "x and y"),
    ("x+ignoring()y", "x + y"),
    ("x+on()y", "x + on () y"),
    ("x*on(a)group_left y", "x * on (a) group_left () y"),
    ("x>bool ignoring(a,b)group_right(c)y", "x > bool ignoring (a, b) group_right (c) y"),
    ("x # of a kind\n+ y", "x + y"),
    ("x[5m*2+1]", "x[5m * 2 + 1]"),
    ("x[(5m+step())/2:range()]offset -(1m+30s)@start()", "x[(5m + step()) / 2:range()] @ start() offset -(1m + 30s)"),
    ("x offset MAX_OF(step(),-1m)", "x offset max_of(step(), -1m)"),
    ("x offset(5m)", "x offset 5m"),
    ("rate(x[5m]offset 1m anchored)", "rate(x[5m] anchored offset 1m)"),
    ("x smoothed@3", "x smoothed @ 3.000"),
    ("x+fill(0)y", "x + fill (0) y"),
    ("x/on(a)group_left fill_right(2)fill_left(-1)y", "x / on (a) group_left () fill_left (-1) fill_right (2) y"),
    ("STEP()+min_of(start(),end())", "step() + min_of(start(), end())"),
    (f"{LONG} > 0.123456789", f"{LONG} > 0.123456789"),
    (f"rate({LONG}[5m]) / rate({LONG}[5m])", f"  rate({LONG}[5m])\n/\n  rate({LONG}[5m])"),
    (
        f"sum by (job) ({LONG} + on (job) {LONG})",
        f"sum by (job) (\n    {LONG}\n  + on (job)\n    {LONG}\n)",
    ),
    (
        f"label_replace({LONG}, 'destination', '$1', 'source', '(.*)')",
        f'label_replace(\n  {LONG},\n  "destination",\n  "$1",\n  "source",\n  "(.*)"\n)',
    ),
    (
        f"-({LONG} - ({LONG}))",
        f"-(\n    {LONG}\n  -\n    ({LONG})\n)",
    ),
    # The indentation that Prometheus omits before a subquery.
    (
        f"max_over_time(sum_over_time(rate(prometheus_http_{LONG}[5m])[5m:1m])[10m:1m] @ start())",
        f"max_over_time(\n  sum_over_time(\nrate(prometheus_http_{LONG}[5m])[5m:1m]\n  )[10m:1m] @ start()\n)",
    ),
]


@pytest.mark.parametrize(("text", "layout"), LAYOUTS)
def test_layout(text: str, layout: str) -> None:
    """Lines of at most 100 bytes where they can be split; formatting the result again changes nothing."""
    assert written(text).pretty() == layout
    assert written(layout).pretty() == layout


def selector(kind: str = "vectorSelector", **more: Any) -> dict[str, Any]:
    return {
        "type": kind,
        "name": "x",
        "matchers": [{"name": "__name__", "type": "=", "value": "x"}],
        "offset": 0,
        "timestamp": None,
        "startOrEnd": None,
        "anchored": False,
        "smoothed": False,
        **more,
    }


def number(text: str) -> dict[str, str]:
    return {"type": "numberLiteral", "val": text}


def matching(card: str, **more: Any) -> dict[str, Any]:
    return {"card": card, "labels": [], "on": False, "include": [], "fillValues": {"lhs": None, "rhs": None}, **more}


RATE = {"name": "rate", "argTypes": ["matrix"], "variadic": 0, "returnType": "vector"}
ROUND = {"name": "round", "argTypes": ["vector", "scalar"], "variadic": 1, "returnType": "vector"}
TREES = [
    ("-5m", number("-300")),
    ("+Inf", number("+Inf")),
    ("'s'", {"type": "stringLiteral", "val": "s"}),
    ("(1)", {"type": "parenExpr", "expr": number("1")}),
    ("-x", {"type": "unaryExpr", "op": "-", "expr": selector()}),
    ("+x", {"type": "unaryExpr", "op": "+", "expr": selector()}),
    ("x @ 1.5 offset 1m", selector(timestamp=1500, offset=60_000)),
    (
        'x{a=~"b"} @ start()',
        selector(
            matchers=[{"name": "a", "type": "=~", "value": "b"}, {"name": "__name__", "type": "=", "value": "x"}],
            startOrEnd="start",
        ),
    ),
    ('{"x"}', selector(name="")),
    ("x smoothed", selector(smoothed=True)),
    ("x[1m + 30s] anchored", selector("matrixSelector", range=90_000, anchored=True)),
    ("x offset step()", selector(offset=0)),
    (
        "rate(x[5m])",
        {"type": "call", "func": RATE, "args": [selector("matrixSelector", range=300_000)]},
    ),
    ("round(x)", {"type": "call", "func": ROUND, "args": [selector()]}),
    (
        "x[5m:10s] @ end() offset -1s",
        {
            "type": "subquery",
            "expr": selector(),
            "range": 300_000,
            "step": 10_000,
            "offset": -1000,
            "timestamp": None,
            "startOrEnd": "end",
        },
    ),
    (
        "sum by (b, a) (x)",
        {
            "type": "aggregation",
            "op": "sum",
            "expr": selector(),
            "param": None,
            "grouping": ["b", "a"],
            "without": False,
        },
    ),
    (
        "topk without (a) (2, x)",
        {
            "type": "aggregation",
            "op": "topk",
            "expr": selector(),
            "param": number("2"),
            "grouping": ["a"],
            "without": True,
        },
    ),
    (
        "1 > bool 2",
        {"type": "binaryExpr", "op": ">", "lhs": number("1"), "rhs": number("2"), "matching": None, "bool": True},
    ),
    *(
        (
            text,
            {"type": "binaryExpr", "op": op, "lhs": selector(), "rhs": selector(), "matching": how, "bool": False},
        )
        for text, op, how in (
            ("x + x", "+", matching("one-to-one")),
            ("x or x", "or", matching("many-to-many")),
            ("x / on (a) group_left (b) x", "/", matching("many-to-one", on=True, labels=["a"], include=["b"])),
            ("x + fill_left (1) x", "+", matching("one-to-one", fillValues={"lhs": 1.0, "rhs": None})),
            ("x ^ ignoring (a) group_right x", "^", matching("one-to-many", labels=["a"])),
        )
    ),
]


@pytest.mark.parametrize(("text", "tree"), TREES)
def test_tree(text: str, tree: dict[str, Any]) -> None:
    """The JSON that Prometheus's own pages read."""
    assert written(text).json == tree


def test_deep_expressions() -> None:
    """Every query within the guard's bounds has a layout."""
    nested = "(" * 100 + "x" + ")" * 100
    assert written(nested).pretty().count("\n") == 50 * 2 + 2
    chain = "x" + " + x" * 200
    assert written(chain).pretty().count("+") == 200


@pytest.mark.parametrize("text", ["", "sum(", "rate(x)", "+x[5m]", "nothing(x)"])
def test_errors(text: str) -> None:
    """The errors are those of the engine's parser."""
    with pytest.raises(QueryError, match="parse error"):
        written(text)


@pytest.mark.parametrize(
    ("ms", "text"),
    [(0, "0s"), (1, "1ms"), (90_061_001, "1d1h1m1s1ms"), (31_536_000_000, "1y"), (31_622_400_000, "366d")],
)
def test_durations(ms: int, text: str) -> None:
    """Prometheus's notation: years and weeks only where nothing is left over."""
    assert duration(ms) == text


def test_signatures() -> None:
    """What `parse_query` says about functions with optional arguments."""
    optional = {name: function.optional for name, function in FUNCTIONS.items() if function.optional}
    dates = ("hour", "minute", "month", "year", "day_of_month", "day_of_week", "day_of_year", "days_in_month")
    assert optional == {
        **dict.fromkeys(dates, 1),
        "round": 1,
        "info": 1,
        "histogram_quantiles": 8,
        "label_join": -1,
        "sort_by_label": -1,
        "sort_by_label_desc": -1,
    }
