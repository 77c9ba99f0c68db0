"""Evaluates the nodes of an expression, each for all steps and series at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from prom_probe.model.labels import Labels
from prom_probe.model.matcher import Matcher
from prom_probe.model.picking import pick
from prom_probe.model.series import SeriesGroup, Table, Whole
from prom_probe.promql.aggregations import aggregate
from prom_probe.promql.ast import (
    Aggregate,
    At,
    Binary,
    Call,
    Matrix,
    Negate,
    Node,
    Number,
    Selector,
    String,
    Subquery,
    Wrapped,
)
from prom_probe.promql.binary import binary
from prom_probe.promql.functions import FUNCTIONS
from prom_probe.promql.functions.extended import check_extension, extended_samples, smoothed_selector
from prom_probe.promql.query import MAX_BATCH, Batch, Query
from prom_probe.promql.sample_counts import SampleCounts
from prom_probe.promql.values import (
    Bools,
    Floats,
    Ints,
    Samples,
    Scalar,
    Text,
    Value,
    Vector,
    VectorBuilder,
    empty,
    named,
)
from prom_probe.promql.windows import BLOCK, is_stale, make_windows, moving_bytes

_SUBQUERY_STEP_MS = 60_000
_MAPPED_ARRAYS = 2  # temporary ones that a function of values makes at most

# The size of temporary arrays while a batch's values are looked up: per step, and per step and series.
_STEP_BYTES, _POINT_BYTES = 64, 32


class Evaluator:
    """Evaluates at the steps `times` (int64[steps], ms, regular). `counts`: those of the samples, where asked for."""

    __slots__ = ("counts", "query", "times")

    def __init__(self, query: Query, times: Ints, *, counted: bool = False) -> None:
        self.query = query
        self.times = times
        self.counts = SampleCounts(times) if counted else None

    @property
    def steps(self) -> int:
        return len(self.times)

    def eval(self, node: Node) -> Value:
        """The node's value; its memory stays booked until that of the node above it is."""
        budget = self.query.budget
        budget.check()
        held = budget.held
        value = self._repeated(node) if node.invariant and self.steps > 1 else self._eval(node)
        budget.hold_only(held + value.nbytes)
        return value

    def _eval(self, node: Node) -> Value:
        match node:
            case Number():
                return Scalar(np.broadcast_to(np.float64(node.value), self.steps))
            case String():
                return Text(node.value)
            case Selector():
                return self._selector(node)
            case Call():
                check_extension(node)
                return FUNCTIONS[node.name].call(self, node)
            case Aggregate():
                return aggregate(self, node)
            case Binary():
                return binary(self, node)
            case Negate():
                value = self.eval(node.expr)
                if isinstance(value, Scalar):
                    return Scalar(-value.values)
                assert isinstance(value, Vector)
                return self.query.unnamed(value.replace(self.mapped(value.values, np.negative)))
            case Matrix() if node.selector.extension:
                return extended_samples(self, node)
            case Matrix() | Subquery():
                return self._samples(node)
            case Wrapped():
                return self._eval(node.expr)

    def vector(self, node: Node) -> Vector:
        """The value of a node whose type is a vector."""
        value = self.eval(node)
        assert isinstance(value, Vector)
        return value

    def scalar(self, node: Node) -> Floats:
        """The values of a node whose type is a scalar: [steps]."""
        value = self.eval(node)
        assert isinstance(value, Scalar)
        return value.values

    def mapped(self, values: Floats, compute: Callable[[Floats], Any]) -> Floats:
        """`compute` of `values` ([series, steps]), some rows at a time so that temporary arrays stay small."""
        self.query.budget.hold(8 * (values.size + _MAPPED_ARRAYS * min(values.size, BLOCK)))
        if values.size <= BLOCK:
            return np.asarray(compute(values), np.float64)
        out = np.empty(values.shape)
        height = max(1, BLOCK // values.shape[1])
        for top in range(0, len(values), height):
            self.query.budget.check()
            out[top : top + height] = compute(values[top : top + height])
        return out

    def _repeated(self, node: Node) -> Value:
        """The value at the first step, for all steps."""
        first = Evaluator(self.query, self.times[:1], counted=self.counts is not None)
        value = first.eval(node)
        if self.counts is not None and first.counts is not None:
            self.counts.add_repeated(first.counts)
        match value:
            case Scalar():
                return Scalar(np.broadcast_to(value.values, self.steps))
            case Vector():
                shape = (len(value.labels), self.steps)
                return value.replace(np.broadcast_to(value.values, shape), np.broadcast_to(value.present, shape))
            case _:
                return value

    # -- selectors

    def ends(self, at: At, offset_ms: int) -> Ints:
        """The time that a selector refers to at each step."""
        if at is None:
            return self.times - offset_ms if offset_ms else self.times
        if isinstance(at, str):
            at = self.query.times.start_ms if at == "start" else self.query.times.end_ms
        return np.full(self.steps, at - offset_ms)

    def _selector(self, node: Selector) -> Vector:
        if node.extension == "smoothed":
            return smoothed_selector(self, node)
        rows, _ = self._latest(node, with_times=False)
        return rows.sorted() if self.steps == 1 else rows

    def timestamps(self, node: Selector) -> Vector:
        """When the samples that a selector gives were taken, in seconds."""
        rows, times = self._latest(node, with_times=True)
        taken = rows.replace(np.concatenate(times)) if times else rows
        return taken.sorted() if self.steps == 1 else taken

    def _latest(self, node: Selector, *, with_times: bool) -> tuple[Vector, list[Floats]]:
        """The newest sample of each series within the lookback; on request their times (seconds), batch by batch."""
        query = self.query
        ends = self.ends(node.at, node.offset_ms)
        budget = query.budget
        budget.hold(_STEP_BYTES * self.steps)
        oldest = ends - query.lookback_ms  # exclusive
        most, groups = query.read(node.matchers, int(oldest[0]) + 1, int(ends[-1]), self.steps, sparse=True)
        rows = VectorBuilder(most, self.steps, budget.hold)
        times = []
        for group in groups:
            working = _POINT_BYTES * len(group.labels) * self.steps
            budget.hold(working)
            there, when, recent = _newest(group, ends, oldest)
            found = group.table.at(there)
            here = recent if group.dense else recent & ~is_stale(found)
            budget.read(found.size)
            if self.counts is not None:
                self.counts.add_latest(here, len(group.labels))
            kept = rows.add(group.labels, [False] * len(group.labels), found, here)
            budget.hold(-working)
            if with_times:
                budget.hold(2 * 8 * len(kept) * self.steps)  # twice: they are concatenated at the end
                times.append(np.broadcast_to(when, found.shape)[kept] / 1000)
        return rows.vector(), times

    def windows(self, node: Node, *, sparse: bool = False) -> tuple[int, Iterator[Batch]]:
        """The most series that a range selector or subquery may give, and the series batch by batch.

        `sparse`: few values of each window will be asked for.
        """
        if isinstance(node, Subquery):
            return self._subquery_windows(node)
        assert isinstance(node, Matrix)
        selector = node.selector
        ends = self.ends(selector.at, selector.offset_ms)
        mint, maxt = int(ends[0]) - node.range_ms + 1, int(ends[-1])
        most, groups = self.query.read(selector.matchers, mint, maxt, self.steps, sparse=sparse)
        batches = self._group_windows(groups, ends, node.range_ms)
        return most, batches if self.counts is None else self._counted(batches, self.counts)

    def _counted(self, batches: Iterator[Batch], counts: SampleCounts) -> Iterator[Batch]:
        for batch in batches:
            counts.add_windows(batch[2])
            yield batch

    def _group_windows(self, groups: Iterator[SeriesGroup], ends: Ints, range_ms: int) -> Iterator[Batch]:
        budget = self.query.budget
        budget.hold(_STEP_BYTES * self.steps)
        for group in groups:
            budget.read(group.samples)
            times, line, drop = np.atleast_2d(group.timestamps), group.line, [False] * len(group.labels)
            if group.dense:
                yield from self._batch(group.labels, drop, times, line, group.table, None, ends, range_ms)
                continue
            values = group.values
            height = max(1, BLOCK // values.shape[1])
            for top in range(0, len(values), height):
                rows = slice(top, top + height)
                own, lines = (times, None) if line is None else (times[line[rows]], np.arange(len(values[rows])))
                gaps = is_stale(values[rows])
                absent = gaps if gaps.any() else None
                some = Whole(values[rows])
                yield from self._batch(group.labels[rows], drop[rows], own, lines, some, absent, ends, range_ms)

    def _subquery_windows(self, node: Subquery) -> tuple[int, Iterator[Batch]]:
        ends = self.ends(node.at, node.offset_ms)
        vector, times = self._subquery(node, ends)
        return len(vector.labels), self._vector_windows(vector, times, ends, node.range_ms)

    def _vector_windows(self, vector: Vector, times: Ints, ends: Ints, range_ms: int) -> Iterator[Batch]:
        budget = self.query.budget
        budget.hold(_STEP_BYTES * self.steps)
        height = max(1, min(MAX_BATCH, BLOCK // max(len(times), self.steps)))
        for top in range(0, len(vector.labels), height):
            rows = slice(top, top + height)
            present = vector.present[rows]
            values = np.ascontiguousarray(vector.values[rows])
            absent = None if present.all() else ~present
            budget.read(values.size)
            labels, drop, table = vector.labels[rows], vector.drop[rows], Whole(values)
            yield from self._batch(labels, drop, times[np.newaxis], None, table, absent, ends, range_ms)

    def _batch(
        self,
        labels: Sequence[Labels],
        drop: Sequence[bool],
        times: Ints,
        line: Ints | None,
        table: Table,
        absent: Bools | None,
        ends: Ints,
        range_ms: int,
    ) -> Iterator[Batch]:
        budget = self.query.budget
        if absent is not None and line is None and not (gappy := absent.any(axis=1)).all():
            # Most processes outlive the range: their windows are cheap, and share a timeline.
            values = table.whole()
            budget.hold(values.nbytes)
            for rows, gaps in ((np.flatnonzero(~gappy), None), (np.flatnonzero(gappy), absent[gappy])):
                some = rows.tolist()
                names, drops = [labels[i] for i in some], [drop[i] for i in some]
                own = times if len(times) == 1 else times[rows]
                yield from self._batch(names, drops, own, None, Whole(values[rows]), gaps, ends, range_ms)
            budget.hold(-values.nbytes)
            return
        size = 0 if absent is None else moving_bytes(absent)
        budget.hold(size)
        yield labels, drop, make_windows(times, table, len(labels), absent, ends, range_ms, budget.check, line)
        budget.hold(-size)

    def _subquery(self, node: Subquery, ends: Ints) -> tuple[Vector, Ints]:
        """The inner expression's value at every multiple of the step that a window covers, and those times."""
        step_ms = node.step_ms or _SUBQUERY_STEP_MS
        start = ((int(ends[0]) - node.range_ms) // step_ms + 1) * step_ms
        steps = max(0, (int(ends[-1]) - start) // step_ms + 1)
        self.query.budget.hold(24 * steps)  # before arrays of that size are made
        times = start + step_ms * np.arange(steps, dtype=np.int64)
        if not steps:
            return empty(0), times
        inner = Evaluator(self.query, times, counted=self.counts is not None)
        vector = inner.vector(node.expr)
        if self.counts is not None and inner.counts is not None:
            self.counts.add_subquery(inner.counts, ends, node.range_ms)
        return vector, times

    def samples_between(self, matchers: Sequence[Matcher], after_ms: int, end_ms: int) -> Samples:
        """The matching series' samples after one time, up to and including another."""
        matrix = Matrix(Selector(tuple(matchers), 0), end_ms - after_ms)
        return Evaluator(self.query, np.array([end_ms], np.int64))._samples(matrix)

    def _samples(self, node: Matrix | Subquery) -> Samples:
        """A range vector at the only step: the value of an instant query such as `x[5m]`."""
        labels: list[Labels] = []
        samples: list[tuple[Ints, Floats]] = []
        budget = self.query.budget
        if isinstance(node, Subquery):
            vector, times = self._subquery(node, self.ends(node.at, node.offset_ms))
            vector = named(vector, budget)
            for i, present in enumerate(vector.present):
                if present.any():
                    budget.hold(16 * int(present.sum()))
                    labels.append(vector.labels[i])
                    samples.append((times[present], vector.values[i][present]))
            return Samples(labels, samples)
        for names, _, windows in self.windows(node)[1]:
            for i, one in enumerate(names):
                found = windows.samples_of(i)
                if len(found[0]):
                    labels.append(one)
                    samples.append(found)
                    budget.hold(16 * len(found[0]))
        return Samples(labels, samples)


def _newest(group: SeriesGroup, ends: Ints, oldest: Ints) -> tuple[Ints, Ints, Bools]:
    """For each of `ends`, the group's newest timestamp: its index, the time, and whether it is later than `oldest`.

    Each is [steps]; with several timelines the index is [timelines, steps], the others are [series, steps].
    """
    if group.line is None:
        times = group.timestamps
        there = times.searchsorted(ends, "right") - 1
        none = int(there.searchsorted(0))  # the number of first steps without any sample before them
        if none:
            there[:none] = 0
        when = times.take(there)
        recent = when > oldest
        if none:
            recent[:none] = False
        return there, when, recent
    there = np.array([times.searchsorted(ends, "right") for times in group.timestamps]) - 1
    some = there >= 0
    there[~some] = 0
    when = pick(group.timestamps, there)
    return there, when[group.line], ((when > oldest) & some)[group.line]
