"""Anchored and smoothed selectors: samples around a window count too, so that it is covered up to its ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple, TypeAlias

import numpy as np

from prom_probe.model.labels import Labels
from prom_probe.promql.ast import Call, Extension, Matrix, Selector
from prom_probe.promql.query import Evaluation
from prom_probe.promql.result import QueryError
from prom_probe.promql.values import Bools, Floats, Ints, Samples, Vector, VectorBuilder, empty

# (a series, the windows' starts, exclusive, and ends, the lookback) -> the value at each step and whether there is one
Compute: TypeAlias = "Callable[[_Series, Ints, Ints, int], tuple[Floats, Bools]]"


class _Series:
    """The samples of one of `of` series, in order of time, none of them stale."""

    def __init__(self, times: Ints, values: Floats, of: int) -> None:
        self.times = times
        self.values = values
        self.of = of

    def at(self, index: Ints) -> Floats:
        """The values at `index`, arbitrary outside of the samples."""
        found: Floats = self.values.take(index, mode="clip")
        return found

    def when(self, index: Ints) -> Ints:
        times: Ints = self.times.take(index, mode="clip")
        return times

    def first_after(self, times: Ints) -> Ints:
        """The index of the first sample after each time."""
        found: Ints = self.times.searchsorted(times, "right")
        return found

    def between(self, events: Floats | Bools, first: Ints, last: Ints) -> Floats:
        """The sum of `events`, of which each belongs to a sample and the one before it, after `first` up to `last`."""
        running = np.concatenate(([0.0], np.cumsum(events, dtype=np.float64)))
        found: Floats = running.take(last, mode="clip") - running.take(first, mode="clip")
        return found

    def lost(self, first: Ints, last: Ints) -> Floats:
        """What counter resets removed from sample `first` to sample `last`."""
        before, after = self.values[:-1], self.values[1:]
        return self.between(np.where(after < before, before, 0.0), first, last)

    def interpolated(self, left: Ints, at: Ints, *, counter: bool = False) -> Floats:
        """The value at the times `at` on the line from sample `left` to the next; a counter's reset starts at 0."""
        low, high = self.at(left), self.at(left + 1)
        low = np.where((high < low) & counter, 0.0, low)
        share = (at - self.when(left)) / np.maximum(self.when(left + 1) - self.when(left), 1)
        value: Floats = low + (high - low) * share
        return value


def _anchored_edges(series: _Series, starts: Ints, ends: Ints, lookback_ms: int) -> tuple[Ints, Ints, Bools]:
    """The first sample: the last one before the window, if there is any; the window's last one; if it has any."""
    inside, stop = series.first_after(starts), series.first_after(ends)
    first = np.where(inside > series.first_after(starts - lookback_ms), inside - 1, inside)
    return first, stop - 1, stop > inside


def _anchored_change(
    series: _Series, starts: Ints, ends: Ints, lookback_ms: int, *, counter: bool
) -> tuple[Floats, Bools]:
    first, last, present = _anchored_edges(series, starts, ends, lookback_ms)
    change = series.at(last) - series.at(first)
    return change + series.lost(first, last) if counter else change, present


def _anchored_count(
    series: _Series, starts: Ints, ends: Ints, lookback_ms: int, *, resets: bool
) -> tuple[Floats, Bools]:
    first, last, present = _anchored_edges(series, starts, ends, lookback_ms)
    before, after = series.values[:-1], series.values[1:]
    events = after < before if resets else (after != before) & ~(np.isnan(after) & np.isnan(before))
    return series.between(events, first, last), present


class _Smoothed(NamedTuple):
    """The values at a window's start and end, on the lines between samples, and the samples that are inside of it.

    `inside`, `stop`: the indexes of the first sample inside and of the first one at the end or later.
    """

    left: Floats
    right: Floats
    inside: Ints
    stop: Ints
    present: Bools


def _smoothed(series: _Series, starts: Ints, ends: Ints, lookback_ms: int, *, counter: bool) -> _Smoothed:
    lowest, highest = series.first_after(starts - lookback_ms), series.first_after(ends + lookback_ms) - 1
    inside, stop = series.first_after(starts), series.first_after(ends - 1)
    first = np.where(inside > lowest, inside - 1, lowest)
    last = np.minimum(stop, highest)
    present = (highest >= lowest) & (series.when(last) > starts) & (series.when(first) <= ends)
    left = np.where(series.when(first) < starts, series.interpolated(first, starts, counter=counter), series.at(first))
    right = np.where(
        (last > lowest) & (series.when(last) > ends),
        series.interpolated(last - 1, ends, counter=counter),
        series.at(last),
    )
    return _Smoothed(left, right, inside, stop, present)


def _smoothed_change(
    series: _Series, starts: Ints, ends: Ints, lookback_ms: int, *, counter: bool
) -> tuple[Floats, Bools]:
    left, right, inside, stop, present = _smoothed(series, starts, ends, lookback_ms, counter=counter)
    change = right - left
    if counter:
        enters, leaves = series.at(inside), series.at(stop - 1)
        lost = series.lost(inside, stop - 1)
        lost += np.where(enters < left, left, 0.0) + np.where(right < leaves, leaves, 0.0)
        change += np.where(stop > inside, lost, np.where(right < left, left, 0.0))
    return change, present


def _smoothed_value(series: _Series, starts: Ints, ends: Ints, lookback_ms: int) -> tuple[Floats, Bools]:
    """The value at the end, on the line between samples; the last one where none follows."""
    stop = series.first_after(ends)
    follows = stop < series.first_after(ends + lookback_ms)
    between = follows & (series.when(stop - 1) < ends)
    value = np.where(between, series.interpolated(stop - 1, ends), series.at(stop - 1))
    return value, stop > series.first_after(ends - lookback_ms)


_FUNCTIONS: dict[Extension, dict[str, Compute]] = {
    "anchored": {
        "changes": partial(_anchored_count, resets=False),
        "delta": partial(_anchored_change, counter=False),
        "increase": partial(_anchored_change, counter=True),
        "rate": partial(_anchored_change, counter=True),
        "resets": partial(_anchored_count, resets=True),
    },
    "smoothed": {
        "delta": partial(_smoothed_change, counter=False),
        "increase": partial(_smoothed_change, counter=True),
        "rate": partial(_smoothed_change, counter=True),
    },
}


def check_extension(node: Call) -> None:
    """Raises QueryError (execution) if the function cannot use the modifier of its range."""
    for argument in node.args:
        if isinstance(argument, Matrix) and (extension := argument.selector.extension):
            known = _FUNCTIONS[extension]
            if node.name not in known:
                usable = f"can only be used with: {', '.join(known)} - not with {node.name}"
                raise QueryError("execution", f"{extension} modifier {usable}")


def over_extended(ev: Evaluation, name: str, matrix: Matrix) -> Vector:
    """The values of function `name` over an anchored or smoothed range; series without any are left out."""
    selector = matrix.selector
    found = _computed(ev, selector, matrix.range_ms, _FUNCTIONS[selector.extension][name])
    return found.replace(found.values / (matrix.range_ms / 1000)) if name == "rate" else found


def smoothed_selector(ev: Evaluation, node: Selector) -> Vector:
    return _computed(ev, node, 0, _smoothed_value)


def extended_samples(ev: Evaluation, matrix: Matrix) -> Samples:
    """The samples of an anchored or smoothed range at the only step, and their values at its start and end."""
    found = Samples([], [])
    for labels, series, starts, ends in _each(ev, matrix.selector, matrix.range_ms):
        if matrix.selector.extension == "anchored":
            first, last, present = _anchored_edges(series, starts, ends, ev.query.lookback_ms)
            left, right = series.at(first), series.at(last)
        else:
            left, right, _, _, present = _smoothed(series, starts, ends, ev.query.lookback_ms, counter=False)
        if present[0]:
            inside = (series.times > starts) & (series.times < ends)
            found.labels.append(labels)
            found.samples.append(
                (
                    np.concatenate((starts, series.times[inside], ends)),
                    np.concatenate((left, series.values[inside], right)),
                )
            )
    return found


def _computed(ev: Evaluation, selector: Selector, range_ms: int, compute: Compute) -> Vector:
    rows: VectorBuilder | None = None
    for labels, series, starts, ends in _each(ev, selector, range_ms):
        found, present = compute(series, starts, ends, ev.query.lookback_ms)
        rows = rows or VectorBuilder(series.of, ev.steps, ev.query.budget.hold)
        rows.add([labels], [False], found[np.newaxis], present[np.newaxis])
    vector = rows.vector() if rows else empty(ev.steps)
    return vector.sorted() if ev.steps == 1 else vector


def _each(ev: Evaluation, selector: Selector, range_ms: int) -> Iterator[tuple[Labels, _Series, Ints, Ints]]:
    """Each series, with the windows' starts and ends."""
    lookback_ms = ev.query.lookback_ms
    ends = ev.ends(selector.at, selector.offset_ms)
    starts = ends - range_ms
    ahead_ms = lookback_ms if selector.extension == "smoothed" else 0
    samples = ev.samples_between(selector.matchers, int(starts[0]) - lookback_ms, int(ends[-1]) + ahead_ms)
    for labels, (times, values) in zip(samples.labels, samples.samples, strict=True):
        ev.query.budget.check()
        series = _Series(times, values, len(samples.labels))
        if ev.counts is not None:
            ev.counts.add_samples(series.first_after(starts - lookback_ms), series.first_after(ends + ahead_ms))
        yield labels, series, starts, ends
