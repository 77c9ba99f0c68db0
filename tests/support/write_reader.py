"""Reads remote write requests as the specification has them, on its own: what breaks one of its MUSTs is an error."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import cramjam

from prom_probe.model.labels import Labels
from prom_probe.model.sample import STALE_BYTES

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")

Bits = list[tuple[int, bytes]]


class Violation(AssertionError):
    """A MUST of the specification that a request does not keep."""


class ReadRequest(NamedTuple):
    """Each series' samples, the values as their eight bytes; and the metadata, (type, name, help, unit).

    `starts`: by series and timestamp, when the counter began, of the samples that say so.
    """

    series: list[tuple[Labels, Bits]]
    metadata: list[tuple[int, str, str, str]]
    starts: dict[Labels, dict[int, int]]


def must(holds: object, what: str) -> None:
    """Violation unless it holds."""
    if not holds:
        raise Violation(what)


TYPE_V2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request"
_TYPES_V1 = ("application/x-protobuf", "application/x-protobuf;proto=prometheus.WriteRequest")


def read_request(method: str, headers: Mapping[str, str], body: bytes) -> ReadRequest:
    """A remote write request, 1.0 or 2.0 as its Content-Type says. Raises Violation."""
    must(method == "POST", f"a POST, not {method}")
    must(headers.get("Content-Encoding") == "snappy", "Content-Encoding: snappy")
    must(headers.get("User-Agent"), "a User-Agent")
    kind, version = headers.get("Content-Type"), headers.get("X-Prometheus-Remote-Write-Version")
    try:
        message = bytes(cramjam.snappy.decompress_raw(body))
    except cramjam.DecompressionError as error:
        raise Violation(f"snappy's block format: {error}") from None
    if kind == TYPE_V2:
        must(version == "2.0.0", f"version {version}")
        found = _read_v2(message)
    else:
        must(kind in _TYPES_V1, f"Content-Type {kind}")
        must(version == "0.1.0", f"version {version}")
        found = _read_v1(message)
    must(len({labels for labels, _ in found.series}) == len(found.series), "each series once")
    return found


def _read_v1(message: bytes) -> ReadRequest:
    series, metadata = [], []
    for number, value in fields(message):
        if number == 1:
            series.append(_series(value))
        elif number == 3:
            found = dict(fields(value))
            metadata.append((found.get(1, 0), *(found.get(n, b"").decode() for n in (2, 4, 5))))
        else:
            must(False, f"field {number} of a WriteRequest")
    return ReadRequest(series, metadata, {})


def _read_v2(message: bytes) -> ReadRequest:
    """Metadata comes with each series: its own is given with the series' name in place of a family's."""
    all_fields = list(fields(message))
    symbols = [value.decode() for number, value in all_fields if number == 4]
    must(symbols[:1] == [""], "an empty first symbol")
    must(len(set(symbols)) == len(symbols), "each symbol once")
    series, metadata, starts = [], [], {}
    for number, value in all_fields:
        must(number in (4, 5), f"field {number} of a Request")
        if number != 5:
            continue
        refs, samples = b"", []
        begun: dict[int, int] = {}
        about: dict[int, int] = {}
        for inner, content in fields(value):
            must(inner in (1, 2, 5), f"field {inner} of a TimeSeries")
            if inner == 1:
                refs = content
            elif inner == 2:
                samples.append(_sample(content, (1, 2, 3)))
                start_ms = _signed(dict(fields(content)).get(3, 0))
                if start_ms:
                    must(start_ms < samples[-1][0], f"a start before the sample: {start_ms}, {samples[-1][0]}")
                    must(samples[-1][1] != STALE_BYTES, "no start with a marker")
                    begun[samples[-1][0]] = start_ms
            else:
                about = dict(fields(content))
        texts = [_symbol(symbols, ref) for ref in _packed(refs)]
        must(len(texts) % 2 == 0, "names and values in turn")
        pairs = list(zip(texts[::2], texts[1::2], strict=True))
        check_series(pairs, samples)
        series.append((tuple(pairs), samples))
        if begun:
            starts[tuple(pairs)] = begun
        help_text, unit = (_symbol(symbols, about.get(n, 0)) for n in (3, 4))
        metadata.append((about.get(1, 0), dict(pairs)["__name__"], help_text, unit))
    return ReadRequest(series, metadata, starts)


def _symbol(symbols: list[str], ref: int) -> str:
    must(ref < len(symbols), f"symbol {ref} of {len(symbols)}")
    return symbols[ref]


def _packed(data: bytes) -> Iterator[int]:
    at = 0
    while at < len(data):
        value, at = _varint(data, at)
        yield value


def _sample(data: bytes, known: tuple[int, ...]) -> tuple[int, bytes]:
    found = dict(fields(data))
    must(set(found) <= set(known), f"fields {set(found)} of a Sample")
    return _signed(found.get(2, 0)), found.get(1, bytes(8))


def _series(data: bytes) -> tuple[Labels, Bits]:
    pairs, samples = [], []
    for number, value in fields(data):
        if number == 1:
            found = dict(fields(value))
            pairs.append((found.get(1, b"").decode(), found.get(2, b"").decode()))
        elif number == 2:
            samples.append(_sample(value, (1, 2)))
        else:
            must(False, f"field {number} of a TimeSeries")
    check_series(pairs, samples)
    return tuple(pairs), samples


def check_series(pairs: list[tuple[str, str]], samples: Bits) -> None:
    """What both versions say of a series."""
    names = [name for name, _ in pairs]
    must(names == sorted(set(names)), f"labels sorted and unique: {names}")
    must("__name__" in names, f"a metric name: {pairs}")
    for name, value in pairs:
        must(value, f"no empty value: {name}")
        must(
            (_NAME if name == "__name__" else _LABEL).fullmatch(value if name == "__name__" else name), f"{name} valid"
        )
    times = [t_ms for t_ms, _ in samples]
    must(samples, f"samples: {pairs}")
    must(times == sorted(set(times)), f"samples in time order: {pairs} {times}")


def fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """(number, value) of each field: a number, eight bytes, or bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
        elif kind == 1:
            must(at + 8 <= len(data), "a whole fixed64")
            yield key >> 3, data[at : at + 8]
            at += 8
        else:
            must(kind == 2, f"wire type {kind}")
            size, at = _varint(data, at)
            must(at + size <= len(data), "a whole field")
            yield key >> 3, data[at : at + size]
            at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        must(at < len(data), "a whole number")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
    raise Violation("a number that ends")


def _signed(value: int) -> int:
    return int(struct.unpack("<q", struct.pack("<Q", value))[0])
