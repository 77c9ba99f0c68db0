"""Frames to bytes and back: msgspec Structs in MessagePack, arrays with a tag that carries the version."""

import sys
from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from prom_probe.model.family import Column, Family
from prom_probe.model.labels import EMPTY, Labels
from prom_probe.model.run_event import RunEvent

VERSION = 1
_TAG = VERSION << 4


class CodecError(ValueError):
    """Bytes that are no frame of this version."""


class WireColumn(msgspec.Struct, frozen=True, array_like=True):
    """A column as it is sent: its family by its place in the announcement's `families`."""

    family: int
    labels: Labels
    exposed: bool
    shown: Labels = EMPTY
    lasting: bool = False


class Announce(msgspec.Struct, frozen=True, array_like=True, tag=_TAG | 1):
    """Columns [start, start + len(columns)) of a collector's layout. `start` 0 begins the layout."""

    collector: str
    layout: int
    start: int
    families: tuple[Family, ...]
    columns: tuple[WireColumn, ...]

    def full_columns(self) -> list[Column]:
        """The columns with their families; equal strings are one object. CodecError for a family out of range."""
        families = [
            Family(sys.intern(f.name), f.type, sys.intern(f.help), sys.intern(f.unit), f.detail, f.start)
            for f in self.families
        ]
        try:
            return [
                Column(families[c.family], _interned(c.labels), c.exposed, _interned(c.shown), c.lasting)
                for c in self.columns
            ]
        except IndexError:
            raise CodecError(f"announcement of {self.collector!r}: a column names a family beyond the last") from None


def _interned(labels: Labels) -> Labels:
    return tuple((sys.intern(name), sys.intern(value)) for name, value in labels)


class Batch(msgspec.Struct, frozen=True, array_like=True, tag=_TAG | 2):
    """One collection: packed little-endian float64, one per column, the staleness marker for absent.

    `t_ms` is wall-clock; `took_ns` how long it took; `done_ns` CLOCK_MONOTONIC when it was done; `late_ns` how long
    after its beat the worker began, -1 if no beat caused it or an earlier batch of the same beat has reported it.
    """

    collector: str
    layout: int
    t_ms: int
    took_ns: int
    done_ns: int
    values: bytes
    late_ns: int = -1


class Event(msgspec.Struct, frozen=True, array_like=True, tag=_TAG | 3):
    """Something that happened to a collector; `count` says how often (the number of beats that it overran, say).

    "down": what it reads could not be read, for the reason in `text`, and its row says so.
    """

    collector: str
    t_ms: int
    kind: Literal["started", "overran", "failed", "down"]
    count: int = 1
    text: str = ""


class Happened(msgspec.Struct, frozen=True, array_like=True, tag=_TAG | 4):
    """Something that happened in the run."""

    event: RunEvent


class Reaped(msgspec.Struct, frozen=True, array_like=True, tag=_TAG | 5):
    """The supervisor reaped a process at `t`, unix seconds: its exit status, or the signal that killed it."""

    pid: int
    t: float
    exit_status: int | None
    signal: int | None
    command: bool = False  # whether it was COMMAND; then these are its own time, and the CPU time of all that it reaped
    duration_s: float = 0.0
    cpu_seconds: float = 0.0


class Stamped(msgspec.Struct, frozen=True, array_like=True, tag=_TAG | 6):
    """Samples of a collector that have timestamps of their own: labels, wall clock in milliseconds, value."""

    collector: str
    samples: tuple[tuple[Labels, int, float], ...]


Frame = Announce | Batch | Event | Happened | Reaped | Stamped

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Frame] = msgspec.msgpack.Decoder(Frame)


def encode(frame: Frame) -> bytes:
    return _encoder.encode(frame)


def decode(payload: bytes) -> Frame:
    """The frame in `payload`; CodecError for anything else."""
    try:
        return _decoder.decode(payload)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise CodecError(f"frame of {len(payload)} bytes: {error}") from None


# Columns of one announcement. The labels of all that are decoded at once live beside those that the store keeps; of a
# whole layout they leave megabytes of holes between objects that stay.
_MOST_COLUMNS = 256


def encode_announcements(
    collector: str, layout: int, columns: Sequence[Column], start: int, max_bytes: int
) -> Iterator[tuple[int, bytes]]:
    """Announcements of columns[start:] as (column count announced by then, frame).

    Each has at most `max_bytes` where a single column allows that, and not too many columns.
    """
    step = max(1, min(_MOST_COLUMNS, len(columns) - start))
    while start < len(columns):
        payload = encode(_announce(collector, layout, columns, start, start + step))
        if len(payload) > max_bytes and step > 1:
            step //= 2
            continue
        start = min(start + step, len(columns))
        yield start, payload


def encode_stamped(collector: str, samples: Sequence[tuple[Labels, int, float]], max_bytes: int) -> Iterator[bytes]:
    """Frames of these samples, each of at most `max_bytes` where a single sample allows that."""
    start, step = 0, max(1, min(_MOST_COLUMNS, len(samples)))
    while start < len(samples):
        payload = encode(Stamped(collector, tuple(samples[start : start + step])))
        if len(payload) > max_bytes and step > 1:
            step //= 2
            continue
        start += step
        yield payload


def _announce(collector: str, layout: int, columns: Sequence[Column], start: int, end: int) -> Announce:
    families: dict[Family, int] = {}
    wire = tuple(
        WireColumn(families.setdefault(c.family, len(families)), c.labels, c.exposed, c.shown, c.lasting)
        for c in columns[start:end]
    )
    return Announce(collector, layout, start, tuple(families), wire)
