"""Functions of dates: of a vector's values, or the steps' times, as seconds since 1970 in UTC."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from prom_probe.model.labels import EMPTY
from prom_probe.promql.ast import Call, Type
from prom_probe.promql.functions.base import Function
from prom_probe.promql.query import Evaluation
from prom_probe.promql.values import Floats, Ints, Value, Vector

_DAY_S = 86_400

# What Prometheus makes of NaN and of what is not within an int64: the time 2^63 seconds after 1970.
_NO_TIME_S = 1 << 63


class _Time(NamedTuple):
    """Times: days since 1970, and seconds of the day."""

    days: Ints
    seconds: Ints

    def since(self, unit: str) -> Ints:
        """The day of the month or year, from 1."""
        dates = self.days.astype("datetime64[D]")
        days: Ints = (dates - dates.astype(f"datetime64[{unit}]").astype("datetime64[D]")).astype(np.int64) + 1
        return days

    def units(self, unit: str) -> Ints:
        """Months or years since 1970."""
        units: Ints = self.days.astype("datetime64[D]").astype(f"datetime64[{unit}]").astype(np.int64)
        return units


def _days_in_month(times: _Time) -> Ints:
    month = times.days.astype("datetime64[D]").astype("datetime64[M]")
    next_month = month + np.timedelta64(1, "M")
    days: Ints = (next_month.astype("datetime64[D]") - month.astype("datetime64[D]")).astype(np.int64)
    return days


def _date(compute: Callable[[_Time], Ints]) -> Function:
    def of_values(values: Floats) -> Floats:
        sane = np.abs(values) < _NO_TIME_S
        seconds = np.where(sane, values, 0.0).astype(np.int64)
        days = np.where(sane, seconds // _DAY_S, _NO_TIME_S // _DAY_S)
        return compute(_Time(days, np.where(sane, seconds % _DAY_S, _NO_TIME_S % _DAY_S))).astype(np.float64)

    def call(ev: Evaluation, node: Call) -> Value:
        if not node.args:
            times = _Time(*np.divmod(ev.times // 1000, _DAY_S))
            return Vector([EMPTY], compute(times)[None, :].astype(np.float64), np.ones((1, ev.steps), np.bool_))
        vector = ev.vector(node.args[0])
        return ev.query.unnamed(vector.replace(ev.mapped(vector.values, of_values)))

    return Function(call, (Type.VECTOR,), optional=1)


DATES = {
    "minute": _date(lambda times: times.seconds // 60 % 60),
    "hour": _date(lambda times: times.seconds // 3600),
    "day_of_week": _date(lambda times: (times.days + 4) % 7),
    "day_of_month": _date(lambda times: times.since("M")),
    "day_of_year": _date(lambda times: times.since("Y")),
    "days_in_month": _date(_days_in_month),
    "month": _date(lambda times: times.units("M") % 12 + 1),
    "year": _date(lambda times: times.units("Y") + 1970),
}
