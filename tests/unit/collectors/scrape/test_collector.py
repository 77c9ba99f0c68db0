"""The scrape collector: labels, what ends when, what is told of it, and what goes on to /metrics."""

from __future__ import annotations

import re

from prom_probe.collectors.scrape.collector import ScrapeCollector, Target
from prom_probe.collectors.scrape.exposed import Exposed
from prom_probe.collectors.scrape.families import FAILURES, UNEXPOSED
from prom_probe.collectors.scrape.page import PageLimits
from prom_probe.collectors.scrape.target_labels import TargetLabels
from prom_probe.exposition.formats import TEXT, Format, choose
from prom_probe.exposition.text import Exposition
from prom_probe.model.labels import METRIC_NAME
from prom_probe.model.sample import is_stale
from prom_probe.model.series import Newest
from prom_probe.ring.codec import Announce, decode, encode_announcements
from prom_probe.sources.http_page import Page, PageError
from tests.support.collector_harness import values

OWN = re.compile(r"(up|scrape_\w+|prom_probe_\w+)\{")


class Pages:
    """A target that gives what it is told to give."""

    def __init__(self, *pages: str | PageError) -> None:
        self.pages = list(pages)
        self.closed = False

    def read(self, timeout_s: float) -> Page:
        page = self.pages.pop(0)
        if isinstance(page, PageError):
            raise page
        return Page(page.encode(), "application/openmetrics-text; version=1.0.0" if "# EOF" in page else "")

    def close(self) -> None:
        self.closed = True


class Scraped:
    """A collector over pages, its log and its clock."""

    def __init__(self, *pages: str | PageError, job: str = "app", exposed: Exposed | None = None) -> None:
        self.log: list[tuple[str, str]] = []
        self.faults: list[str] = []
        self.now = 0.0
        self.source = Pages(*pages)
        self.collector = ScrapeCollector(
            Target(job, TargetLabels({"job": job, "instance": "h:1"}), 0.9, PageLimits(samples=400)),
            self.source,
            exposed or Exposed([]),
            lambda level, text: self.log.append((level, text)),
            fault=self.faults.append,
            monotonic=self._tick,
        )

    def _tick(self) -> float:
        self.now += 0.25
        return self.now

    def collect(self) -> dict[str, float]:
        """The page's series after one more scrape."""
        self.collector.collect()
        return {name: value for name, value in values(self.collector).items() if not OWN.match(name)}

    def own(self, name: str, **labels: str) -> float:
        """One of the series about the scrape."""
        pairs = labels or {"instance": "h:1", "job": "app"}
        found = {
            frozenset(c.labels): v
            for c, v in zip(self.collector.layout.columns, self.collector.layout.row, strict=True)
        }
        return found[frozenset({METRIC_NAME: name, **pairs}.items())]


def shown(*collectors: ScrapeCollector, form: Format = TEXT) -> list[str]:
    """The sample lines of /metrics but for those about the scrape."""
    newest = [Newest(c.name, c.layout.number, c.layout.columns, 1, c.layout.row.tobytes()) for c in collectors]
    lines = Exposition(form).render(newest).decode().splitlines()
    return [line for line in lines if line[0] != "#" and not line.startswith("prom_probe_target")]


def test_series_come_and_go() -> None:
    """One that the page has no more ends at once; after a failed scrape all have, and they come back."""
    a, b = 'a{instance="h:1", job="app"}', 'b{instance="h:1", job="app"}'
    scraped = Scraped("a 1\nb 2\n", "b 3\n", "a 1\nb", PageError("timeout", "too late"), "b 3\n", "# EOF\n")
    assert scraped.collect() == {a: 1, b: 2}
    assert (scraped.own("up"), scraped.own("scrape_series_added")) == (1, 2)
    assert scraped.own("scrape_duration_seconds") == 0.25
    assert scraped.collect() == {b: 3}
    assert (scraped.own("scrape_samples_scraped"), scraped.own("scrape_series_added")) == (1, 0)
    assert scraped.collect() == {}
    assert (scraped.own("up"), scraped.own("scrape_samples_scraped")) == (0, 1)
    assert scraped.collect() == {}
    assert (scraped.own("up"), scraped.own("scrape_samples_scraped")) == (0, 0)
    assert scraped.collect() == {b: 3}
    assert scraped.own("up") == 1
    assert scraped.collect() == {}
    assert scraped.own("up") == 1
    assert scraped.own(FAILURES.family.name, target="app", reason="parse") == 1
    assert scraped.own(FAILURES.family.name, target="app", reason="timeout") == 1
    scraped.collector.close()
    assert scraped.source.closed


def test_a_line_is_logged_when_the_state_changes() -> None:
    """Not one a second."""
    down = PageError("connect", "Connection refused")
    scraped = Scraped("a 1\n", "a 1\n", down, down, PageError("http", "x"), "a 1\n", down)
    for _ in range(7):
        scraped.collect()
    assert scraped.log == [
        ("warn", "app (h:1) cannot be scraped: Connection refused"),
        ("info", "app (h:1) is scraped again"),
        ("warn", "app (h:1) cannot be scraped: Connection refused"),
    ]
    assert scraped.faults == ["Connection refused", "Connection refused", "x", "Connection refused"]


def test_columns_are_announced_once_and_renumbered_when_many_are_dead() -> None:
    """The layout grows by appending; a flood of series that end makes a new, short one with the same values."""
    flood = [
        "".join(f'a{{i="{i}"}} {i}\n' for i in range(start, start + 300)) + "b 1\n" for start in range(0, 3000, 300)
    ]
    scraped = Scraped("b 1\n", "b 1\nc 1\n", *flood)
    scraped.collect()
    number = scraped.collector.layout.number
    scraped.collect()
    assert scraped.collector.layout.number == number
    for _ in flood:
        found = scraped.collect()
        assert len(found) == 301
        assert len(scraped.collector.layout.columns) == len(scraped.collector.layout.row) < 1000
    assert scraped.collector.layout.number > number


def test_nothing_is_exposed_unasked() -> None:
    """Only what is told of the scrape."""
    scraped = Scraped("a 1\n")
    scraped.collect()
    assert shown(scraped.collector) == []


def test_what_is_chosen_is_exposed_by_its_own_labels() -> None:
    """By the family's name or the sample's; our own names, however they are written, are left out and counted."""
    page = (
        '# TYPE h histogram\nh_bucket{le="1"} 1\nh_sum 2\nh_count 3\nb{job="x"} 4\nbb 5\n'
        '# TYPE s summary\ns_sum 1\ns_count 2\nsystem_load1 9\n{"system.load1"} 9\n{"b.c",job="y"} 1\nb{"d.e"="1"} 1\n'
    )
    scraped = Scraped(page, PageError("http", "x"), exposed=Exposed(["h", "b", "b[.]c", "s_sum", "system.*"]))
    assert len(scraped.collect()) == 11
    chosen = [
        'b_c{job="y"} 1',
        'b{d_e="1"} 1',
        'b{job="x"} 4',
        'h_bucket{le="1.0"} 1',
        "h_count 3",
        "h_sum 2",
        "s_sum 1",
    ]
    assert sorted(shown(scraped.collector)) == chosen
    assert scraped.own(UNEXPOSED.family.name, target="app") == 2
    scraped.collect()
    assert shown(scraped.collector) == []


def test_times_of_creation_that_openmetrics_leaves_out_are_counted() -> None:
    """Those of metrics that the page lacks, where it has others of the family; what stands alone is shown."""
    page = (
        '# TYPE a_total counter\na_total{x="1"} 1\n# TYPE a_created gauge\na_created{x="1"} 7\na_created{x="2"} 8\n'
        '# TYPE h histogram\nh_bucket{le="+Inf"} 1\n# TYPE h_created gauge\nh_created 7\nh_created{le="1"} 8\n'
        "# TYPE b_created gauge\nb_created 9\n# TYPE c counter\nc 1\n# TYPE c_created gauge\nc_created{x='1'} 2\n"
    ).replace("'", '"')
    scraped = Scraped(page, exposed=Exposed([".*"]))
    scraped.collect()
    lines = shown(scraped.collector, form=choose("application/openmetrics-text"))
    assert [line for line in lines if "_created" in line] == [
        'a_created{x="1"} 7',
        "b_created 9",
        'c_created{x="1"} 2',
        "h_created 7",
    ]
    assert scraped.own(UNEXPOSED.family.name, target="app") == 2


def test_what_two_targets_have_keeps_its_job() -> None:
    """From when the second one shows it, whoever came first; the rest of both goes without."""
    exposed = Exposed([".*"])
    one = Scraped("a 1\nb 1\n", "a 1\nb 1\n", job="one", exposed=exposed)
    two = Scraped("a 2\nc 2\n", "a 2\nc 2\n", job="two", exposed=exposed)
    one.collect()
    assert shown(one.collector) == ["a 1", "b 1"]
    two.collect()
    one.collect()
    two.collect()
    both = ['a{job="one"} 1', 'a{job="two"} 2', "b 1", "c 2"]
    assert shown(one.collector, two.collector) == both


def test_shown_labels_cross_the_ring() -> None:
    """An announcement holds them."""
    scraped = Scraped("a 1\n", exposed=Exposed(["a"]))
    scraped.collect()
    columns = scraped.collector.layout.columns
    ((_, payload),) = encode_announcements("scrape:app", 1, columns, 0, 1 << 20)
    frame = decode(payload)
    assert isinstance(frame, Announce)
    assert frame.full_columns() == columns
    assert columns[-1].shown == ((METRIC_NAME, "a"),)


def test_our_own_series_are_as_the_catalogue_says() -> None:
    """Names, and the names of the labels."""
    scraped = Scraped("")
    scraped.collect()
    columns = [c for c in scraped.collector.layout.columns if c.exposed]
    assert {c.family.name for c in columns} == {FAILURES.family.name, UNEXPOSED.family.name}
    for column in columns:
        definition = FAILURES if column.family is FAILURES.family else UNEXPOSED
        assert {name for name, _ in column.labels} == {METRIC_NAME, *definition.labels}
        assert column.family.name.startswith("prom_probe_")
    assert not any(is_stale(value) for value in scraped.collector.layout.row)
