"""Small stores for tests of the engine: series as lists of samples, or as rows of an array."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from prom_probe.model.labels import Labels, label_value, make_labels
from prom_probe.model.matcher import Matcher
from prom_probe.model.regex import compile_anchored
from prom_probe.model.sample import STALE, STALE_BITS
from prom_probe.model.series import PADDING, SeriesGroup, Whole

Sample = tuple[int, float]


def series(name: str, **labels: str) -> Labels:
    return make_labels(name, labels)


def matches(matcher: Matcher, labels: Labels, deadline: float | None) -> bool:
    value = label_value(labels, matcher.name)
    if matcher.op in ("=", "!="):
        return (value == matcher.value) == (matcher.op == "=")
    return compile_anchored(matcher.value).matches(value, deadline) == (matcher.op == "=~")


class _Table(Whole):
    """An array that knows whether it rises, as the store's tables do, and that may be asked by timeline."""

    def __init__(self, values: NDArray[np.float64], line: NDArray[np.int64] | None = None) -> None:
        super().__init__(values)
        self._line = line

    def at(self, index: NDArray[np.int64]) -> NDArray[np.float64]:
        return super().at(index if self._line is None or index.ndim == 1 else index[self._line])

    def rising(self) -> bool:
        rows = [row[row.view(np.int64) != STALE_BITS] for row in self.whole()]
        return all(bool((row[1:] >= row[:-1]).all()) and not bool(np.isnan(row).any()) for row in rows)


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
        self,
        mint: int,
        maxt: int,
        matchers: Sequence[Matcher],
        *,
        batch: int = 128,
        most_values: int | None = None,
        deadline: float | None = None,
    ) -> Iterator[SeriesGroup]:
        chosen = self._chosen(mint, maxt, matchers, deadline)
        batch = _height(batch, most_values, max((len(points) for _, points in chosen), default=0))
        batches = (
            [chosen[i : i + batch] for i in range(0, len(chosen), batch)] if self._together else [[s] for s in chosen]
        )
        if most_values is not None and not self._together:
            for at in range(0, len(chosen), few := min(batch, 4)):
                self._on_group()
                yield _several(chosen[at : at + few])
            return
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


def _height(batch: int, most_values: int | None, length: int) -> int:
    return batch if most_values is None else max(1, min(batch, most_values // max(1, length)))


def _several(chosen: Sequence[tuple[Labels, dict[int, float]]]) -> SeriesGroup:
    """A group of series with timelines of their own, or common ones where these are equal."""
    by_times: dict[tuple[int, ...], list[tuple[Labels, list[float]]]] = {}
    for labels, points in chosen:
        by_times.setdefault(tuple(points), []).append((labels, list(points.values())))
    length = max(map(len, by_times))
    times = np.array([[*line, *[PADDING] * (length - len(line))] for line in by_times], np.int64)
    rows = [(number, *one) for number, some in enumerate(by_times.values()) for one in some]
    values = np.array([[*row, *[STALE] * (length - len(row))] for _, _, row in rows], np.float64)
    line = np.array([number for number, _, _ in rows])
    markers = np.count_nonzero(values.view(np.int64) == STALE_BITS, axis=1)
    dense = bool((markers == (times == PADDING).sum(axis=1)[line]).all())
    return SeriesGroup([labels for _, labels, _ in rows], times, _Table(values, line), dense, line)


class Grid:
    """A Queryable over arrays: `labels[i]` has `values[i]` ([series, times]) at common `times` (ms).

    Staleness markers among the values are absent samples.
    """

    def __init__(self, labels: Sequence[Labels], times: Sequence[int], values: NDArray[np.float64]) -> None:
        self._labels = list(labels)
        self._times = np.array(times, np.int64)
        self._values = values

    def select(
        self,
        mint: int,
        maxt: int,
        matchers: Sequence[Matcher],
        *,
        batch: int = 128,
        most_values: int | None = None,
        deadline: float | None = None,
    ) -> Iterator[SeriesGroup]:
        rows = self._rows(matchers)
        within = slice(*self._times.searchsorted((mint, maxt + 1)).tolist())
        batch = _height(batch, most_values, within.stop - within.start)
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
