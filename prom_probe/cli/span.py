"""When to evaluate a query, as the flags say it."""

from __future__ import annotations

import re
from typing import NamedTuple

from prom_probe.cli.clock import parse_time
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


def parse_span(
    start: str | None, end: str | None, step: str | None, now: float, *, last: str | None = None, utc: bool = False
) -> Span:
    """The span of the flags, relative to `now`. Raises ClientError."""
    end_s = parse_time(end or "now", now, "--end", utc=utc)
    if last is not None and start is not None:
        raise ClientError("--start and --last exclude each other", 2)
    if start is not None:
        start_s = parse_time(start, now, "--start", utc=utc)
    elif last is not None:
        start_s = end_s - _seconds(last, "--last")
    elif step is not None:
        raise ClientError("--step needs --start or --last", 2)
    else:
        return Span(None, end_s, 0.0)
    if step is not None:
        return Span(start_s, end_s, _seconds(step, "--step"))
    step_s = max(1.0, round((end_s - start_s) / _POINTS))
    # The last row is at the end: the largest value since the row before (`thinning.py`) leaves nothing out.
    return Span(end_s - (end_s - start_s) // step_s * step_s, end_s, step_s, default_step=True)


def _seconds(text: str, flag: str) -> float:
    try:
        return float(text) if re.fullmatch(r"[0-9.]+", text) else parse_duration(text)
    except ValueError as error:
        raise ClientError(f"{flag}: {error}", 2) from None
