"""The exposition formats: which one is chosen, and that other people's parsers read back what is stored."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from prom_probe.exposition.formats import ESCAPING, TEXT, choose
from prom_probe.exposition.text import Exposition
from prom_probe.model.family import Column, Family, MetricType, column
from prom_probe.model.labels import METRIC_NAME, Labels, make_labels
from prom_probe.model.meter import Meter
from prom_probe.model.series import Newest

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0;q=0.75,application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=0.0.4;q=0.25,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", TEXT.content_type),
        ("*/*", TEXT.content_type),
        ("text/plain", TEXT.content_type),
        ("text/html,application/xhtml+xml,*/*;q=0.8", TEXT.content_type),
        (PROMETHEUS_2, OPENMETRICS),
        (PROMETHEUS_3, f"{OPENMETRICS}; escaping=allow-utf-8"),
        ("application/openmetrics-text", OPENMETRICS),
        ("application/openmetrics-text;version=2.0.0", TEXT.content_type),
        ("application/openmetrics-text;q=0,text/plain;q=0.1", TEXT.content_type),
        ("application/openmetrics-text;q=0.1,text/plain;version=0.0.4;q=0.2", TEXT.content_type),
        ("text/plain;version=1.0.0", "text/plain; version=1.0.0; charset=utf-8; escaping=underscores"),
        (
            "text/plain;version=1.0.0;escaping=values,text/plain;q=0.9",
            "text/plain; version=1.0.0; charset=utf-8; escaping=values",
        ),
        ("application/json", TEXT.content_type),
        (";;;q=x,,=", TEXT.content_type),
        ("text/plain;q=high", TEXT.content_type),
    ],
)
def test_the_preferred_format_is_chosen(accept: str, content_type: str) -> None:
    """By weight, the first of equal ones; text 0.0.4 if none of ours is named."""
    assert choose(accept).content_type == content_type


@pytest.mark.parametrize(
    ("scheme", "name", "escaped"),
    [
        ("underscores", "my.metric/name", "my_metric_name"),
        ("underscores", "1a", "_a"),
        ("dots", "my.metric_name/x", "my_dot_metric__name__x"),
        ("values", "my_metric", "my_metric"),
        ("values", "my.metric_x", "U__my_2e_metric__x"),
        ("values", "größe", "U__gr_f6__df_e"),
        ("allow-utf-8", "my.metric", "my.metric"),
    ],
)
def test_names_that_are_not_classic(scheme: str, name: str, escaped: str) -> None:
    """The schemes of Prometheus's `escaping=`."""
    assert ESCAPING[scheme](name) == escaped


def _openmetrics(text: str) -> list[Any]:
    return list(parse_openmetrics(text))  # type: ignore[no-untyped-call]


def rows(columns: list[Column], values: list[float]) -> list[Newest]:
    return [Newest("c", 0, columns, 1000, struct.pack(f"<{len(values)}d", *values))]


def render(accept: str, columns: list[Column], values: list[float], **options: Any) -> str:
    return Exposition(choose(accept), **options).render(rows(columns, values)).decode()


CPU = Family("proctree_cpu_seconds_total", "counter", "CPU \\ time\nof all.", "seconds")
INFO = Family("app_info", "info", 'It is "it".')
RATIO = Family("fill_ratio", "gauge", "How full.", "ratio")
ODD = Family("events", "counter", "A counter whose name has no _total.")


def test_openmetrics_has_units_types_and_an_end() -> None:
    """Header lines name counters and infos without their endings."""
    text = render(
        OPENMETRICS, [column(CPU, tree="a"), column(INFO, v="1"), column(RATIO), column(ODD)], [1.5, 1, 0.5, 2]
    )
    assert text == (
        '# HELP app It is \\"it\\".\n# TYPE app info\napp_info{v="1"} 1\n'
        "# HELP events A counter whose name has no _total.\n# TYPE events unknown\nevents 2\n"
        "# HELP fill_ratio How full.\n# TYPE fill_ratio gauge\n# UNIT fill_ratio ratio\nfill_ratio 0.5\n"
        "# HELP proctree_cpu_seconds CPU \\\\ time\\nof all.\n# TYPE proctree_cpu_seconds counter\n"
        '# UNIT proctree_cpu_seconds seconds\nproctree_cpu_seconds_total{tree="a"} 1.5\n# EOF\n'
    )
    families = {family.name: family for family in _openmetrics(text)}
    assert families["proctree_cpu_seconds"].unit == "seconds"
    assert render(OPENMETRICS, [], []) == "# EOF\n"


def test_utf8_names_are_quoted_where_the_scraper_can_read_them() -> None:
    """And escaped where it cannot."""
    odd = Family("my.metric", "gauge", "Odd.")
    columns = [Column(odd, make_labels("my.metric", {"a.b": "x", "c": 'y"'}))]
    assert render("text/plain;version=1.0.0;escaping=allow-utf-8", columns, [1]) == (
        '# HELP "my.metric" Odd.\n# TYPE "my.metric" gauge\n{"my.metric","a.b"="x",c="y\\""} 1\n'
    )
    assert render("", columns, [1]) == (
        '# HELP my_metric Odd.\n# TYPE my_metric gauge\nmy_metric{a_b="x",c="y\\""} 1\n'
    )


def test_histograms_in_both_formats() -> None:
    """Bounds are floats in OpenMetrics."""
    meter = Meter()
    histogram = meter.histogram(Family("wait_seconds", "histogram", "Waiting.", "seconds"), (0.5, 1.0))
    for value in (0.1, 0.7, 3.0):
        histogram.observe(value)
    columns, values = list(meter.layout.columns), list(meter.layout.row)
    text = render(OPENMETRICS, columns, values)
    assert 'wait_seconds_bucket{le="1.0"} 2\n' in text
    (family,) = _openmetrics(text)
    assert family.type == "histogram" and len(family.samples) == 5
    assert 'wait_seconds_bucket{le="1"} 2\n' in render("", columns, values)


def test_only_certain_names() -> None:
    """`name[]` takes a family's name, or a series' own."""
    columns = [column(CPU, tree="a"), column(RATIO)]
    assert render("", columns, [1, 2], names={"fill_ratio"}).splitlines()[-1] == "fill_ratio 2"
    assert render("", columns, [1, 2], names={"nothing"}) == ""


_NAME = st.from_regex(r"[a-z][a-z_]{0,8}[a-z]", fullmatch=True)
_TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc"), include_characters='\n\\"'), max_size=12)
_VALUE = st.one_of(st.floats(allow_nan=True, allow_infinity=True), st.integers(-(10**15), 10**15).map(float))
_KIND = st.sampled_from(["counter", "gauge", "unknown"])
_SERIES = st.tuples(st.dictionaries(_NAME, _TEXT.filter(bool), max_size=3), _VALUE)
_FAMILIES = st.dictionaries(
    _NAME, st.tuples(_KIND, _TEXT, st.lists(_SERIES, min_size=1, max_size=3)), min_size=1, max_size=4
)


def _stored(families: dict[str, Any]) -> tuple[list[Column], list[float], dict[Labels, float]]:
    columns, values, stored = [], [], {}
    for number, (name, (kind, help_text, series)) in enumerate(families.items()):
        full = f"f{number}{name}x_total" if kind == "counter" else f"f{number}{name}x"
        metric_type: MetricType = kind
        family = Family(full, metric_type, help_text)
        for labels, any_value in series:
            # OpenMetrics' parser refuses a counter that is negative or NaN.
            value = any_value if kind != "counter" else abs(any_value) if any_value == any_value else 0.0
            one = column(family, **labels)
            if one.labels not in stored:
                columns.append(one)
                values.append(value)
                stored[one.labels] = value
    return columns, values, stored


def _same(found: dict[Labels, float], stored: dict[Labels, float]) -> bool:
    return found.keys() == stored.keys() and all(
        found[key] == value or (math.isnan(value) and math.isnan(found[key])) for key, value in stored.items()
    )


@given(_FAMILIES, st.sampled_from(["", OPENMETRICS]))
@settings(max_examples=30)
def test_parsers_read_back_what_is_stored(families: dict[str, Any], accept: str) -> None:
    """Any labels, values and help texts, by prometheus_client's two parsers."""
    columns, values, stored = _stored(families)
    parse: Any = parse_openmetrics if accept else parse_text
    found = {
        make_labels(sample.name, sample.labels): float(sample.value)
        for family in parse(render(accept, columns, values))
        for sample in family.samples
    }
    assert _same(found, stored)


def test_the_text_is_prometheus_clients() -> None:
    """Line by line what its `generate_latest` writes for the same families, except for `1.0`, our `1`."""
    registry = CollectorRegistry()
    counter = Counter("jobs", "Jobs \\ done.", ["kind"], registry=registry)
    counter.labels('a "b"\n').inc(3)
    counter.labels("c").inc(1.5)
    Gauge("level", "Level.", registry=registry).set(-0.25)
    histogram = Histogram("took", "Took.", buckets=(0.1, 1), registry=registry)
    histogram.observe(0.5)
    columns, values = [], []
    for family in registry.collect():
        kind: Any = family.type
        name = f"{family.name}_total" if kind == "counter" else family.name
        for sample in family.samples:
            if not sample.name.endswith("_created"):
                columns.append(
                    Column(Family(name, kind, family.documentation), make_labels(sample.name, sample.labels))
                )
                values.append(float(sample.value))

    def lines(text: str) -> set[str]:
        kept = [line for line in text.splitlines() if "_created" not in line]
        return {line.removesuffix(".0") if not line.startswith("#") else line for line in kept}

    ours = render("", columns, values)
    theirs = generate_latest(registry).decode()
    assert lines(ours) == lines(theirs)
    assert METRIC_NAME not in ours
