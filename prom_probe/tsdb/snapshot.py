"""Snapshots: the store at one moment, for readers in any thread; they implement `promql.queryable.Queryable`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from prom_probe.model.labels import Labels
from prom_probe.model.matcher import Matcher
from prom_probe.model.series import SeriesGroup
from prom_probe.tsdb.cache import Cache
from prom_probe.tsdb.index import IndexedSeries, Scope, SeriesOwner, label_values_of, resolve
from prom_probe.tsdb.stream_view import Bucket, StreamView, count, merge

# A query asks for each of its selections three times: to decide whether it may run on the loop and how many series a
# batch may have, and for the samples. So this many results are remembered: otherwise an instant query over 500 series
# takes 1.5 times as long, one over a single series 1.1 times.
_MOST_FOUND = 8

_Selection: TypeAlias = tuple[int, int, tuple[Matcher, ...]]


class _Share(NamedTuple):
    """Series that are in the same streams; `buckets` if that is a single stream."""

    views: list[StreamView]
    members: list[IndexedSeries]
    buckets: list[Bucket] | None


class _Selected(NamedTuple):
    """What a selection finds: at most `series` series with `samples` samples."""

    shares: list[_Share]
    series: int
    samples: int


class Snapshot:
    """Immutable: later appends, retention and merges do not affect it. What it was made from stays alive with it.

    Times are milliseconds, both ends included. Matchers raise RegexError, and RegexTimeout at `deadline`
    (time.monotonic() seconds).
    """

    def __init__(self, scope: Scope, views: Mapping[SeriesOwner, StreamView], cache: Cache) -> None:
        self._scope = scope
        self._views = views
        self._cache = cache
        self._found: dict[_Selection, _Selected] = {}

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
        """The matching series' samples in the range, decoded group by group as the caller asks."""
        for views, members, buckets in self._selected(mint, maxt, matchers, deadline).shares:
            if buckets is not None:
                yield from views[0].groups(buckets, batch, most_values, self._cache)
            else:
                yield from self._merged(views, members, mint, maxt)

    def count(
        self, mint: int, maxt: int, matchers: Sequence[Matcher], *, deadline: float | None = None
    ) -> tuple[int, int]:
        """(series, samples) that `select` returns at most."""
        _, series, samples = self._selected(mint, maxt, matchers, deadline)
        return series, samples

    def series(
        self, mint: int, maxt: int, matchers: Sequence[Matcher], *, deadline: float | None = None
    ) -> list[Labels]:
        """The labels of the matching series that may have samples in the range, sorted."""
        return sorted(series.labels for series in self._within(mint, maxt, matchers, deadline))

    def label_names(
        self, mint: int, maxt: int, matchers: Sequence[Matcher], *, deadline: float | None = None
    ) -> list[str]:
        """The names of their labels, sorted."""
        within = self._within(mint, maxt, matchers, deadline)
        return sorted({name for series in within for name, _ in series.labels})

    def label_values(
        self, name: str, mint: int, maxt: int, matchers: Sequence[Matcher], *, deadline: float | None = None
    ) -> list[str]:
        """The values of their label `name`, sorted."""
        return label_values_of(self._within(mint, maxt, matchers, deadline), name)

    def _resolve(self, matchers: Sequence[Matcher], deadline: float | None) -> Sequence[IndexedSeries]:
        return resolve(self._scope, matchers, deadline)

    def _selected(self, mint: int, maxt: int, matchers: Sequence[Matcher], deadline: float | None) -> _Selected:
        """What `select` and `count` are about; remembered (_MOST_FOUND)."""
        key = (mint, maxt, tuple(matchers))
        found = self._found.get(key)
        if found is None:
            shares = []
            series = samples = 0
            for views, members in self._by_views(self._resolve(matchers, deadline)):
                by_view = [view.buckets(members, mint, maxt, self._cache) for view in views]
                counts = list(map(count, by_view))
                series += min(len(members), sum(one[0] for one in counts))
                samples += sum(one[1] for one in counts)
                shares.append(_Share(views, members, by_view[0] if len(views) == 1 else None))
            found = _Selected(shares, series, samples)
            if len(self._found) >= _MOST_FOUND:
                self._found.clear()
            self._found[key] = found
        return found

    def _within(
        self, mint: int, maxt: int, matchers: Sequence[Matcher], deadline: float | None
    ) -> Iterator[IndexedSeries]:
        for views, members in self._by_views(self._resolve(matchers, deadline)):
            found = {series for view in views for series in view.within(members, mint, maxt)}
            yield from found

    def _views_of(self, series: IndexedSeries) -> list[StreamView]:
        return [self._views[owner] for owner in series.owners if owner in self._views]

    def _by_views(self, members: Sequence[IndexedSeries]) -> list[tuple[list[StreamView], list[IndexedSeries]]]:
        """The series, grouped by the streams that have their samples, in the order in which these got them."""
        buckets: dict[tuple[SeriesOwner, ...], list[IndexedSeries]] = {}
        for series in members:
            buckets.setdefault(series.owners, []).append(series)
        out = [(self._views_of(some[0]), some) for some in buckets.values()]
        return [(views, some) for views, some in out if views]

    def _merged(
        self, views: Sequence[StreamView], members: Sequence[IndexedSeries], mint: int, maxt: int
    ) -> Iterator[SeriesGroup]:
        for series in members:
            groups = [
                group
                for view in views
                for group in view.groups(view.buckets([series], mint, maxt, self._cache), 1, None, self._cache)
            ]
            if groups:
                yield groups[0] if len(groups) == 1 else merge(groups)
