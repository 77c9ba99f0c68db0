"""A query's Result as Prometheus's JSON, in pieces; plain numbers are written without a Python loop."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from prom_probe.model.labels import Labels
from prom_probe.promql.literals import fixed
from prom_probe.promql.result import Result
from prom_probe.web.api.reply import HEAD, encode, tail

# Points formatted at a time: about half a millisecond of C calls that hold the GIL.
_SLICE = 4096

# Up to this many values, searching the text for ".0" is faster than searching the values for whole numbers.
_FEW = 512

# Between these magnitudes msgspec and Prometheus write the same digits without an exponent, except for msgspec's ".0".
_PLAIN_MIN, _PLAIN_MAX = 1e-4, 1e15


def result_json(
    result: Result, stats: dict[str, object] | None = None, limit: int = 0, notes: Sequence[str] = ()
) -> Iterator[bytes]:
    """The complete response to a query, in pieces of about 100 KB at most; at most `limit` series, 0 for all.

    `notes` are warnings of the request itself.
    """
    warnings = [*result.warnings, *notes]
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
    """The time of a scalar or string, which Prometheus writes as a plain number, not with three decimals."""
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
    series = _raw_series(result) if result.raw is not None else _series(result)
    opening = b'[{"metric":'
    for labels, pieces in zip(result.labels[:limit], series, strict=False):
        yield b'%b%b,"values":[' % (opening, _metric(labels))
        yield from pieces
        opening = b'"]]},{"metric":'
    yield b"[]" if opening.startswith(b"[") else b'"]]}]'


def _raw_series(result: Result) -> Iterator[Iterable[bytes]]:
    """The points of series that have timestamps of their own."""
    assert result.raw is not None
    for times, values in result.raw:
        yield _points(times, values)


def _series(result: Result) -> Iterator[Iterable[bytes]]:
    """The points of series at the steps of a query, formatted for several series at a time."""
    values, present = result.values, result.present
    rows, steps = values.shape
    if result.complete:
        present = None
    if steps > _SLICE:
        for i in range(rows):
            if present is None or present[i].all():
                yield _points(result.timestamps, values[i])
            else:
                yield _points(result.timestamps[present[i]], values[i][present[i]])
        return
    height = max(1, _SLICE // max(steps, 1))
    if present is None:
        template = point_template(result.timestamps)[3:]
        for top in range(0, rows, height):
            texts = numbers(values[top : top + height].reshape(-1))
            for first in range(0, len(texts), steps):
                yield (template % tuple(texts[first : first + steps]),)
        return
    for top in range(0, rows, height):
        some = values[top : top + height]
        here = present[top : top + height]
        texts = numbers(some[here])
        first, before = 0, b""
        for row in here:
            pattern = row.tobytes()
            if pattern != before:  # most series have the same steps as the previous one
                template, before = point_template(result.timestamps[row])[3:], pattern
            last = first + pattern.count(1)
            yield (template % tuple(texts[first:last]),)
            first = last


_WRITERS = {"scalar": _scalar, "string": _string, "vector": _vector, "matrix": _matrix}


def _metric(labels: Labels) -> bytes:
    return encode(dict(labels))


def point_template(timestamps: NDArray[np.int64]) -> bytes:
    """Points with `%b` for their values, each preceded by the end of the previous one: `"],[1.500,"%b"],[3,"%b`.

    Timestamps ascend.
    """
    if not len(timestamps):
        return b""
    seconds, rest = np.divmod(timestamps, 1000)
    if not rest.any():
        return b'"],[%b,"%%b' % encode(seconds.tolist())[1:-1].replace(b",", b',"%b"],[')
    if timestamps[0] < 0:
        return b"".join([b'"],[%b,"%%b' % timestamp(t) for t in timestamps.tolist()])
    parts = np.stack((seconds, rest), axis=1).ravel().tolist()
    return (b'"],[%d.%03d,"%%b' * len(timestamps) % tuple(parts)).replace(b".000,", b",")


def timestamp(t_ms: int) -> bytes:
    """Seconds as Prometheus writes them: without decimals or with three."""
    sign, t_ms = (b"-", -t_ms) if t_ms < 0 else (b"", t_ms)
    seconds, rest = divmod(t_ms, 1000)
    return b"%s%d.%03d" % (sign, seconds, rest) if rest else b"%s%d" % (sign, seconds)


def _points(times: NDArray[np.int64], values: NDArray[np.float64]) -> Iterator[bytes]:
    """`[t,"v"],[t,"v"],…` in slices, without the end of the last point."""
    for first in range(0, len(times), _SLICE):
        some = slice(first, first + _SLICE)
        text = point_template(times[some]) % tuple(numbers(values[some]))
        yield text if first else text[3:]


def numbers(values: NDArray[np.float64]) -> list[bytes]:
    """Each value (there is at least one) as Prometheus writes it in a vector or matrix."""
    if values[0].is_integer() and values[-1].is_integer() and (integers := _integers(values)) is not None:
        return encode(integers)[1:-1].split(b",")
    floats = values.tolist()
    text = encode(floats)[1:-1]
    odd = b"e" in text or b"n" in text  # an exponent, null
    if not odd and len(floats) <= _FEW:
        return text.replace(b".0,", b",").removesuffix(b".0").split(b",")
    texts = text.split(b",")
    whole = np.trunc(values) == values
    if odd:
        magnitude = np.abs(values)
        plain = ((magnitude >= _PLAIN_MIN) & (magnitude < _PLAIN_MAX)) | (values == 0)
        whole &= plain
        for i in np.flatnonzero(~plain).tolist():
            texts[i] = number(floats[i]).encode()
    for i in np.flatnonzero(whole).tolist():
        texts[i] = texts[i][:-2]
    return texts


def _integers(values: NDArray[np.float64]) -> list[int] | None:
    """The values as integers; None if some are not, are too large to be exact, or are negative zeros."""
    low, high = np.minimum.reduce(values), np.maximum.reduce(values)  # NaN if any value is
    if not (low > -_PLAIN_MAX and high < _PLAIN_MAX):
        return None
    integers = values.astype(np.int64)
    if not np.logical_and.reduce(integers == values):
        return None
    if low <= 0 and np.signbit(values[integers == 0]).any():
        return None
    found: list[int] = integers.tolist()
    return found


def number(value: float) -> str:
    """A value as Prometheus writes it in a vector or matrix: an exponent below 1e-6 and from 1e21 on."""
    magnitude = abs(value)
    if not 1e-6 <= magnitude < 1e21 and value - value == 0 and magnitude:
        mantissa, _, exponent = repr(value).partition("e")
        if exponent:
            return f"{mantissa.removesuffix('.0')}e{exponent}"
    return fixed(value)
