"""`/metrics` is valid in each format, whatever two targets say at once, and what it leaves out is counted."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from prom_probe.collectors.scrape.collector import ScrapeCollector, Target
from prom_probe.collectors.scrape.exposed import Exposed
from prom_probe.collectors.scrape.families import UNEXPOSED
from prom_probe.collectors.scrape.target_labels import TargetLabels
from prom_probe.exposition.formats import choose
from prom_probe.exposition.text import Exposition
from prom_probe.model.series import Newest
from prom_probe.sources.http_page import Page

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
FORMATS = ["", OPENMETRICS, "text/plain; version=1.0.0; escaping=allow-utf-8", f"{OPENMETRICS}; escaping=allow-utf-8"]

TYPED = "# TYPE h histogram\n" + 'h_bucket{le="1"} 1\nh_bucket{le="+Inf"} 2\nh_sum 3\nh_count 2\n'
UNTYPED = 'h_bucket{le="1"} 10\nh_bucket{le="+Inf"} 20\nh_sum 30\nh_count 20\n'
SUMMARY = '# TYPE s summary\ns{quantile="0.5"} 1\ns_sum 3\n# TYPE s_count counter\ns_count 5\n'


class OnePage:
    """A target whose page never changes."""

    def __init__(self, text: str) -> None:
        self.page = Page(text.encode(), "text/plain")

    def read(self, timeout_s: float) -> Page:
        return self.page

    def close(self) -> None: ...


def scraped(*pages: str) -> list[ScrapeCollector]:
    """A collector for each page; all of each is chosen."""
    exposed = Exposed([".*"])
    made = []
    for i, text in enumerate(pages):
        labels = TargetLabels({"job": f"job{i}", "instance": "h:1"})
        made.append(ScrapeCollector(Target(f"job{i}", labels, 1), OnePage(text), exposed, lambda level, text: None))
    for _ in range(2):
        for one in made:
            one.collect()
    return made


def lines(accept: str, collectors: list[ScrapeCollector]) -> list[str]:
    """The sample lines of what they show; the whole text has been parsed."""
    rows = [Newest(c.name, c.layout.number, c.layout.columns, 1000, c.layout.row.tobytes()) for c in collectors]
    text = Exposition(choose(accept)).render(rows).decode()
    families: list[Any] = list(parse_openmetrics(text) if "openmetrics" in accept else parse_text(text))  # type: ignore[no-untyped-call]
    found = [line for line in text.splitlines() if line[0] != "#"]
    assert sum(len(family.samples) for family in families) == len(found)
    assert len({line.rpartition(" ")[0] for line in found}) == len(found)
    typed = [line.split(" ")[2] for line in text.splitlines() if line.startswith("# TYPE ")]
    assert len(set(typed)) == len(typed)
    return [line for line in found if not line.startswith("prom_probe_")]


def left_out(collectors: list[ScrapeCollector]) -> float:
    return sum(
        value
        for one in collectors
        for column, value in zip(one.layout.columns, one.layout.row, strict=True)
        if column.family.name == UNEXPOSED.family.name
    )


@pytest.mark.parametrize("accept", FORMATS)
def test_who_came_first_keeps_the_names(accept: str) -> None:
    """A histogram beside its parts without a type; a summary beside a counter of a part's name, which is that part."""
    both = scraped(TYPED, UNTYPED)
    assert len(lines(accept, both)) == 4 and left_out(both) == 4
    other_way = scraped(UNTYPED, TYPED)
    assert len(lines(accept, other_way)) == 4 and left_out(other_way) == 4
    one = scraped(SUMMARY)
    assert len(lines(accept, one)) == 3 and left_out(one) == 0
    mixed = scraped(SUMMARY.partition("# TYPE s_count")[0], "# TYPE s_count counter\ns_count 5\n")
    assert len(lines(accept, mixed)) == 2 and left_out(mixed) == 1


NAMES = ["a", "a_total", "a_sum", "a_count", "a_bucket", "a_created", "a_info", "a.b", "a_b", "a_total_total"]
TYPES = ["counter", "gauge", "histogram", "summary", "untyped", ""]


@st.composite
def pages(draw: st.DrawFn) -> str:
    """A page whose families are valid each by itself, as far as the text format knows."""
    text: list[str] = []
    wholes: list[str] = []
    for name in sorted(draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=4))):
        if name.endswith(("_sum", "_count", "_bucket")) and name.rpartition("_")[0] in wholes:
            continue  # a page that contradicts itself
        kind = draw(st.sampled_from(TYPES))
        quoted = f'"{name}"' if "." in name else name
        if kind:
            text.append(f"# TYPE {quoted} {kind}")
        wholes += [name] * (kind in ("histogram", "summary"))
        if kind == "histogram":
            bounds = (("_bucket", 'le="1"', 1), ("_bucket", 'le="+Inf"', 2), ("_sum", "", 3), ("_count", "", 2))
            text += [sample(name + ending, label, value) for ending, label, value in bounds]
        elif kind == "summary":
            parts = (("", 'quantile="0.5"', 1), ("_sum", "", 3), ("_count", "", 2))
            text += [sample(name + ending, label, value) for ending, label, value in parts]
        else:
            label = draw(st.sampled_from(["", 'x="1"', '"x.y"="1"', '__x="1"', 'le="1"']))
            text.append(sample(name, label, draw(st.integers(0, 3))))
    return "".join(f"{line}\n" for line in text)


def sample(name: str, label: str, value: int) -> str:
    if "." in name:
        return f'{{"{name}"{"," * bool(label)}{label}}} {value}'
    return f"{name}{{{label}}} {value}"


@example(first=TYPED, second='# TYPE h_created gauge\nh_created{x="1"} 0\n')
@example(first=TYPED, second='# TYPE h_created gauge\nh_created{le="1"} 0\n')
@example(first=SUMMARY, second='# TYPE s_created gauge\ns_created{quantile="0.5"} 0\n')
@given(first=pages(), second=pages())
@settings(max_examples=150, deadline=None)
def test_any_two_pages_make_a_valid_one(first: str, second: str) -> None:
    """In each format prometheus_client's strict parsers read every line, once, under one type."""
    both = scraped(first, second)
    for accept in FORMATS:
        lines(accept, both)
