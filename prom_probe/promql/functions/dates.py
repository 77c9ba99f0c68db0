"""Functions of dates: of a vector's values, or the steps' times, as seconds since 1970 in UTC."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from prom_probe.model.labels import EMPTY
from prom_probe.promql.ast import Call, Type
from prom_probe.promql.functions.base import Function
from prom_probe.promql.query import Evaluation
from prom_probe.promql.values import Floats, Ints, Value, Vector

_DAY_S = 86_400
_LIMIT_S = 2.0**55  # keeps the arithmetic within int64; dates beyond it make no sense


def _days(seconds: Ints) -> Any:
    return (seconds // _DAY_S).astype("datetime64[D]")


def _first_of(seconds: Ints, unit: str) -> Any:
    return _days(seconds).astype(f"datetime64[{unit}]").astype("datetime64[D]")


def _month(seconds: Ints) -> Ints:
    months: Ints = _days(seconds).astype("datetime64[M]").astype(np.int64) % 12 + 1
    return months


def _year(seconds: Ints) -> Ints:
    years: Ints = _days(seconds).astype("datetime64[Y]").astype(np.int64) + 1970
    return years


def _days_in_month(seconds: Ints) -> Ints:
    month = _days(seconds).astype("datetime64[M]")
    days: Ints = ((month + np.timedelta64(1, "M")).astype("datetime64[D]") - month.astype("datetime64[D]")).astype(
        np.int64
    )
    return days


def _since(unit: str) -> Callable[[Ints], Ints]:
    """The day of the month or year, from 1."""

    def days(seconds: Ints) -> Ints:
        found: Ints = (_days(seconds) - _first_of(seconds, unit)).astype(np.int64) + 1
        return found

    return days


def _date(compute: Callable[[Ints], Ints]) -> Function:
    def of_values(values: Floats) -> Floats:
        sane = np.abs(values) < _LIMIT_S
        return np.where(sane, compute(np.where(sane, values, 0.0).astype(np.int64)), np.nan)

    def call(ev: Evaluation, node: Call) -> Value:
        if not node.args:
            values = compute(ev.times // 1000)[None, :].astype(np.float64)
            return Vector([EMPTY], values, np.ones((1, ev.steps), np.bool_))
        vector = ev.vector(node.args[0])
        return ev.query.unnamed(vector.replace(ev.mapped(vector.values, of_values)))

    return Function(call, (Type.VECTOR,), optional=1)


DATES = {
    "minute": _date(lambda seconds: seconds // 60 % 60),
    "hour": _date(lambda seconds: seconds // 3600 % 24),
    "day_of_week": _date(lambda seconds: (seconds // _DAY_S + 4) % 7),
    "day_of_month": _date(_since("M")),
    "day_of_year": _date(_since("Y")),
    "days_in_month": _date(_days_in_month),
    "month": _date(_month),
    "year": _date(_year),
}
