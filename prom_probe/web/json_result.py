"""A query's Result as Prometheus's JSON, in pieces, without a Python loop over points where all are plain numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from prom_probe.model.labels import Labels
from prom_probe.promql.result import Result
from prom_probe.web.reply import HEAD, encode, tail

# So many points are formatted in one go: about half a millisecond of C calls that hold the GIL.
_SLICE = 4096

_THIRTEEN_DIGITS = 10**12
_POINT = b'"],[ssssssssss.mmm,"'

# Between these magnitudes msgspec and Prometheus write the same digits, without an exponent, but for msgspec's ".0".
_PLAIN_MIN, _PLAIN_MAX = 1e-4, 1e15


def result_json(result: Result, stats: dict[str, object] | None = None, limit: int = 0) -> Iterator[bytes]:
    """The whole response to a query, in pieces of at most some 100 KB; `limit` series at most, 0 for all."""
    warnings = result.warnings
    if limit and len(result.labels) > limit and result.type in ("vector", "matrix"):
        warnings = [*warnings, "results truncated due to limit"]
    yield HEAD + b'{"resultType":"%s","result":' % result.type.encode()
    yield from _WRITERS[result.type](result, limit or len(result.labels))
    yield (b',"stats":' + encode(stats) if stats else b"") + b"}" + tail(warnings, result.infos)


def _scalar(result: Result, _: int) -> Iterator[bytes]:
    yield b'[%s,"%s"]' % (encode_seconds(result), fixed(float(result.values[0, 0])).encode())


def _string(result: Result, _: int) -> Iterator[bytes]:
    yield b"[%s,%s]" % (encode_seconds(result), encode(result.string))


def encode_seconds(result: Result) -> bytes:
    """The time of a scalar or string, which Prometheus writes as any number, not with three decimals."""
    ms = int(result.timestamps[0])
    return b"%d" % (ms // 1000) if ms % 1000 == 0 else encode(ms / 1000)


def _vector(result: Result, limit: int) -> Iterator[bytes]:
    labels = result.labels[:limit]
    if not labels:
        yield b"[]"
        return
    time = b'},"value":[%s,"' % timestamp(int(result.timestamps[0]))
    column = result.values[:limit, 0]
    opening = b'[{"metric":'
    for start in range(0, len(labels), _SLICE):
        values = numbers(column[start : start + _SLICE])
        metrics = map(_metric, labels[start : start + _SLICE])
        yield b"".join([opening, b'"]},{"metric":'.join(map(time[1:].join, zip(metrics, values, strict=True)))])
        opening = b'"]},{"metric":'
    yield b'"]}]'


def _matrix(result: Result, limit: int) -> Iterator[bytes]:
    opening = b'[{"metric":'
    stamps = result.timestamps
    times = point_starts(stamps)
    for i, labels in enumerate(result.labels[:limit]):
        yield opening + _metric(labels) + b',"values":['
        if result.raw is not None:
            if result.raw[i][0] is not stamps:  # series from one timeline share the array
                stamps = result.raw[i][0]
                times = point_starts(stamps)
            yield from _points(times, result.raw[i][1])
        elif result.present is None or result.present[i].all():
            yield from _points(times, result.values[i])
        else:
            here = result.present[i]
            yield from _points(list(compress(times, here.tolist())), result.values[i][here])
        opening = b'"]]},{"metric":'
    yield b"[]" if opening.startswith(b"[") else b'"]]}]'


_WRITERS = {"scalar": _scalar, "string": _string, "vector": _vector, "matrix": _matrix}


def _metric(labels: Labels) -> bytes:
    return encode(dict(labels))


def point_starts(timestamps: NDArray[np.int64]) -> list[bytes]:
    """What stands before each value, with the end of the point before it: `"],[1.500,"`. Times ascend."""
    count = len(timestamps)
    if not count or timestamps[0] < _THIRTEEN_DIGITS or timestamps[-1] >= 10 * _THIRTEEN_DIGITS:
        return [b'"],[%s,"' % timestamp(t) for t in timestamps.tolist()]
    # All have 13 digits, as has every time between 2001 and 2286: written in one call, then moved as columns.
    digits = np.frombuffer(encode(timestamps.tolist()), np.uint8)[1:].reshape(count, 14)
    whole = timestamps % 1000 == 0
    text = np.empty((count, len(_POINT)), np.uint8)
    text[:] = np.frombuffer(_POINT, np.uint8)
    text[:, 4:14] = digits[:, :10]
    text[:, 15:18] = digits[:, 10:13]
    if whole.all():
        text = np.delete(text, slice(14, 18), axis=1)
    starts: list[bytes] = text.view(f"S{text.shape[1]}").ravel().tolist()
    if not whole.all():
        for i in np.flatnonzero(whole).tolist():
            starts[i] = b'"],[%s,"' % timestamp(int(timestamps[i]))
    return starts


def timestamp(t_ms: int) -> bytes:
    """Seconds as Prometheus writes them: without decimals or with three."""
    sign, t_ms = (b"-", -t_ms) if t_ms < 0 else (b"", t_ms)
    seconds, rest = divmod(t_ms, 1000)
    return b"%s%d.%03d" % (sign, seconds, rest) if rest else b"%s%d" % (sign, seconds)


def _points(starts: Sequence[bytes], values: NDArray[np.float64]) -> Iterator[bytes]:
    """`[t,"v"],[t,"v"],…` in slices, without the last point's end."""
    skip = 3  # the first point ends none
    for first in range(0, len(starts), _SLICE):
        texts = numbers(values[first : first + _SLICE])
        pieces = [b""] * (2 * len(texts))
        pieces[0::2] = starts[first : first + _SLICE]
        pieces[1::2] = texts
        pieces[0] = pieces[0][skip:]
        skip = 0
        yield b"".join(pieces)


def numbers(values: NDArray[np.float64]) -> list[bytes]:
    """Each value as Prometheus writes it in a vector or matrix."""
    magnitude = np.abs(values)
    with np.errstate(invalid="ignore"):
        plain = ((magnitude >= _PLAIN_MIN) & (magnitude < _PLAIN_MAX)) | (values == 0)
    texts = encode(values.tolist())[1:-1].replace(b".0,", b",").split(b",")
    texts[-1] = texts[-1].removesuffix(b".0")
    if not plain.all():
        for i in np.flatnonzero(~plain).tolist():
            texts[i] = number(float(values[i])).encode()
    return texts


def number(value: float) -> str:
    """A value as Prometheus writes it in a vector or matrix: an exponent below 1e-6 and from 1e21 on."""
    magnitude = abs(value)
    if not 1e-6 <= magnitude < 1e21 and value - value == 0 and magnitude:
        mantissa, _, exponent = repr(value).partition("e")
        if exponent:
            return f"{mantissa.removesuffix('.0')}e{exponent}"
    return fixed(value)


def fixed(value: float) -> str:
    """The shortest digits that give the value back, never with an exponent: Go's 'f' format."""
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    mantissa, _, exponent = repr(value).partition("e")
    if not exponent:
        return mantissa.removesuffix(".0")
    sign = "-" if mantissa.startswith("-") else ""
    whole, _, decimals = mantissa.removeprefix("-").partition(".")
    digits, point = whole + decimals, len(whole) + int(exponent)
    if point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    return (
        f"{sign}{digits}{'0' * (point - len(digits))}"
        if point >= len(digits)
        else f"{sign}{digits[:point]}.{digits[point:]}"
    )
