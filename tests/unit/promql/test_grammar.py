"""PromQL's grammar against promql-parser's, on expressions drawn at random, and on bytes that are none."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prom_probe.model.labels import METRIC_NAME
from prom_probe.promql.lexer import lex
from prom_probe.promql.parser import parse, selectors
from prom_probe.promql.result import QueryError
from prom_probe.promql.syntax import written
from prom_probe.promql.tokens import MAX_BYTES
from tests.support.promql_grammar import EXPLAINED, difference, explanation, expressions

SEED, COUNT = 20, 2000


def test_trees_are_those_of_promql_parser() -> None:
    """The same tree, or both refuse the text; what differs is listed in EXPLAINED."""
    found = [one for text in expressions(COUNT, SEED) if (one := difference(text)) is not None]
    assert [one for one in found if not explanation(one)] == []
    assert len(found) < COUNT / 20


DIFFERENCES = ["1_000", "+x[5m]", "ln(Inf)", 'sum by ("") (x)']


@pytest.mark.parametrize("text", DIFFERENCES)
def test_each_explanation_is_needed(text: str) -> None:
    """No explanation outlives the difference that it is for."""
    found = difference(text)
    assert found is not None
    assert explanation(found) == EXPLAINED[DIFFERENCES.index(text)][2]


def _ordered(json: Any) -> Any:
    """A tree with its matchers in order."""
    if isinstance(json, list):
        return sorted(map(_ordered, json), key=repr) if json and "value" in json[0] else list(map(_ordered, json))
    return {key: _ordered(value) for key, value in json.items()} if isinstance(json, dict) else json


def test_a_layout_keeps_its_meaning() -> None:
    """A formatted expression parses to the same tree, but for the order of matchers, and is formatted alike."""
    agreed = 0
    for text in expressions(500, SEED):
        try:
            layout = written(text)
        except QueryError:
            continue
        again = written(layout.pretty())
        assert _ordered(again.json) == _ordered(layout.json), text
        assert again.pretty() == layout.pretty()
        agreed += 1
    assert agreed > 200


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_bytes_give_a_node_or_a_clear_error(data: bytes) -> None:
    """Nothing but QueryError comes out of the parser."""
    try:
        parse(data.decode(errors="surrogateescape"))
    except QueryError as error:
        assert error.kind == "bad_data"


REPEATED = [
    "(",
    "x[",
    "{",
    "-",
    "1+",
    "x or ",
    "a,",
    '{a="b",',
    "sum by (",
    "# ",
    " ",
    "\n",
    '"',
    "\\",
    "x[5m:",
    "0x",
    "é",
]


@pytest.mark.parametrize("unit", REPEATED)
def test_tokens_grow_with_the_text(unit: str) -> None:
    """Each token takes at least one character, and lexing stops at the first error."""
    text = (unit * MAX_BYTES)[: MAX_BYTES // 2]
    tokens = list(lex(text))
    assert len(tokens) <= len(text) + 1
    places = [token.start for token in tokens]
    assert places == sorted(places)
    assert tokens[-1].kind in ("end", "error")
    with pytest.raises(QueryError):
        parse(text)


def test_pieces_of_the_language_in_any_order() -> None:
    """Long texts of valid tokens end in a node or an error."""
    draw = random.Random(SEED)
    pieces = [
        "x",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "5m",
        "1",
        "offset",
        "@",
        "sum",
        "by",
        "on",
        "+",
        "-",
        "^",
        ",",
        ":",
        '"a"',
        "=",
    ]
    for _ in range(200):
        text = " ".join(draw.choices(pieces, k=draw.randrange(1, 400)))
        try:
            parse(text)
        except QueryError as error:
            assert error.kind == "bad_data"


# Forms of dashboards and rule files, each with the names of the metrics that it reads.
FORMS = [
    ("up == 0 or absent(up{job='node'})", "up up"),
    ('100 - (avg by(instance) (irate(cpu_seconds_total{mode="idle"}[5m])) * 100)', "cpu_seconds_total"),
    ("sum(rate(a_total[1m])) BY (job) / SUM(rate(b_total[1m])) BY (job)", "a_total b_total"),
    ("histogram_quantile(0.99, sum(rate(d_bucket[5m])) by (le, job)) > 1", "d_bucket"),
    ("topk(5, sum without(pod,) (x)) # the largest\n", "x"),
    (
        "predict_linear(free_bytes[6h], 24*60*60) < 0 and free_bytes / size_bytes < .15",
        "free_bytes free_bytes size_bytes",
    ),
    ('label_replace(x, "dst", "$1", "src", "(.*):\\\\d+")', "x"),
    ("x * on(pod) group_left(node) max by (pod, node) (topk by (pod) (1, info))", "x info"),
    ("(\n  a\n  -\n  b offset 1w\n)\n/\nb offset 1w", "a b b"),
    ("max_over_time((time() - last_seconds > 300)[1h:5m])", "last_seconds"),
    ("count(count by (name) ({name=~'.+', job!~\"a|b\"}))", ""),
    ("job:x:rate5m{job='a'} > bool 0.5 * 2", "job:x:rate5m"),
    ("clamp_max(sum(x) by () / scalar(sum(y)), 1) unless on() z == 1", "x y z"),
    ("increase(x_total[1d12h]) > 0", "x_total"),
    ("avg(x{a=~`\\d+`}) without (a) != 0", "x"),
    ("rate(x[5m] offset -1h) @ 1", None),
    ("sum by (le) ({'my.metric', \"label name\"='v'})", "my.metric"),
    ("vector(1) and on() hour() >= 9 < 17", ""),
    ("x @ end() - x @ start()", "x x"),
    ("quantile_over_time(scalar(q), x[10m:])", "q x"),
    ("-x ^ 2 % 3", "x"),
    ("max(step() * 2) or vector(range())", None),
    ("rate(x[max_of(step(), 1m)]) / (end() - start())", "x"),
    ("sum(rate(x[4 * step() + 15s])) by (a)", "x"),
    ("ALERTS{alertstate='firing'} and ignoring(severity) x", "ALERTS x"),
]


@pytest.mark.parametrize(("text", "metrics"), FORMS)
def test_forms_of_dashboards_and_rules(text: str, metrics: str | None) -> None:
    """They parse, to selectors of these metrics; None: it is refused."""
    if metrics is None:
        with pytest.raises(QueryError):
            parse(text)
        return
    found = [one.value for selector in selectors(parse(text)) for one in selector.matchers if one.name == METRIC_NAME]
    assert found == metrics.split()
