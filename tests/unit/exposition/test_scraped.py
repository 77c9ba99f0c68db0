"""What --scrape.expose passes on: in each format, prometheus_client's parsers read what the page had."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Enum, Gauge, Histogram, Info, Summary, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from prom_probe.collectors.scrape.collector import ScrapeCollector, Target
from prom_probe.collectors.scrape.exposed import Exposed
from prom_probe.collectors.scrape.target_labels import TargetLabels
from prom_probe.exposition.formats import choose
from prom_probe.exposition.text import Exposition
from prom_probe.model.series import Newest
from prom_probe.sources.http_page import Page

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
OPENMETRICS_UTF8 = f"{OPENMETRICS}; escaping=allow-utf-8"
TEXT_UTF8 = "text/plain; version=1.0.0; escaping=allow-utf-8"
FORMATS = ["", TEXT_UTF8, OPENMETRICS, OPENMETRICS_UTF8]


class Pages:
    """A target whose page never changes."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def read(self, timeout_s: float) -> Page:
        return self.page

    def close(self) -> None: ...


def collector(
    body: bytes | str, content_type: str, job: str = "app", exposed: Exposed | None = None
) -> ScrapeCollector:
    """A collector that has scraped this page."""
    page = Page(body.encode() if isinstance(body, str) else body, content_type)
    made = ScrapeCollector(
        Target(job, TargetLabels({"job": job, "instance": "h:1"}), 1),
        Pages(page),
        exposed or Exposed([".*"]),
        lambda level, text: None,
    )
    made.collect()
    return made


def render(accept: str, *collectors: ScrapeCollector) -> str:
    """Their part of `/metrics`, without our own metrics."""
    rows = [Newest(c.name, c.layout.number, c.layout.columns, 1000, c.layout.row.tobytes()) for c in collectors]
    names = {
        c.family.name for one in collectors for c in one.layout.columns if not c.family.name.startswith("prom_probe")
    }
    return Exposition(choose(accept), names).render(rows).decode()


def parse(accept: str, text: str) -> list[Any]:
    return list(parse_openmetrics(text) if "openmetrics" in accept else parse_text(text))  # type: ignore[no-untyped-call]


def samples(families: list[Any]) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """By name and labels, bounds as numbers."""
    found = {}
    for family in families:
        for sample in family.samples:
            labels = {k: str(float(v)) if k in ("le", "quantile") else v for k, v in sample.labels.items()}
            found[sample.name, frozenset(labels.items())] = float(sample.value)
    return found


def registry() -> CollectorRegistry:
    """All that prometheus_client has, two series each where there are labels."""
    made = CollectorRegistry()
    counter = Counter("jobs", 'Jobs \\ "done".\nAll.', ["kind"], registry=made)
    timed = Counter("busy_seconds", "Busy.", unit="seconds", registry=made)
    histogram = Histogram("took_seconds", "Took.", ["kind"], unit="seconds", buckets=(0.1, 1), registry=made)
    summary = Summary("size_bytes", "Size.", ["kind"], unit="bytes", registry=made)
    for kind in ("a", 'b "c"'):
        counter.labels(kind).inc(3)
        histogram.labels(kind).observe(0.5)
        summary.labels(kind).observe(7)
    timed.inc(0.5)
    Gauge("level_ratio", "Level.", unit="ratio", registry=made).set(-0.25)
    Info("build", "Build.", registry=made).info({"version": "1"})
    Enum("state", "State.", states=["on", "off"], registry=made).state("off")
    return made


@pytest.mark.parametrize("accept", FORMATS)
@pytest.mark.parametrize("openmetrics", [False, True])
def test_an_application_reads_the_same_through_us(openmetrics: bool, accept: str) -> None:
    """Samples, types, help texts and units of prometheus_client's own page, whichever format we asked for."""
    source = registry()
    body = generate_openmetrics(source) if openmetrics else generate_latest(source)  # type: ignore[no-untyped-call]
    text = render(accept, collector(body, OPENMETRICS if openmetrics else "text/plain; version=0.0.4"))
    given = parse(OPENMETRICS if openmetrics else "", body.decode())
    found = parse(accept, text)
    assert samples(found) == samples(given)
    if ("openmetrics" in accept) != openmetrics:
        return  # the two have other families: a `_created` is one of its own in text
    described = {family.name: (family.type, family.documentation, family.unit) for family in given}
    described = {name: ("gauge" if one[0] == "stateset" else one[0], *one[1:]) for name, one in described.items()}
    assert {family.name: (family.type, family.documentation, family.unit) for family in found} == described


ODD = """\
# HELP "größe.x_meter" How large.
# TYPE "größe.x_meter" gauge
# UNIT "größe.x_meter" meter
{"größe.x_meter","x.é"="1",y="a\\"b"} 1.5
# TYPE "http.requests" counter
{"http.requests_total",code="200"} 7
{"http.requests_created",code="200"} 1.5e9
# TYPE http_requests counter
http_requests_total{code="200"} 8
http_requests_total{code="300"} 9
# TYPE "took.s" histogram
{"took.s_bucket",le="0.1"} 1
{"took.s_bucket",le="+Inf"} 2
{"took.s_count"} 2
{"took.s_sum"} 3.5
# TYPE hits gauge
hits 1
# TYPE hits_seen counter
hits_seen_total 2
# EOF
"""


@pytest.mark.parametrize("accept", [OPENMETRICS_UTF8, TEXT_UTF8])
def test_utf8_names_are_as_the_page_has_them(accept: str) -> None:
    """Quoted, with their types, for scrapers that accept UTF-8."""
    found = parse(accept, render(accept, collector(ODD.encode(), OPENMETRICS_UTF8)))
    given = parse(OPENMETRICS, ODD)
    assert samples(found) == samples(given)
    if accept == OPENMETRICS_UTF8:
        assert {(f.name, f.type, f.unit) for f in found} == {(f.name, f.type, f.unit) for f in given}


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_utf8_names_are_escaped_for_others(accept: str) -> None:
    """Other scrapers get underscores; where that makes two series equal, the last one counts."""
    found = samples(parse(accept, render(accept, collector(ODD.encode(), OPENMETRICS_UTF8))))
    assert found["gr__e_x_meter", frozenset({("x__", "1"), ("y", 'a"b')})] == 1.5
    assert found["http_requests_total", frozenset({("code", "200")})] == 8
    assert found["took_s_bucket", frozenset({("le", "0.1")})] == 1
    assert len(found) == len(samples(parse(OPENMETRICS, ODD))) - 1


def test_a_gauge_and_a_counter_of_one_name() -> None:
    """They are two families in text; in OpenMetrics they would share a name, so there the counter has type unknown."""
    page = b"# TYPE hits gauge\nhits 1\n# TYPE hits_total counter\nhits_total 2\n"
    text = render(OPENMETRICS, collector(page, ""))
    assert {f.name: f.type for f in parse(OPENMETRICS, text)} == {"hits": "gauge", "hits_total": "unknown"}
    assert {f.name: f.type for f in parse("", render("", collector(page, "")))} == {"hits": "counter"}
    assert len(samples(parse(OPENMETRICS, text))) == 2


@pytest.mark.parametrize("accept", FORMATS)
def test_two_targets_share_a_head(accept: str) -> None:
    """A family of both appears once, metric by metric, whatever the order of series and the help texts."""
    exposed = Exposed([".*"])
    pages = [
        b"# HELP a First.\n# TYPE a histogram\n"
        b'a_bucket{le="1"} 1\na_bucket{le="+Inf"} 2\na_sum 2\na_count 2\na_created 5\n',
        b"# HELP a Second.\n# TYPE a histogram\n"
        b'a_bucket{le="1"} 3\na_bucket{le="+Inf"} 4\na_sum 2\na_count 4\na_created 5\n',
    ]
    both = [collector(page, "", job, exposed) for page, job in zip(pages, ("one", "two"), strict=True)]
    both[0].collect()
    found = parse(accept, render(accept, *both))
    assert [f.documentation for f in found if f.type == "histogram"] == ["First."]
    assert len(samples(found)) == 10
    assert {dict(labels)["job"] for _, labels in samples(found)} == {"one", "two"}
