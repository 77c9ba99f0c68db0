"""Draws the series of a range query in the terminal, with plotille."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from prom_probe.cli.answer import AnswerSeries, AnswerStyle, QueryAnswer, human_number, series_name
from prom_probe.cli.clock import format_time
from prom_probe.cli.error import ClientError
from prom_probe.cli.expression_unit import Unit, unit_of_name
from prom_probe.model.labels import METRIC_NAME

# A series each; more lines than these cannot be told apart.
_COLORS = ("bright_blue", "yellow", "green", "magenta", "cyan", "red", "white")

# A gap of more steps than this is not bridged.
_GAP_STEPS = 1.5

_LABEL_WIDTH = 10  # plotille's
_LEAST_COLUMNS, _ROWS = 40, 18


def draw(answer: QueryAnswer, style: AnswerStyle, step_s: float, *, columns: int, colors: bool) -> str:
    """The largest series as lines, with a legend, at most `columns` wide. ClientError without plotille.

    Without `colors`, each point is a letter that the legend has too.
    """
    series = sorted(answer.series, key=_largest, reverse=True)
    drawn = [each for each in series[: len(_COLORS)] if math.isfinite(_largest(each))]
    if not drawn:
        return "(no number to draw)"
    figure = _figure(drawn, style, max(_LEAST_COLUMNS, columns - _LABEL_WIDTH - 14), colors)
    legend = []
    for place, (each, color) in enumerate(zip(drawn, _COLORS, strict=False)):
        letter = chr(ord("a") + place)
        for part in _unbroken(each, step_s):
            figure.plot(*zip(*part, strict=True), lc=color if colors else None, marker=None if colors else letter)
        legend.append(f"{_colored('──', color) if colors else letter}  {series_name(each.labels)}")
    if len(series) > len(drawn):
        legend.append(f"{len(series) - len(drawn)} smaller series are not drawn")
    return "\n".join([figure.show(), "", *legend])


def _figure(drawn: list[AnswerSeries], style: AnswerStyle, width: int, colors: bool) -> Any:
    figure = _plotille().Figure()
    figure.width, figure.height = width, _ROWS
    figure.origin, figure.with_colors, figure.color_mode = False, colors, "names"
    points = [point for each in drawn for point in _numbers(each)]
    times, values = [t for t, _ in points], [value for _, value in points]
    low, high = min(0.0, *values), max(values)
    figure.set_x_limits(min(times), max(times) if max(times) > min(times) else min(times) + 1)
    figure.set_y_limits(low, high + (high - low) / _ROWS if high > low else low + 1)
    figure.x_label, figure.y_label = format_time(max(times), utc=style.utc, milliseconds=False)[19:], ""
    unit = _common_unit(drawn, style)
    figure.x_ticks_fkt = lambda t, _: format_time(t, utc=style.utc, milliseconds=False)[11:19]
    figure.y_ticks_fkt = lambda value, _: _tick(value, unit)
    return figure


def _tick(value: float, unit: Unit) -> str:
    text = human_number(f"{value:.4g}", "" if unit == "time" else unit)
    return (text if len(text) <= _LABEL_WIDTH else text.replace(" ", "")).rjust(_LABEL_WIDTH)


def _common_unit(drawn: list[AnswerSeries], style: AnswerStyle) -> Unit:
    units = {unit_of_name(each.labels.get(METRIC_NAME, "")) or style.unit for each in drawn}
    return units.pop() if len(units) == 1 and not style.raw else ""


def _numbers(series: AnswerSeries) -> Iterator[tuple[float, float]]:
    for t, text in series.points:
        if math.isfinite(value := float(text)):
            yield t, value


def _largest(series: AnswerSeries) -> float:
    return max((value for _, value in _numbers(series)), default=-math.inf)


def _unbroken(series: AnswerSeries, step_s: float) -> Iterator[list[tuple[float, float]]]:
    """The points of a series, in parts between its gaps."""
    part: list[tuple[float, float]] = []
    for point in _numbers(series):
        if part and point[0] - part[-1][0] > _GAP_STEPS * step_s:
            yield part
            part = []
        part.append(point)
    if part:
        yield part


def _colored(text: str, color: str) -> str:
    return str(_plotille().color(text, fg=color, mode="names"))


def _plotille() -> Any:
    try:
        import plotille
    except ImportError:
        raise ClientError("--plot needs the package plotille: pip install 'prom-probe[plot]'") from None
    return plotille
