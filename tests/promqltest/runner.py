"""Runs a script's commands against a store and an engine, and compares the results with the expected ones."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from prom_probe.model.feature import Feature
from prom_probe.model.labels import EMPTY, Labels, format_labels
from prom_probe.promql.engine import Engine
from prom_probe.promql.limits import QueryLimits
from prom_probe.promql.queryable import Queryable
from prom_probe.promql.result import QueryError, Result
from prom_probe.tsdb.store import AppendOutcome, Store, StoreOptions
from tests.promqltest.pinned import other_times, pinned
from tests.promqltest.script import Broken, Clear, Eval, Expectation, Load, Note, Point, parse_script
from tests.promqltest.skip import unstored, why_skipped

_TOLERANCE = 1e-6
_SMALLEST = 2.2250738585072014e-308
_MINUTE_MS = 60_000
_PLACE = re.compile(r" \([0-9]+:[0-9]+\)$")
# Something else in an instant query than in a range query around its time.
_QUERY_TIMES = re.compile(r"\b(?:step|range|start|end)\s*\(\s*\)", re.I)
OPTIONS = StoreOptions(retention_ms=10**14, retention_bytes=1 << 31, max_series=1_000_000)
LIMITS = QueryLimits(max_samples=50_000_000, max_memory_bytes=1 << 30, features=frozenset(Feature))


@dataclass(frozen=True, slots=True)
class Outcomes:
    """The outcome of one case."""

    line: int
    expr: str
    status: Literal["passed", "failed", "skipped"]
    reason: str = ""


class _Mismatch(Exception):
    """The result differs from the expected one; the text has both."""


def run_script(text: str, features: Iterable[Feature] = Feature) -> Iterator[Outcomes]:
    """Run all cases of a script in order; raises ScriptError. Upstream runs its own with all features on."""
    engine = Engine(replace(LIMITS, features=frozenset(features)))
    store = Store(OPTIONS)
    missing: dict[Labels, str] = {}
    for command in parse_script(text):
        match command:
            case Clear():
                store, missing = Store(OPTIONS), {}
            case Load():
                missing |= unstored(command)
                fill(store, command)
            case Eval():
                yield run_case(engine, store.snapshot(), command, missing)
            case Broken():
                yield Outcomes(command.line, command.text, "failed", f"not of the language: {command.error}")


def fill(store: Store, load: Load) -> None:
    """Append a load's samples; raises ValueError where the store refuses one."""
    for labels, points in load.series.items():
        for i, point in enumerate(points):
            if isinstance(point, float):
                outcome = store.append(labels, i * load.step_ms, point)
                if outcome is not AppendOutcome.APPENDED:
                    raise ValueError(f"line {load.line}: {format_labels(labels)}: sample {i} was refused: {outcome}")


def run_case(engine: Engine, queryable: Queryable, case: Eval, missing: Mapping[Labels, str]) -> Outcomes:
    """Run one case. `missing`: series that the script loaded and the store cannot have, and what they are."""
    reason = why_skipped(case, missing)
    if reason:
        return Outcomes(case.line, case.expr, "skipped", reason)
    try:
        _check(engine, queryable, case)
    except _Mismatch as mismatch:
        return Outcomes(case.line, case.expr, "failed", str(mismatch))
    except Exception as error:
        return Outcomes(case.line, case.expr, "failed", f"our own bug: {type(error).__name__}: {error}")
    return Outcomes(case.line, case.expr, "passed")


def _check(engine: Engine, queryable: Queryable, case: Eval) -> None:
    """Raises _Mismatch. An instant query is asked as a range query around its time too, as upstream does."""
    result = _answer(engine, queryable, case, around=False)
    if result is None:
        return
    _check_notes(case, "warn", "no_warn", result.warnings)
    _check_notes(case, "info", "no_info", result.infos)
    if not case.instant:
        _check_rows(case, _table(result, case.start_ms, case.end_ms, case.step_ms))
    elif case.matrix is not None:
        _check_rows(case, _table(result, *case.matrix))
    elif case.string is not None:
        if result.type != "string" or result.string != case.string:
            raise _Mismatch(f"expected the string {case.string!r}, got {result.type} {result.string!r}")
    else:
        _check_instant(case, result)
        _check_pinned(engine, queryable, case)
        if result.type in ("vector", "scalar") and not case.expects("ordered") and not _QUERY_TIMES.search(case.expr):
            _check_around(engine, queryable, case, result.type)


def _answer(engine: Engine, queryable: Queryable, case: Eval, *, around: bool) -> Result | None:
    """The query's result; None for an expected error."""
    wanted = [one for one in case.notes if one.note == "fail"]
    try:
        if around:
            low, high = case.start_ms - _MINUTE_MS, case.start_ms + _MINUTE_MS
            result = engine.range(queryable, case.expr, low, high, _MINUTE_MS)
        elif case.instant:
            result = engine.instant(queryable, case.expr, case.start_ms)
        else:
            result = engine.range(queryable, case.expr, case.start_ms, case.end_ms, case.step_ms)
    except QueryError as error:
        if around:
            raise _Mismatch(f"as a range query around its time: expected an answer, got the error {error}") from None
        if not wanted:
            raise _Mismatch(f"expected an answer, got the error {error}") from None
        for one in wanted:
            if not _fits(one, str(error)):
                raise _Mismatch(f"expected {one}, got the error {error}") from None
        return None
    if wanted and not around:
        raise _Mismatch(f"expected {wanted[0]}, got {_shown_result(result)}")
    return result


def _fits(expectation: Expectation, text: str) -> bool:
    if expectation.pattern:
        return re.search(expectation.pattern, text) is not None
    return expectation.text in ("", text, _PLACE.sub("", text))  # some of upstream's scripts have no places


def _check_notes(case: Eval, note: Note, none: Note, found: list[str]) -> None:
    if case.expects(none) and found:
        raise _Mismatch(f"expected {none}, got {found}")
    wanted = [one for one in case.notes if one.note == note]
    for one in wanted:
        if not any(_fits(one, text) for text in found):
            raise _Mismatch(f"expected {one}, got {found or 'none'}")
    for text in found:
        if wanted and not any(_fits(one, text) for one in wanted):
            raise _Mismatch(f"expected {', '.join(map(str, wanted))}, got also {text!r}")


def _check_instant(case: Eval, result: Result) -> None:
    if case.scalar is not None:
        if result.type != "scalar" or not _equal(case.scalar, float(result.values[0, 0])):
            raise _Mismatch(f"expected the scalar {case.scalar}, got {_shown_result(result)}")
        return
    if result.type != "vector":
        raise _Mismatch(f"expected a vector, got {_shown_result(result)}")
    found: dict[Labels, list[Point]] = {
        labels: [float(value)] for labels, value in zip(result.labels, result.values[:, 0], strict=True)
    }
    if len(found) < len(result.labels):
        raise _Mismatch(f"series with equal labels: {_shown_result(result)}")
    _check_rows(case, found)
    order = [labels for labels, _ in case.rows]
    if case.expects("ordered") and order != result.labels:
        raise _Mismatch(f"expected the order {_names(order)}, got {_names(result.labels)}")


def _check_pinned(engine: Engine, queryable: Queryable, case: Eval) -> None:
    """Where `@` is put at the selectors, the time of the query does not matter."""
    expr = pinned(case.expr, case.start_ms)
    if expr is None or _QUERY_TIMES.search(case.expr):
        return
    for t_ms in other_times(case.start_ms):
        try:
            result = engine.instant(queryable, expr, t_ms)
            _check_instant(case, result)
        except (QueryError, _Mismatch) as error:
            raise _Mismatch(f"as {expr} at {t_ms / 1000}: {error}") from None


def _check_around(engine: Engine, queryable: Queryable, case: Eval, kind: str) -> None:
    result = _answer(engine, queryable, case, around=True)
    if result is None or result.present is None:
        return
    found: dict[Labels, list[Point]] = {}
    for labels, values, present in zip(result.labels, result.values, result.present, strict=True):
        if present[1]:
            found[labels] = [float(values[1])]
    try:
        if kind == "scalar":
            got = found.get(EMPTY, [None])[0]
            if not isinstance(got, float) or case.scalar is None or not _equal(case.scalar, got):
                raise _Mismatch(f"expected {case.scalar}, got {got}")
        else:
            _check_rows(case, found)
    except _Mismatch as mismatch:
        raise _Mismatch(f"as a range query around its time: {mismatch}") from None


def _table(result: Result, start_ms: int, end_ms: int, step_ms: int) -> dict[Labels, list[Point]]:
    """A matrix's points by series, at each step."""
    steps = range(start_ms, end_ms + 1, step_ms)
    table: dict[Labels, list[Point]] = {}
    if result.raw is not None:
        for labels, (times, values) in zip(result.labels, result.raw, strict=True):
            points = dict(zip(times.tolist(), values.tolist(), strict=True))
            row = [points.pop(t_ms, None) for t_ms in steps]
            if points:
                raise _Mismatch(f"{format_labels(labels)}: samples at times not expected: {points}")
            table[labels] = list(row)
    elif result.present is not None:
        for labels, row_values, present in zip(result.labels, result.values, result.present, strict=True):
            table[labels] = [float(v) if here else None for v, here in zip(row_values, present, strict=True)]
    else:
        raise _Mismatch(f"expected a matrix, got {_shown_result(result)}")
    return table


def _check_rows(case: Eval, found: dict[Labels, list[Point]]) -> None:
    expected = {labels: _trimmed(points) for labels, points in case.rows}
    got = {labels: _trimmed(points) for labels, points in found.items()}
    expected = {labels: points for labels, points in expected.items() if points}
    for labels in expected.keys() | got.keys():
        wanted, here = expected.get(labels, []), got.get(labels, [])
        same = len(wanted) == len(here) and all(_same(a, b) for a, b in zip(wanted, here, strict=True))
        if not same:
            raise _Mismatch(f"{format_labels(labels)}: expected {_shown(wanted)}, got {_shown(here)}")


def _trimmed(points: Sequence[Point]) -> list[Point]:
    """Without the gaps at the end."""
    kept = list(points)
    while kept and kept[-1] is None:
        kept.pop()
    return kept


def _same(wanted: Point, got: Point) -> bool:
    if isinstance(wanted, float) and isinstance(got, float):
        return _equal(wanted, got)
    return wanted is got


def _equal(wanted: float, got: float) -> bool:
    """Equal but for a relative 1e-6 of the sum of magnitudes; NaN equals NaN."""
    if wanted == got or (wanted != wanted and got != got):
        return True
    size, apart = abs(wanted) + abs(got), abs(wanted - got)
    if wanted == 0 or got == 0 or size < _SMALLEST:
        return apart < _TOLERANCE * _SMALLEST
    return apart / min(size, 1.7976931348623157e308) < _TOLERANCE


def _shown(points: Sequence[Point]) -> str:
    return " ".join("_" if point is None else repr(point) for point in points) or "nothing"


def _names(labels: Sequence[Labels]) -> str:
    return ", ".join(map(format_labels, labels)) or "nothing"


def _shown_result(result: Result) -> str:
    if result.type == "string":
        return f"the string {result.string!r}"
    rows = zip(result.labels, result.values.tolist(), strict=False)
    return f"the {result.type} " + ("; ".join(f"{format_labels(labels)} {row}" for labels, row in rows) or "(empty)")
