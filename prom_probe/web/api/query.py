"""`/api/v1/query`, `query_range` and the other endpoints that take an expression."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from prom_probe.model.feature import Feature
from prom_probe.promql.literals import quote
from prom_probe.web.api.params import (
    MAX_TIME_MS,
    MIN_TIME_MS,
    Parameters,
    duration_param,
    limit_param,
    parameters_of,
    parse_duration,
    parse_time,
    time_param,
)
from prom_probe.web.api.reply import ApiError, invalid, success
from prom_probe.web.context import AppContext
from prom_probe.web.http.message import Answer, Pending, Request

if TYPE_CHECKING:
    from prom_probe.promql.engine import Engine
    from prom_probe.promql.queryable import Queryable
    from prom_probe.promql.result import Result
    from prom_probe.promql.syntax import Written

_SAMPLE_BYTES = 16  # a timestamp and a value: the unit of Prometheus's peakSamples


def query(context: AppContext, request: Request) -> Answer:
    """The value of an expression at one time: `query`, `time`, `timeout`, `limit`, `lookback_delta`, `stats`."""
    params = parameters_of(request)
    limit = limit_param(params)
    t_ms = time_param(params, "time", round(context.clock() * 1000))
    timeout_s, lookback_ms, expr = _timeout(context, params), _lookback(params), params.get("query")
    counted = bool(params.get("stats"))

    def run(engine: Engine, queryable: Queryable, left_s: float) -> Result:
        return engine.instant(queryable, expr, t_ms, lookback_ms=lookback_ms, timeout_s=left_s, counted=counted)

    return _answer(context, params, run, (expr, t_ms, t_ms, 1, lookback_ms), timeout_s, limit)


def query_range(context: AppContext, request: Request) -> Answer:
    """The value of an expression at each step from `start` to `end`: parameters as for `query`, and `step`."""
    params = parameters_of(request)
    limit = limit_param(params)
    start_ms, end_ms = _required_time(params, "start"), _required_time(params, "end")
    if end_ms < start_ms:
        raise invalid("end", "end timestamp must not be before start time")
    step_ms = _step(params)
    if (end_ms - start_ms) // step_ms > context.limits.max_points:
        raise ApiError(
            "bad_data",
            f"exceeded maximum resolution of {context.limits.max_points:,} points per timeseries. "
            "Try decreasing the query resolution (?step=XX)",
        )
    timeout_s, lookback_ms, expr = _timeout(context, params), _lookback(params), params.get("query")
    counted = bool(params.get("stats"))

    def run(engine: Engine, queryable: Queryable, left_s: float) -> Result:
        times = start_ms, end_ms, step_ms
        return engine.range(queryable, expr, *times, lookback_ms=lookback_ms, timeout_s=left_s, counted=counted)

    return _answer(context, params, run, (expr, start_ms, end_ms, step_ms, lookback_ms), timeout_s, limit)


def format_query(context: AppContext, request: Request) -> Answer:
    """The expression `query` in Prometheus's layout."""
    return _written(context, request, lambda expression: expression.pretty())


def parse_query(context: AppContext, request: Request) -> Answer:
    """The tree of the expression `query`."""
    return _written(context, request, lambda expression: expression.json)


def query_exemplars(context: AppContext, request: Request) -> Answer:
    """An empty list, as we keep no exemplars; `query`, `start` and `end` are checked all the same."""
    params = parameters_of(request)
    if time_param(params, "end", MAX_TIME_MS) < time_param(params, "start", MIN_TIME_MS):
        raise ApiError("bad_data", "end timestamp must not be before start timestamp")
    return _written(context, request, lambda expression: [])


def _written(context: AppContext, request: Request, view: Callable[[Written], object]) -> Answer:
    expr = parameters_of(request).get("query")

    def job(deadline: float) -> Iterable[bytes]:
        from prom_probe.promql.result import QueryError
        from prom_probe.promql.syntax import written

        try:
            return [success(view(written(expr, context.limits.features))).body]
        except QueryError as error:
            raise invalid("query", error) from None

    return context.queries.run(job, context.limits.timeout_s, inline=False)


def _answer(
    context: AppContext,
    params: Parameters,
    run: Callable[[Engine, Queryable, float], Result],
    asks: tuple[str, int, int, int, int | None],  # expression, start, end, step, lookback
    timeout_s: float,
    limit: int,
) -> Answer:
    queryable = context.store.snapshot()
    asked = time.monotonic()
    per_step = params.get("stats") == "all" and Feature.PER_STEP_STATS in context.limits.features
    notes = _deprecated(params)

    def job(deadline: float) -> Iterable[bytes]:
        started = time.monotonic()
        engine = context.engine()
        from prom_probe.promql.result import QueryError
        from prom_probe.web.api.json_result import result_json

        try:
            result = run(engine, queryable, deadline - started)
        except QueryError as error:
            raise invalid("query", error) if error.kind == "bad_data" else ApiError(error.kind, str(error)) from None
        stats = _stats(result, asked, started, time.monotonic(), per_step) if result.counts is not None else None
        return result_json(result, stats, limit, notes)

    answer = context.queries.run(job, timeout_s, inline=_on_loop(context, queryable, *asks))
    if isinstance(answer, Pending):
        answer.add_done_callback(lambda _: context.query_seconds.observe(time.monotonic() - asked))
    else:
        context.query_seconds.observe(time.monotonic() - asked)
    return answer


def _on_loop(
    context: AppContext,
    queryable: Queryable,
    expr: str,
    start_ms: int,
    end_ms: int,
    step_ms: int,
    lookback_ms: int | None,
) -> bool:
    """Whether to run the query on the loop; never the first one, which loads the engine."""
    if not context.engine_loaded:
        return False
    from prom_probe.web.api.estimate import is_small

    limits = context.limits
    lookback_ms = lookback_ms or limits.lookback_delta_ms
    return is_small(queryable, expr, start_ms, end_ms, step_ms, lookback_ms, limits.features)


def _deprecated(params: Parameters) -> list[str]:
    """Warnings about what Prometheus's next major release will refuse."""
    value = params.get("stats")
    if value in ("", "true", "all"):
        return []
    return [
        f'value {quote(value)} for parameter "stats" is deprecated and will be rejected in the next major release, '
        'use "true" or "all"'
    ]


def _stats(result: Result, asked: float, started: float, ended: float, per_step: bool) -> dict[str, object]:
    """Prometheus's `stats`; with those for each step, where its feature is on and they are asked for."""
    timings = result.timings
    assert result.counts is not None
    return {
        "timings": {
            "evalTotalTime": sum(timings),
            "resultSortTime": timings.result_sort_s,
            "queryPreparationTime": timings.preparation_s,
            "innerEvalTime": timings.inner_eval_s,
            "execQueueTime": started - asked,
            "execTotalTime": ended - asked,
        },
        "samples": {
            "totalQueryableSamples": int(result.counts.total.sum()),
            "samplesRead": int(result.counts.read.sum()),
            "peakSamples": -(-result.peak_bytes // _SAMPLE_BYTES),
            **(_per_step(result) if per_step else {}),
        },
    }


def _per_step(result: Result) -> dict[str, object]:
    assert result.counts is not None
    seconds = (result.counts.times / 1000).tolist()
    return {
        "totalQueryableSamplesPerStep": list(zip(seconds, result.counts.total.tolist(), strict=True)),
        "samplesReadPerStep": list(zip(seconds, result.counts.read.tolist(), strict=True)),
    }


def _timeout(context: AppContext, params: Parameters) -> float:
    """The query's timeout in seconds: the client's, where it is shorter than ours."""
    asked_ms = duration_param(params, "timeout")
    return context.limits.timeout_s if asked_ms is None else min(asked_ms / 1000, context.limits.timeout_s)


def _lookback(params: Parameters) -> int | None:
    text = params.get("lookback_delta")
    if not text:
        return None
    try:
        lookback_ms = parse_duration(text)
    except ValueError as error:
        raise ApiError("bad_data", f"error parsing lookback delta duration: {error}") from None
    return lookback_ms if lookback_ms > 0 else None


def _required_time(params: Parameters, name: str) -> int:
    try:
        return parse_time(params.get(name))
    except ValueError as error:
        raise invalid(name, error) from None


def _step(params: Parameters) -> int:
    try:
        step_ms = parse_duration(params.get("step"))
    except ValueError as error:
        raise invalid("step", error) from None
    if step_ms <= 0:
        raise invalid("step", "zero or negative query resolution step widths are not accepted. Try a positive integer")
    return step_ms
