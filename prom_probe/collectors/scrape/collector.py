"""The scrape collector: one application's own `/metrics`, as Prometheus would store it."""

import time
from array import array
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from prom_probe.collectors.scrape.exposed import Exposed
from prom_probe.collectors.scrape.exposition_error import ExpositionError
from prom_probe.collectors.scrape.families import FAILURES, REASONS, REPORT, UNEXPOSED
from prom_probe.collectors.scrape.page import ExpositionPage, PageCount, PageLimits, PageSeries, StampedSample
from prom_probe.collectors.scrape.target_labels import TargetLabels
from prom_probe.model.family import Column, column
from prom_probe.model.labels import Labels
from prom_probe.model.layout import Layout
from prom_probe.model.sample import STALE
from prom_probe.model.written_names import created_metric, metric_labels, metric_name
from prom_probe.sources.http_page import Page, PageError

# What Prometheus 3 asks for, without its protocol buffers.
HEADERS = {
    "Accept": "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,"
    "text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
    "Accept-Encoding": "gzip",
}


_TEXT_BEGINS = (b"", b"\n", b"\t")  # of bytes below the blank


class PageSource(Protocol):
    """Where a target's page comes from."""

    def read(self, timeout_s: float) -> Page:
        """The page. Raises PageError, within `timeout_s`."""

    def close(self) -> None:
        """Give back all descriptors."""


class Target(NamedTuple):
    """What to scrape; no other target has the same `name`."""

    name: str
    labels: TargetLabels
    timeout_s: float
    limits: PageLimits = PageLimits()
    honor_timestamps: bool = False


def collector_name(target: str) -> str:
    """The name of a target's collector."""
    return f"scrape:{target}"


class ScrapeCollector:
    """See `Collector`. The page's series are local, except those that `exposed` chooses.

    A failed scrape ends all of the target's series; a series that the page no longer has ends at once. Samples with
    timestamps that count go to `stamped`: a row has one timestamp, the scrape's. Why a scrape failed goes to `fault`.
    """

    def __init__(
        self,
        target: Target,
        source: PageSource,
        exposed: Exposed,
        log: Callable[[str, str], None],
        *,
        stamped: Callable[[Sequence[StampedSample]], None] = lambda samples: None,
        fault: Callable[[str], None] = lambda text: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = collector_name(target.name)
        self._target = target
        self._source = source
        self._exposed = exposed
        self._log = log
        self._stamped = stamped
        self._fault = fault
        self._monotonic = monotonic
        self._page = ExpositionPage(target.limits, target.labels.finish, honor_timestamps=target.honor_timestamps)
        self._failures = dict.fromkeys(REASONS, 0)
        self._up: bool | None = None
        self._versions = (-1, -1)  # the page's epoch and the version of `exposed` that the layout was made for
        self._unexposed = 0
        self._alone = 0  # times of creation that OpenMetrics leaves out
        self._own = [
            *(Column(one.family, target.labels.report(one.family.name), False) for one in REPORT),
            *(column(FAILURES.family, target=target.name, reason=reason) for reason in REASONS),
            column(UNEXPOSED.family, target=target.name),
        ]
        self._first = len(self._own)
        self.layout = Layout()
        self.layout.add(self._own)

    def collect(self) -> None:
        started_s = self._monotonic()
        count = PageCount(0, 0, 0)
        failure = ""
        try:
            page = self._source.read(self._target.timeout_s)
            count = self._page.read(page.body, is_openmetrics(page))
        except PageError as error:
            failure = str(error)
            self._failures[error.reason] += 1
        except ExpositionError as error:
            failure, count = str(error), PageCount(error.samples, error.kept, error.added)
            self._failures[error.reason] += 1
        if failure:
            self._fault(failure)
            row = self.layout.row
            row[self._first :] = array("d", [STALE]) * (len(row) - self._first)
        else:
            self._page.maybe_compact()
            self._update_layout()
            self.layout.row[self._first :] = self._page.values
            if self._page.stamped:
                self._stamped(self._page.stamped)
        self._log_change(failure)
        report = (float(not failure), self._monotonic() - started_s, *count)
        self.layout.row[: self._first] = array("d", [*report, *self._failures.values(), self._unexposed + self._alone])

    def _update_layout(self) -> None:
        """Give the page's new series their columns, or all of them new ones."""
        versions = (self._page.epoch, self._exposed.version)
        if versions != self._versions:
            self._versions = versions
            self._unexposed = 0
            self.layout = Layout(self.layout.number + 1)
            self.layout.add(self._own)
        known = len(self.layout.columns) - self._first
        if known < len(self._page.series):
            self.layout.add([self._column(series) for series in self._page.series[known:]])
            self._alone = _count_created_alone(self.layout.columns[self._first :])

    def _column(self, series: PageSeries) -> Column:
        if not self._exposed.wants(series):
            return Column(series.family, series.labels, False)
        shown = self._exposed.maybe_shown(series, self._target.labels.own)
        self._unexposed += shown is None or not shown.whole
        if shown is None:
            return Column(series.family, series.labels, False)
        return Column(series.family, series.labels, True, shown.labels)

    def _log_change(self, failure: str) -> None:
        """Log that the target went down or came back."""
        up = not failure
        if up != self._up and (failure or self._up is not None):
            level, what = ("info", "is scraped again") if up else ("warn", f"cannot be scraped: {failure}")
            self._log(level, f"{self._target.name} ({self._target.labels.own.get('instance', '')}) {what}")
        self._up = up

    def checkpoint(self) -> bytes:
        return b""

    def restore(self, state: bytes) -> None:
        """Nothing to restore: the next page has it all."""

    def close(self) -> None:
        self._source.close()


def _count_created_alone(columns: Sequence[Column]) -> int:
    """How many exposed series tell when a metric was created that is not exposed itself, though its family is."""
    metrics: dict[str, set[Labels]] = {}
    created = []
    for family, labels in ((one.family, metric_labels(one.family, one.shown)) for one in columns if one.exposed):
        if name := created_metric(family):
            created.append((name, labels))
        elif name := metric_name(family):
            metrics.setdefault(name, set()).add(labels)
    return sum(name in metrics and labels not in metrics[name] for name, labels in created)


def is_openmetrics(page: Page) -> bool:
    """Whether the page is OpenMetrics; with any other Content-Type it is read as the text format.

    Raises ExpositionError for protocol buffers.
    """
    media = page.content_type.partition(";")[0].strip().lower()
    if media == "application/vnd.google.protobuf" or (page.body[:1] not in _TEXT_BEGINS and page.body[:1] < b" "):
        raise ExpositionError("parse", f"protocol buffers, which are not read (Content-Type {media or 'missing'})")
    return media == "application/openmetrics-text"
