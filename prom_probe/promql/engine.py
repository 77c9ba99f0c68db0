"""The PromQL engine: instant and range queries over a Queryable, within limits."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from prom_probe.promql.ast import Node, Type
from prom_probe.promql.budget import Accountant, Budget
from prom_probe.promql.durations import QueryTimes
from prom_probe.promql.evaluation import Evaluator
from prom_probe.promql.limits import QueryLimits
from prom_probe.promql.parser import parse_bound
from prom_probe.promql.query import Query
from prom_probe.promql.queryable import Queryable
from prom_probe.promql.result import QueryError, Result, StepCounts, Timings
from prom_probe.promql.values import Ints, Samples, Scalar, Text, Value, Vector, named

_MAX_NOTES = 10  # warnings of one answer, and infos


class _Asked(NamedTuple):
    """What a query asks for beside its expression and times."""

    lookback_ms: int | None
    timeout_s: float | None
    counted: bool


class Engine:
    """Evaluates queries. Its methods may be called from several threads at once, which share the memory limit.

    They raise QueryError: bad_data (the query or its times), execution, timeout.
    """

    def __init__(self, limits: QueryLimits | None = None) -> None:
        self.limits = limits or QueryLimits()
        self._accountant = Accountant(self.limits.max_memory_bytes)

    @property
    def memory_used(self) -> int:
        """The bytes that running queries hold."""
        return self._accountant.used

    def instant(
        self,
        queryable: Queryable,
        expr: str,
        t_ms: int,
        *,
        lookback_ms: int | None = None,
        timeout_s: float | None = None,
        counted: bool = False,
    ) -> Result:
        """The value of `expr` at `t_ms`: a scalar, string, vector, or matrix of raw samples.

        `counted`: the result says how many samples were used.
        """
        began, asked = time.monotonic(), _Asked(lookback_ms, timeout_s, counted)
        query_times = QueryTimes(t_ms, t_ms, 0)
        node = parse_bound(expr, query_times, self.limits.features)
        times = np.array([t_ms], np.int64)
        return self._run(began, queryable, expr, node, times, query_times, asked, _instant_result)

    def range(
        self,
        queryable: Queryable,
        expr: str,
        start_ms: int,
        end_ms: int,
        step_ms: int,
        *,
        lookback_ms: int | None = None,
        timeout_s: float | None = None,
        counted: bool = False,
    ) -> Result:
        """The values of `expr` from `start_ms` to at most `end_ms`, every `step_ms`: a matrix, sorted by labels.

        `counted` as for `instant`.
        """
        self._check_range(start_ms, end_ms, step_ms)
        began, asked = time.monotonic(), _Asked(lookback_ms, timeout_s, counted)
        query_times = QueryTimes(start_ms, end_ms, step_ms)
        node = parse_bound(expr, query_times, self.limits.features)
        if node.type not in (Type.SCALAR, Type.VECTOR):
            raise QueryError(
                "bad_data",
                f'invalid expression type "{node.type}" for range query, must be Scalar or instant Vector',
            )
        times = np.arange(start_ms, end_ms + 1, step_ms, dtype=np.int64)
        return self._run(began, queryable, expr, node, times, query_times, asked, _range_result)

    def _check_range(self, start_ms: int, end_ms: int, step_ms: int) -> None:
        if step_ms <= 0:
            raise QueryError(
                "bad_data", "zero or negative query resolution step widths are not accepted. Try a positive integer"
            )
        if end_ms < start_ms:
            raise QueryError("bad_data", "end timestamp must not be before start time")
        if (end_ms - start_ms) // step_ms > self.limits.max_points:
            raise QueryError(
                "bad_data",
                f"exceeded maximum resolution of {self.limits.max_points:,} points per timeseries."
                " Try decreasing the query resolution (?step=XX)",
            )

    def _run(
        self,
        began: float,
        queryable: Queryable,
        expr: str,
        node: Node,
        times: Ints,
        query_times: QueryTimes,
        asked: _Asked,
        finish: Callable[[Value, Ints, Budget], Result],
    ) -> Result:
        limits = self.limits
        timeout_s = limits.timeout_s if asked.timeout_s is None else min(asked.timeout_s, limits.timeout_s)
        budget = Budget(self._accountant, timeout_s, limits.max_samples)
        lookback_ms = limits.lookback_delta_ms if asked.lookback_ms is None else asked.lookback_ms
        query = Query(expr, queryable, budget, lookback_ms, query_times, limits.features)
        try:
            with np.errstate(all="ignore"):
                prepared = time.monotonic()
                evaluator = Evaluator(query, times, counted=asked.counted)
                value = evaluator.eval(node)
                evaluated = time.monotonic()
                result = _finished(finish(value, times, budget), query)
        except MemoryError:
            raise QueryError("execution", "query ran out of memory") from None
        finally:
            budget.release()
        if evaluator.counts is not None:
            result.counts = StepCounts(times, evaluator.counts.total, evaluator.counts.read)
        result.timings = Timings(prepared - began, evaluated - prepared, time.monotonic() - evaluated)
        return result


def _instant_result(value: Value, times: Ints, budget: Budget) -> Result:
    match value:
        case Text():
            return Result("string", string=value.value, timestamps=times)
        case Scalar():
            return Result("scalar", labels=[()], timestamps=times, values=np.array([value.values]))
        case Samples():
            return Result("matrix", labels=value.labels, raw=value.samples)
        case Vector():
            vector = named(value, budget)
            rows = np.flatnonzero(vector.present[:, 0])
            return Result("vector", [vector.labels[i] for i in rows], times, vector.values[rows])


def _range_result(value: Value, times: Ints, budget: Budget) -> Result:
    if isinstance(value, Scalar):
        values = np.array([value.values])
        return Result("matrix", [()], times, values, np.ones(values.shape, np.bool_), True)
    assert isinstance(value, Vector)
    vector = named(value, budget)
    complete = np.count_nonzero(vector.present) == vector.present.size
    if complete and vector.labels == sorted(vector.labels):
        return Result("matrix", vector.labels, times, vector.values, vector.present, complete)
    rows = np.flatnonzero(np.logical_or.reduce(vector.present, axis=1)).tolist()
    rows.sort(key=vector.labels.__getitem__)
    if rows == list(range(len(vector.labels))):
        return Result("matrix", vector.labels, times, vector.values, vector.present)
    budget.hold(9 * len(rows) * len(times))
    labels = [vector.labels[i] for i in rows]
    return Result("matrix", labels, times, vector.values[rows], vector.present[rows], complete)


def _finished(result: Result, query: Query) -> Result:
    """`result` with its notes; its memory stays booked as long as it lives."""
    size = result.values.nbytes + (0 if result.present is None else result.present.nbytes)
    size += sum(t.nbytes + v.nbytes for t, v in result.raw or ())
    query.budget.release()
    result.booking = query.budget.leave(size)
    result.peak_bytes = query.budget.peak
    result.warnings = _some(list(query.warnings.values()), "warning")
    result.infos = _some(list(query.infos.values()), "info")
    return result


def _some(notes: list[str], kind: str) -> list[str]:
    if len(notes) <= _MAX_NOTES:
        return notes
    return [*notes[:_MAX_NOTES], f"{len(notes) - _MAX_NOTES} more {kind} annotations omitted"]
