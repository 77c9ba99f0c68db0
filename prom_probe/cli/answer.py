"""The query API's answer: read, and printed as a table or as CSV."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from io import StringIO
from typing import Any, NamedTuple

import msgspec

from prom_probe.cli.clock import format_time
from prom_probe.cli.error import ClientError
from prom_probe.cli.expression_unit import Unit, unit_of_name
from prom_probe.config.units import human_duration, human_size
from prom_probe.model.labels import METRIC_NAME
from prom_probe.model.printable import printable


class AnswerSeries(NamedTuple):
    """One series: its labels, and its values as the API writes them, by Unix seconds."""

    labels: Mapping[str, str]
    points: list[tuple[float, str]]


class QueryAnswer(NamedTuple):
    """`kind`: scalar, string, vector or matrix; the first two have one series without labels. `notes`: warnings."""

    kind: str
    series: list[AnswerSeries]
    notes: list[str]


class AnswerStyle(NamedTuple):
    """How people want to read it. `unit`: that of the expression, for series whose names tell none."""

    utc: bool = False
    raw: bool = False
    unit: Unit = ""


def read_answer(body: bytes) -> QueryAnswer:
    """The API's JSON; ClientError if it is none."""
    try:
        decoded = msgspec.json.decode(body)
        kind, result = decoded["data"]["resultType"], decoded["data"]["result"]
        series = _READERS[kind](result)
        notes = [f"{kind[:-1]}: {text}" for kind in ("warnings", "infos") for text in decoded.get(kind) or ()]
    except (msgspec.DecodeError, KeyError, TypeError, ValueError, AttributeError):
        raise ClientError("the answer is not Prometheus's JSON") from None
    return QueryAnswer(kind, series, notes)


def _point(pair: Any) -> tuple[float, str]:
    t, value = pair
    return float(t), str(value)


_READERS = {
    "scalar": lambda result: [AnswerSeries({}, [_point(result)])],
    "string": lambda result: [AnswerSeries({}, [_point(result)])],
    "vector": lambda result: [AnswerSeries(dict(one["metric"]), [_point(one["value"])]) for one in result],
    "matrix": lambda result: [AnswerSeries(dict(one["metric"]), list(map(_point, one["values"]))) for one in result],
}


def series_name(labels: Mapping[str, str]) -> str:
    """A series as PromQL writes it, on one line."""
    inner = ", ".join(f"{k}={msgspec.json.encode(v).decode()}" for k, v in sorted(labels.items()) if k != METRIC_NAME)
    name = labels.get(METRIC_NAME, "")
    return printable(f"{name}{{{inner}}}" if inner or METRIC_NAME not in labels else name)


def render_table(answer: QueryAnswer, style: AnswerStyle) -> str:
    """A line for each series, for ranges its points below."""
    rows = _ranges(answer, style) if answer.kind == "matrix" else _values(answer, style)
    return "\n".join([*(rows or ["(no data)"]), *map(printable, answer.notes)])


def _values(answer: QueryAnswer, style: AnswerStyle) -> list[str]:
    shown = [(series, _shown(series, series.points[0][1], style)) for series in answer.series]
    if answer.kind != "vector":
        return [value for _, value in shown]
    names = [series_name(series.labels) for series in answer.series]
    width = max(map(len, names), default=0)
    return [f"{name:<{width}}  {value}" for name, (_, value) in zip(names, shown, strict=True)]


def _ranges(answer: QueryAnswer, style: AnswerStyle) -> list[str]:
    lines = []
    for series in answer.series:
        lines.append(series_name(series.labels))
        lines += [f"  {format_time(t, utc=style.utc)}  {_shown(series, v, style)}" for t, v in series.points]
    return lines


def _shown(series: AnswerSeries, value: str, style: AnswerStyle) -> str:
    unit = unit_of_name(series.labels.get(METRIC_NAME, "")) or style.unit
    return printable(value) if style.raw else human_number(value, unit, utc=style.utc)


def human_number(text: str, unit: Unit, *, utc: bool = False) -> str:
    """A value as the API writes it, in its unit for people; as it is where that is unknown."""
    try:
        value = float(text)
    except ValueError:
        return printable(text)
    if not unit or not math.isfinite(value):
        return printable(text)
    if unit == "time":
        return format_time(value, utc=utc)
    if unit == "seconds":
        return human_duration(value)
    return human_size(value) + unit.removeprefix("bytes")


def render_csv(answer: QueryAnswer, style: AnswerStyle) -> str:
    """A row for each sample: its time, a column for each label of any series, its value without a unit."""
    labels = sorted({name for series in answer.series for name in series.labels})
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(map(printable, ("time", *labels, "value")))
    for series in answer.series:
        cells = [printable(series.labels.get(name, "")) for name in labels]
        writer.writerows(
            (format_time(t, utc=style.utc).replace(" ", "T"), *cells, printable(value)) for t, value in series.points
        )
    return out.getvalue().rstrip("\n")
