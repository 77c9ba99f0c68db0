"""Pages of metrics: what is read from one page after another is what prometheus_client reads from each alone."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from itertools import cycle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from prom_probe.collectors.scrape.exposition_error import ExpositionError
from prom_probe.collectors.scrape.page import ExpositionPage, PageLimits
from prom_probe.collectors.scrape.target_labels import LabelLimits, TargetLabels
from prom_probe.model.family import Family
from prom_probe.model.labels import METRIC_NAME, format_labels
from prom_probe.model.sample import is_stale

Samples = dict[tuple[str, frozenset[tuple[str, str]]], bytes]


def bits(value: float) -> bytes:
    return b"nan" if math.isnan(value) else struct.pack("<d", value)


def samples(page: ExpositionPage) -> Samples:
    """What the newest page has."""
    return {
        (series.name, frozenset(pair for pair in series.labels if pair[0] != METRIC_NAME)): bits(value)
        for series, value in zip(page.series, page.values, strict=True)
        if not is_stale(value)
    }


def parsed(text: str, openmetrics: bool) -> Samples:
    """What prometheus_client has read: the first of equals, empty labels left out."""
    found: Samples = {}
    parse = parse_openmetrics if openmetrics else parse_text
    for family in parse(text):
        for sample in family.samples:
            labels = frozenset((key, value) for key, value in sample.labels.items() if value)
            found.setdefault((sample.name, labels), bits(sample.value))
    return found


FINISH = TargetLabels({}).finish


def read(text: str, openmetrics: bool = False) -> ExpositionPage:
    page = ExpositionPage(PageLimits(), FINISH)
    page.read(text.encode(), openmetrics)
    return page


def escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


names = st.sampled_from(["a", "b_total", "c:d", "e_bucket", "f"])
# prometheus_client splits lines where Python does, Prometheus at \n alone.
values = st.text(st.sampled_from('ab\\"\n{},=# 1ü€'), max_size=5)
labels = st.dictionaries(st.sampled_from(["x", "y", "le", "job", "instance"]), values, max_size=3)
numbers = st.floats() | st.integers(-5, 5)


@st.composite
def lines(draw: st.DrawFn) -> tuple[str, str]:
    """A series and a value, as they would stand in a line."""
    pairs = ",".join(f'{key}="{escaped(value)}"' for key, value in draw(labels).items())
    number = draw(numbers)
    value = "+Inf" if number == math.inf else "-Inf" if number == -math.inf else str(number).replace("nan", "NaN")
    return draw(names) + (f"{{{pairs}}}" if pairs or draw(st.booleans()) else ""), value


@st.composite
def pages(draw: st.DrawFn) -> list[list[tuple[str, str]]]:
    """Pages that follow each other: many have the series of the one before."""
    found = [draw(st.lists(lines(), max_size=6))]
    for _ in range(draw(st.integers(0, 5))):
        count = len(found[-1])
        kept = draw(st.lists(st.booleans(), min_size=count, max_size=count))
        page = list(found[-1])
        for i, keep in enumerate(kept):
            if not keep:
                page[i] = (page[i][0], draw(lines())[1])
        if draw(st.integers(0, 1)):
            page.extend(draw(st.lists(lines(), max_size=2)))
        if len(page) > 1 and draw(st.booleans()):
            page.pop(draw(st.integers(0, len(page) - 1)))
        if draw(st.integers(0, 5)) == 0:
            page = list(draw(st.permutations(page)))
        found.append(page)
    return found


@given(pages(), st.lists(st.sampled_from([" {}", "  {}", "\t{}", " {} 17", " {}\t1395066363000 "]), min_size=1))
@settings(max_examples=100)
def test_a_page_after_others_is_what_it_is_alone(
    sequence: Sequence[Sequence[tuple[str, str]]], writings: list[str]
) -> None:
    """The shortcuts for what is known change nothing: the same as prometheus_client, and as a fresh reader."""
    page = ExpositionPage(PageLimits(), FINISH)
    writing = cycle(writings)
    for rows in sequence:
        written = [name + next(writing).format(value) + "\n" for name, value in rows]
        text = "# HELP f Help.\n# TYPE f gauge\n" + "".join(written)
        assert page.read(text.encode(), False).samples == len(rows)
        assert samples(page) == parsed(text, False) == samples(read(text))


@given(pages(), st.lists(st.sampled_from(["", " 17.5", " # {} 1", ' # {x="}"} 0.5 17.5', " 5 # {} 1"]), min_size=1))
@settings(max_examples=100)
def test_an_openmetrics_page_too(sequence: Sequence[Sequence[tuple[str, str]]], tails: list[str]) -> None:
    """The same for OpenMetrics, line by line: as a whole, prometheus_client refuses what Prometheus takes."""
    page = ExpositionPage(PageLimits(), FINISH)
    tail = cycle(tails)
    for rows in sequence:
        ends = [next(tail) if name.partition("{")[0].endswith(("_total", "_bucket")) else "" for name, _ in rows]
        text = "".join(f"{name} {value}{end}\n" for (name, value), end in zip(rows, ends, strict=True)) + "# EOF\n"
        page.read(text.encode(), True)
        expected: Samples = {}
        for name, value in rows:
            expected = parsed(f"{name} {value}\n# EOF\n", True) | expected
        assert samples(page) == expected == samples(read(text, True))


@given(
    st.lists(st.text(st.sampled_from('ab{}=",\\ \t\n#1.eE+-NaInf_HELPTYOUC'), max_size=40), max_size=4), st.booleans()
)
@settings(max_examples=250)
def test_nonsense_is_an_error_and_changes_nothing(texts: list[str], openmetrics: bool) -> None:
    """Any bytes give a page or an ExpositionError, after which everything is as before."""
    page = read("a 1\n")
    for text in texts:
        before = samples(page)
        try:
            page.read(text.encode(), openmetrics)
        except ExpositionError as error:
            assert error.reason == "parse"
            assert samples(page) == before
        else:
            assert samples(page) == samples(read(text, openmetrics))


def test_what_is_new_is_counted() -> None:
    """Samples, and series that the page before had not, as Prometheus counts them."""
    page = ExpositionPage(PageLimits(), FINISH)
    assert page.read(b"a 1\nb 2\n", False) == (2, 2, 2)
    assert page.read(b"a 2\nb 3\n", False) == (2, 2, 0)
    assert page.read(b"b 3\nc 1\nc 2\n", False) == (3, 3, 1)
    assert page.read(b"", False) == (0, 0, 0)
    assert page.read(b"a 2\nb 3\n", False) == (2, 2, 1)
    with pytest.raises(ExpositionError) as error:
        page.read(b"a 1\nd 2\nno", False)
    assert (error.value.samples, error.value.kept, error.value.added) == (2, 2, 1)


@pytest.mark.parametrize(
    ("text", "limits", "reason"),
    [
        ("a 1\nb 1\nc 1\n", LabelLimits(), "samples"),
        ("#\n" * 2000, LabelLimits(), "samples"),
        ('a{x="1",y="2"} 1\n', LabelLimits(labels=2), "labels"),
        ('a{longer_name="1"} 1\n', LabelLimits(name_bytes=8), "labels"),
        ('{"a","lange_größe"="1"} 1\n', LabelLimits(name_bytes=12), "labels"),
        ('a{x="12345"} 1\n', LabelLimits(value_bytes=4), "labels"),
        ("a\n", LabelLimits(), "parse"),
    ],
)
def test_what_is_over_a_limit_is_refused(text: str, limits: LabelLimits, reason: str) -> None:
    """As a whole, and what fits is taken afterwards."""
    page = ExpositionPage(PageLimits(samples=2, lines=1000), TargetLabels({}, limits=limits).finish)
    for _ in range(2):
        with pytest.raises(ExpositionError) as error:
            page.read(text.encode(), False)
        assert error.value.reason == reason
    page.read(b"a 1\n", False)
    assert len(samples(page)) == 1


def test_series_that_come_and_go_do_not_pile_up() -> None:
    """After a thousand pages with other series each, the places are few."""
    page = ExpositionPage(PageLimits(), FINISH)
    for i in range(1000):
        text = f'stays 1\ncomes{{i="{i}"}} {i}\ncomes{{i="{i + 1}"}} 1\n'
        page.read(text.encode(), False)
        page.maybe_compact()
        assert samples(page) == parsed(text, False)
        assert len(page.series) == len(page.values) < 300
    assert page.epoch > 2


OM_HEAD = "# TYPE c counter\n# HELP c C.\n# TYPE h_seconds histogram\n# UNIT h_seconds seconds\n# TYPE i info\n"


@pytest.mark.parametrize(
    ("head", "sample", "family"),
    [
        ("# HELP a A \\\\ B\\nC.\n# TYPE a counter\n", "a", Family("a", "counter", "A \\ B\nC.")),
        ("# TYPE a histogram\n", 'a_bucket{le="1"}', Family("a", "histogram", "")),
        ("# TYPE a histogram\n", "a_count", Family("a", "histogram", "")),
        ("# TYPE a summary\n", 'a{quantile="1"}', Family("a", "summary", "")),
        ("# TYPE a gauge\n", "a_count", Family("a_count", "unknown", "")),
        ("# TYPE a untyped\n", "a", Family("a", "unknown", "")),
        ("", "a", Family("a", "unknown", "")),
        (OM_HEAD, "c_total", Family("c_total", "counter", "C.")),
        (OM_HEAD, "c_created", Family("c_created", "gauge", "C.")),
        (OM_HEAD, "h_seconds_sum", Family("h_seconds", "histogram", "", "seconds")),
        (OM_HEAD, "i_info", Family("i_info", "info", "")),
    ],
)
def test_a_series_family_is_as_the_text_format_has_it(head: str, sample: str, family: Family) -> None:
    """Its name and type, whatever the format of the page."""
    openmetrics = head is OM_HEAD
    page = read(f"{head}{sample} 1\n" + "# EOF\n" * openmetrics, openmetrics)
    assert page.series[0].family == family


def test_a_type_that_changes_is_another_series() -> None:
    """All series begin anew, with what the page says now."""
    page = read("# TYPE a counter\na 1\nb 2\n")
    epoch = page.epoch
    page.read(b"# TYPE a gauge\na 1\nb 2\n", False)
    assert page.epoch > epoch
    assert [series.family.type for series in page.series] == ["gauge", "unknown"]


def test_names_beyond_ascii() -> None:
    """Prometheus 3's quoted names, in either place."""
    page = read('{"my.name","a.b"="1"} 5\n# TYPE "my.name" gauge\n')
    assert samples(page) == {("my.name", frozenset({("a.b", "1")})): bits(5)}
    page.read(b'# TYPE "my.name" gauge\n{"my.name"} 5\n', False)
    assert page.series[-1].family == Family("my.name", "gauge", "")


@pytest.mark.parametrize(
    ("written", "openmetrics", "meant"),
    [
        (r"a\\nb", False, r"a\nb"),
        (r"a\nb\\", False, "a\nb\\"),
        (r"a\"b\t", False, r"a\"b\t"),
        (r"a\"b\\\"\n", True, 'a"b\\"\n'),
    ],
)
def test_help_texts_are_unescaped(written: str, openmetrics: bool, meant: str) -> None:
    """As each format has it: quotes in OpenMetrics alone."""
    page = ExpositionPage(PageLimits(), FINISH)
    page.read(f"# HELP a {written}\na 1\n{'# EOF' * openmetrics}".encode(), openmetrics)
    assert page.series[0].family.help == meant


def stored(text: str, openmetrics: bool = False) -> list[str]:
    """The series of a page, as Prometheus writes them."""
    return [format_labels(series.labels) for series in read(text, openmetrics).series]


@pytest.mark.parametrize(
    ("text", "openmetrics", "series"),
    [
        ("# TYPE h histogram\nh_bucket{le='1'} 1\n".replace("'", '"'), False, 'h_bucket{le="1.0"}'),
        ('# TYPE s summary\ns{quantile="0"} 1\n', False, 's{quantile="0.0"}'),
        ('# TYPE h histogram\n# TYPE h_x gauge\nh_bucket{le="1"} 1\n', False, 'h_bucket{le="1"}'),
        ('# TYPE other histogram\nh{le="1",quantile="1"} 1\n', False, 'h{le="1.0", quantile="1"}'),
        ('h_bucket{le="1"} 1\n', False, 'h_bucket{le="1"}'),
        ('# TYPE h histogram\nh_bucket{le="1"} 1\n# EOF\n', True, 'h_bucket{le="1.0"}'),
        ('# TYPE h gaugehistogram\nh_bucket{le="1"} 1\n# EOF\n', True, 'h_bucket{le="1"}'),
        ('a{x="1" y="2"} 1\n', False, 'a{x="1", y="2"}'),
        ('a{x="1"y="2"} 1\n', False, 'a{x="1", y="2"}'),
        ('a{ x = "1" , y="2" , }1\n', False, 'a{x="1", y="2"}'),
        ('a{__x__="1",__y="2"} 1\n', False, 'a{__x__="1", __y="2"}'),
        ('{x="1" "a"} 1\n', False, 'a{x="1"}'),
        ('{"a" , x="1"} 1\n', False, 'a{x="1"}'),
        ('a{"x"="1"} 1\n', False, 'a{x="1"}'),
        ('a{x="\n1\n\n",y="\\"\n"} 1\n# HELP b "\n', False, 'a{x="\\n1\\n\\n", y="\\"\\n"}'),
        ('a{x="}",y="{ # \\"a\\" 1"} 1\n', False, 'a{x="}", y="{ # \\"a\\" 1"}'),
        ('a{x="1",} 1\n# EOF\n', True, 'a{x="1"}'),
        ('{"a","x.y"="1",} 1\n# EOF\n', True, 'a{x.y="1"}'),
        ('a 1 # {x="1",} 2 3\n# EOF\n', True, "a"),
        ('a 1 2 # {"x.y"="1"} 2\n# EOF\n', True, "a"),
    ],
)
def test_what_prometheus_3_takes(text: str, openmetrics: bool, series: str) -> None:
    """And as it stores it: bounds by the type that the page gave last, whatever that was about."""
    assert stored(text, openmetrics) == [series]


@pytest.mark.parametrize(
    ("text", "openmetrics"),
    [
        ('{"a" x="1"} 1\n', False),
        ('{"a","b"} 1\n', False),
        ('a{"b"} 1\n', False),
        ('{x="1"} 1\n', False),
        ('{"",x="1"} 1\n', False),
        ('a{""="1"} 1\n', False),
        ("{} 1\n", False),
        ('a{x="1",,y="2"} 1\n', False),
        ('a{x="1"}{y="2"} 1\n', False),
        ('a{__name__="b"} 1\n', False),
        ("a 1 99999999999999999999\n", False),
        ('a{x="1\\\n2"} 1\n', False),
        ('a{x="1"\n,y="2"} 1\n', False),
        ('a{x="1\n2"} 1\n# EOF\n', True),
        ('a{x="1" y="2"} 1\n# EOF\n', True),
        ("a 1 1e300\n# EOF\n", True),
        ("a 1 1e999\n# EOF\n", True),
        ('a 1 # {x="1",,} 2\n# EOF\n', True),
        ('a 1 # {"x"} 2\n# EOF\n', True),
    ],
)
def test_what_prometheus_3_refuses(text: str, openmetrics: bool) -> None:
    """The whole page."""
    with pytest.raises(ExpositionError) as error:
        read(text, openmetrics)
    assert error.value.reason == "parse"


def test_a_line_that_nearly_is_a_sample_is_given_up_soon() -> None:
    """Labels without commas leave the expression no two ways to read them."""
    for tail in ("", ' "', "x", '="1" 1'):
        line = "a{" + 'x="1"' * 20_000 + tail
        with pytest.raises(ExpositionError):
            read(line + "\n")


def test_bytes_that_are_not_utf8_are_a_mistake_but_in_remarks() -> None:
    """As in Prometheus: a help text's are one, those of any other comment are not."""
    page = ExpositionPage(PageLimits(), FINISH)
    assert page.read(b"# g\xe9n\xe9r\xe9\nb 1\n#\xff", False).samples == 1
    for body in (b"# HELP b \xff\n", b'b{x="\xff"} 1\n', b'{"b\xff"} 1\n', b"b 1\xff\n", b"b\xff 1\n"):
        with pytest.raises(ExpositionError, match=r"^line 2: "):
            page.read(b"a 1\n" + body, False)


def test_a_mistake_behind_a_line_break_has_its_line() -> None:
    """And a value that never ends is a mistake in the line where it begins."""
    for text, line in (('a{x="\n\n"} 1\nb\n', 4), ('a 1\na{x="\n' + "a 1\n" * 10_000, 2)):
        with pytest.raises(ExpositionError, match=f"^line {line}: "):
            read(text)


def test_timestamps_that_count_go_their_own_way() -> None:
    """With honor_timestamps: they are no part of the row, and what has none is."""
    page = ExpositionPage(PageLimits(), FINISH, honor_timestamps=True)
    for value in (1, 2):
        assert page.read(f"a {value} 1000\nb {value}\na 7 2000\n".encode(), False).samples == 3
        assert samples(page) == {("b", frozenset()): bits(value)}
        assert [(t_ms, number) for _, t_ms, number in page.stamped] == [(1000, value), (2000, 7)]
    page.read(b"a 1 1.5\n# EOF\n", True)
    assert page.stamped == [(((METRIC_NAME, "a"),), 1500, 1.0)]
    page.read(b"a 1\n", False)
    assert page.stamped == [] and samples(page) == {("a", frozenset()): bits(1)}
