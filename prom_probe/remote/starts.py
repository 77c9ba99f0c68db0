"""When the counters that are sent began, as the gauges beside them tell; remote write 2.0 has it with each sample."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from prom_probe.model.family import CounterStart, Family
from prom_probe.model.labels import METRIC_NAME, Labels, label_value, make_labels
from prom_probe.model.written_names import CREATED, ENDINGS, find_family
from prom_probe.tsdb.index import IndexedSeries

# How many series' gauges are remembered.
_MOST_KNOWN = 50_000

_MOST_S = 1e12  # after the year 30000


class Indexed(Protocol):
    """What is needed of a store; `tsdb.store.Store` has it."""

    def find_series(self, ref: int) -> IndexedSeries | None:
        """The series with this ref; None if it has left the index."""

    def find_labels(self, labels: Labels) -> IndexedSeries | None:
        """The series with these labels, if it is in the index."""

    def families(self) -> Iterable[Family]:
        """The families of all collectors."""


class CounterStarts:
    """Finds the gauge that tells when a series began. Belongs to the store's writer."""

    def __init__(self, store: Indexed) -> None:
        self._store = store
        self._families: dict[str, Family] = {}
        self._gauges: dict[int, int] = {}  # by the counter's ref; 0 for what is no counter, or has no gauge

    def refresh(self) -> None:
        """Learn the families that have come since, before an answer is made."""
        families = {family.name: family for family in self._store.families()}
        if families != self._families:
            self._families = families
            self._gauges.clear()

    def maybe_gauge(self, ref: int) -> int | None:
        """The ref of the gauge that tells when this series began; None where nothing does."""
        found = self._gauges.get(ref)
        if found is None or (found and self._store.find_series(found) is None):
            if len(self._gauges) >= _MOST_KNOWN:
                self._gauges.clear()
            found = self._gauges[ref] = self._find(ref)
        return found or None

    def _find(self, ref: int) -> int:
        series = self._store.find_series(ref)
        if series is None:
            return 0
        name = label_value(series.labels, METRIC_NAME)
        start = start_of(name, find_family(name, self._families))
        if start is None:
            return 0
        own = {key: value for key, value in series.labels if key != METRIC_NAME and key not in start.without}
        gauge = self._store.find_labels(make_labels(start.gauge, own))
        return gauge.ref if gauge is not None else 0


def start_of(name: str, family: Family | None) -> CounterStart | None:
    """What tells when a series of this family began: its own gauge, or the `_created` of a scraped page."""
    if family is None:
        return None
    if family.start is not None or family.type == "counter":
        return family.start or CounterStart(name.removesuffix("_total") + CREATED)
    if name != family.name and family.type in ENDINGS:
        return CounterStart(family.name + CREATED, ("le",))
    return None


def sample_starts(times: Sequence[int], gauge: Iterable[float]) -> list[int]:
    """The starts in ms of samples beside a gauge's values, 0 where it has none, or one that is not before the sample.

    Receivers refuse the latter: a start is rounded, and a page may tell anything.
    """
    return [_start_ms(start_s, t_ms) for t_ms, start_s in zip(times, gauge, strict=True)]


def _start_ms(start_s: float, t_ms: int) -> int:
    found = round(start_s * 1000) if 0 < start_s < _MOST_S else 0
    return found if found < t_ms else 0
