"""A plain encoder of remote write requests, and what their tests share."""

from __future__ import annotations

import struct
from collections.abc import Iterable

import cramjam

from prom_probe.model.labels import Labels

Sample = tuple[int, float]

HEADERS = {
    "Content_Type": "application/x-protobuf",
    "Content_Encoding": "snappy",
    "X_Prometheus_Remote_Write_Version": "0.1.0",
}


def varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    number &= (1 << 64) - 1
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number: int, payload: bytes) -> bytes:
    """A length-delimited field."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def label(name: str, value: str) -> bytes:
    return field(1, field(1, name.encode()) + field(2, value.encode()))


def sample(t_ms: int, value: float) -> bytes:
    """As Go writes it: zeros are omitted."""
    packed = struct.pack("<d", value)
    body = b"" if value == 0 else b"\x09" + packed
    return field(2, body + (b"\x10" + varint(t_ms) if t_ms else b""))


def series(labels: Labels, samples: Iterable[Sample]) -> bytes:
    """A time series, as a field of a request."""
    return field(1, b"".join([label(*pair) for pair in labels] + [sample(*one) for one in samples]))


def message(*all_series: tuple[Labels, Iterable[Sample]]) -> bytes:
    """A request, not compressed."""
    return b"".join(series(*one) for one in all_series)


def pack(data: bytes) -> bytes:
    """Snappy's block format."""
    return bytes(cramjam.snappy.compress_raw(data))
