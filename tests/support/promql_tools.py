"""Small stores for tests of the engine: series as lists of samples, or as rows of an array."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from prom_probe.model.labels import Labels, label_value, make_labels
from prom_probe.model.matcher import Matcher
from prom_probe.model.regex import compile_anchored
from prom_probe.model.sample import STALE, STALE_BITS
from prom_probe.model.series import SeriesGroup, Whole

Sample = tuple[int, float]


def series(name: str, **labels: str) -> Labels:
    return make_labels(name, labels)


def matches(matcher: Matcher, labels: Labels, deadline: float | None) -> bool:
    value = label_value(labels, matcher.name)
    if matcher.op in ("=", "!="):
        return (value == matcher.value) == (matcher.op == "=")
    return compile_anchored(matcher.value).matches(value, deadline) == (matcher.op == "=~")


class _Table(Whole):
    """An array that knows whether it rises, as the store's tables do."""

    def rising(self) -> bool:
        values = self.whole()
        return bool((values[:, 1:] >= values[:, :-1]).all()) and not bool(np.isnan(values).any())


class Memory:
    """A Queryable over dictionaries. `together`: all series share one timeline, absent samples being markers.

    `on_group` is called before each group is yielded.
    """

    def __init__(
        self,
        samples: Mapping[Labels, Sequence[Sample]],
        *,
        together: bool = False,
        on_group: Callable[[], None] = lambda: None,
    ) -> None:
        self._samples = {labels: sorted(points) for labels, points in samples.items()}
        self._together = together
        self._on_group = on_group

    def select(
        self, mint: int, maxt: int, matchers: Sequence[Matcher], *, batch: int = 128, deadline: float | None = None
    ) -> Iterator[SeriesGroup]:
        chosen = self._chosen(mint, maxt, matchers, deadline)
        batches = (
            [chosen[i : i + batch] for i in range(0, len(chosen), batch)] if self._together else [[s] for s in chosen]
        )
        for some in batches:
            self._on_group()
            times = sorted({t for _, points in some for t in points})
            values = np.array([[points.get(t, STALE) for t in times] for _, points in some], np.float64)
            dense = not bool((values.view(np.int64) == STALE_BITS).any())
            yield SeriesGroup([labels for labels, _ in some], np.array(times, np.int64), _Table(values), dense)

    def count(
        self, mint: int, maxt: int, matchers: Sequence[Matcher], *, deadline: float | None = None
    ) -> tuple[int, int]:
        chosen = self._chosen(mint, maxt, matchers, deadline)
        return len(chosen), sum(len(points) for _, points in chosen)

    def series(
        self, mint: int, maxt: int, matchers: Sequence[Matcher], *, deadline: float | None = None
    ) -> list[Labels]:
        return sorted(labels for labels, _ in self._chosen(mint, maxt, matchers, deadline))

    def label_names(
        self, mint: int, maxt: int, matchers: Sequence[Matcher], *, deadline: float | None = None
    ) -> list[str]:
        return sorted({name for labels in self.series(mint, maxt, matchers) for name, _ in labels})

    def label_values(
        self, name: str, mint: int, maxt: int, matchers: Sequence[Matcher], *, deadline: float | None = None
    ) -> list[str]:
        return sorted({label_value(labels, name) for labels in self.series(mint, maxt, matchers)} - {""})

    def _chosen(
        self, mint: int, maxt: int, matchers: Sequence[Matcher], deadline: float | None
    ) -> list[tuple[Labels, dict[int, float]]]:
        found = []
        for labels, points in self._samples.items():
            if all(matches(matcher, labels, deadline) for matcher in matchers):
                within = {t: v for t, v in points if mint <= t <= maxt}
                if within:
                    found.append((labels, within))
        return found


class Grid:
    """A Queryable over arrays: `labels[i]` has `values[i]` ([series, times]) at common `times` (ms).

    Staleness markers among the values are absent samples.
    """

    def __init__(self, labels: Sequence[Labels], times: Sequence[int], values: NDArray[np.float64]) -> None:
        self._labels = list(labels)
        self._times = np.array(times, np.int64)
        self._values = values

    def select(
        self, mint: int, maxt: int, matchers: Sequence[Matcher], *, batch: int = 128, deadline: float | None = None
    ) -> Iterator[SeriesGroup]:
        rows = self._rows(matchers)
        within = slice(*self._times.searchsorted((mint, maxt + 1)).tolist())
        for at in range(0, len(rows), batch):
            some = rows[at : at + batch]
            values = self._values[some, within]
            dense = not bool((values.view(np.int64) == STALE_BITS).any())
            yield SeriesGroup([self._labels[i] for i in some], self._times[within], _Table(values), dense)

    def count(
        self, mint: int, maxt: int, matchers: Sequence[Matcher], *, deadline: float | None = None
    ) -> tuple[int, int]:
        first, end = self._times.searchsorted((mint, maxt + 1)).tolist()
        series = len(self._rows(matchers))
        return series, series * (end - first)

    def series(
        self, mint: int, maxt: int, matchers: Sequence[Matcher], *, deadline: float | None = None
    ) -> list[Labels]:
        return sorted(self._labels[i] for i in self._rows(matchers))

    def label_names(
        self, mint: int, maxt: int, matchers: Sequence[Matcher], *, deadline: float | None = None
    ) -> list[str]:
        return sorted({name for labels in self.series(mint, maxt, matchers) for name, _ in labels})

    def label_values(
        self, name: str, mint: int, maxt: int, matchers: Sequence[Matcher], *, deadline: float | None = None
    ) -> list[str]:
        return sorted({label_value(labels, name) for labels in self.series(mint, maxt, matchers)} - {""})

    def _rows(self, matchers: Sequence[Matcher]) -> list[int]:
        return [i for i, labels in enumerate(self._labels) if all(matches(one, labels, None) for one in matchers)]
