"""What is said of damage: how much is lost, and of which time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from prom_probe.tsdb.disk.segment import Damage


def moment(t_ms: int) -> str:
    """A timestamp as people read it, in UTC."""
    try:
        return datetime.fromtimestamp(t_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return f"{t_ms} ms"


def lost_span(damage: Damage) -> str:
    """Between which samples it lies."""
    if damage.after_ms is not None and damage.before_ms is not None:
        return f"between {moment(damage.after_ms)} and {moment(damage.before_ms)}"
    if damage.after_ms is not None:
        return f"after {moment(damage.after_ms)}"
    return f"before {moment(damage.before_ms)}" if damage.before_ms is not None else "of an unknown time"


def lost_bytes(damage: Damage) -> str:
    """How many bytes and records."""
    size = f"{damage.end - damage.start} bytes"
    if damage.torn:
        return f"cut off {size} at the end, an incomplete write"
    if damage.records is None:
        return f"{size} damaged, at least 1 record"
    return f"{size} damaged, {counted(damage.records, 'record') if damage.records else 'no record'}"


def describe(damages: Sequence[Damage]) -> str:
    """All damage of a segment, but an incomplete write at its end, in one line."""
    whole = damages[0]._replace(before_ms=damages[-1].before_ms)
    first = f"{lost_bytes(damages[0])}, at offset {whole.start}" if len(damages) == 1 else ""
    if not first:
        size = sum(damage.end - damage.start for damage in damages)
        known = [damage.records for damage in damages if damage.records is not None]
        least = "" if len(known) == len(damages) else "at least "
        records = sum(known) + len(damages) - len(known)
        first = f"{size} bytes damaged in {len(damages)} places, {least}{counted(records, 'record')}"
        first += f", the first at offset {whole.start}"
    return f"{first}, {lost_span(whole)}"


def counted(count: int, noun: str) -> str:
    """The number with its noun."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
