"""When to evaluate a query, as the flags say it."""

from __future__ import annotations

import re
from datetime import datetime
from typing import NamedTuple

from prom_probe.cli.error import ClientError
from prom_probe.config.units import parse_duration

# Points of a range whose step is not given.
_POINTS = 60


class Span(NamedTuple):
    """When to evaluate, in Unix seconds: at `end_s`, or from `start_s` every `step_s` until then.

    `default_step`: nobody has asked for this step.
    """

    start_s: float | None
    end_s: float
    step_s: float
    default_step: bool = False


def parse_span(start: str | None, end: str | None, step: str | None, now: float) -> Span:
    """The span of the flags, relative to `now`. Raises ClientError."""
    end_s = _time(end or "now", now, "--end")
    if start is None:
        if step is not None:
            raise ClientError("--step needs --start", 2)
        return Span(None, end_s, 0.0)
    start_s = _time(start, now, "--start")
    if step is not None:
        return Span(start_s, end_s, _step(step))
    step_s = max(1.0, round((end_s - start_s) / _POINTS))
    # The last row is at the end: the largest value since the row before (`thinning.py`) leaves nothing out.
    return Span(end_s - (end_s - start_s) // step_s * step_s, end_s, step_s, default_step=True)


def _time(text: str, now: float, flag: str) -> float:
    if text == "now":
        return now
    try:
        if text.startswith("-") and not re.fullmatch(r"-[0-9.]+", text):
            return now - parse_duration(text[1:])
        return float(text) if re.fullmatch(r"[0-9.]+", text) else datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise ClientError(f"{flag}: neither Unix seconds, RFC 3339 nor -DURATION: {text!r}", 2) from None


def _step(text: str) -> float:
    try:
        return float(text) if re.fullmatch(r"[0-9.]+", text) else parse_duration(text)
    except ValueError as error:
        raise ClientError(f"--step: {error}", 2) from None
