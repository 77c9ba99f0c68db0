"""Times as people write and read them: in the local zone, or in UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta

from prom_probe.cli.error import ClientError
from prom_probe.config.units import parse_duration

_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")
_CLOCK = re.compile(r"[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?")


def parse_time(text: str, now_s: float, flag: str, *, utc: bool = False) -> float:
    """Unix seconds of `now`, -5m, 14:03:07 (at most a day before `now_s`), RFC 3339 or Unix seconds.

    `utc`: a time without an offset is in UTC. Raises ClientError.
    """
    try:
        if text == "now":
            return now_s
        if _NUMBER.fullmatch(text):
            return float(text)
        if text.startswith("-") and not _NUMBER.fullmatch(text[1:]):
            return now_s - parse_duration(text[1:])
        if _CLOCK.fullmatch(text):
            return _latest(time.fromisoformat(text), now_s, utc)
        moment = datetime.fromisoformat(text)
        return (moment.replace(tzinfo=UTC) if utc and moment.tzinfo is None else moment).timestamp()
    except (ValueError, OverflowError):
        raise ClientError(f"{flag}: neither 14:03:07, -5m, now, RFC 3339 nor Unix seconds: {text!r}", 2) from None


def _latest(clock: time, now_s: float, utc: bool) -> float:
    """When a clock last showed that."""
    zone = UTC if utc else None
    day = datetime.fromtimestamp(now_s, zone).date()
    today_s = datetime.combine(day, clock, zone).timestamp()
    return today_s if today_s <= now_s else datetime.combine(day - timedelta(days=1), clock, zone).timestamp()


def format_time(seconds: float, *, utc: bool = False, milliseconds: bool = True) -> str:
    """The time with its offset from UTC: 2026-11-30 14:03:07.000+01:00."""
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
        text = (moment if utc else moment.astimezone()).isoformat(" ", "milliseconds" if milliseconds else "seconds")
    except (ValueError, OverflowError, OSError):
        return f"{seconds:g}"  # beyond the calendar
    return text.replace("+00:00", "Z") if utc else text
