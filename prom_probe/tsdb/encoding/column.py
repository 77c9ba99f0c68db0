"""Columns: encoding float64s with gaps as a record, and decoding them, without numpy."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from math import isnan, nan

from prom_probe.model.sample import STALE_BITS, STALE_BYTES
from prom_probe.tsdb.encoding import deltas, record
from prom_probe.tsdb.encoding.forms import FORMS, MAX_EXPONENT, TIMES
from prom_probe.tsdb.encoding.record import STORED, BlockError, Record


def encode(words: array[int]) -> Record:
    """Encode the bits (uint64) of one or more float64s."""
    packed = words.tobytes()
    flips: list[int] | None = None
    if STALE_BYTES in packed:
        flips = _flips(words)
        if flips == [0]:
            flips = None  # the bytes were those of two neighbouring values
        elif not flips:
            return Record(TIMES, False, 0, STORED, 0, 0, 0, 0, 1, 0, 0, flips, b"")
        else:
            packed = _filled(words, flips).tobytes()
    values = array("d", packed).tolist()
    if packed == packed[:8] * len(values):
        form, (first, *_), exponent = _numbers(values[:1], packed[:8])
        rising = not isnan(values[0])
        return Record(form, rising, 0, STORED, 0, exponent, first, 0, 1, first, first, flips, b"")
    form, numbers, exponent = _numbers(values, packed)
    done = deltas.encode(numbers)
    low, high = min(numbers), max(numbers)
    rising = done.least >= 0 and not any(map(isnan, _values(form, [low, high], exponent)))
    return Record(
        form,
        rising,
        done.planes,
        done.coding,
        done.detail,
        exponent,
        done.first,
        done.bias,
        done.divisor,
        low,
        high,
        flips,
        done.body,
    )


def encode_times(times: Sequence[int]) -> Record:
    """Encode strictly increasing timestamps, ms."""
    done = deltas.encode(times)
    fields = (done.planes, done.coding, done.detail, 0, done.first, done.bias, done.divisor)
    return Record(TIMES, True, *fields, times[0], times[-1], None, done.body)


def decode(column: Record, rows: int) -> array[int]:
    """The bits of a column's float64s. Raises BlockError if the record is damaged."""
    start, end = record.window(column, rows)
    if start == end:
        return array("Q", [STALE_BITS]) * rows
    check(column.form, column.exponent)
    words = FORMS[column.form].words(decode_numbers(column, end - start), column.exponent)
    for first, last in record.gaps(column.flips, rows):
        words[first - start : last - start] = array("Q", [STALE_BITS]) * (last - first)
    if end - start == rows:
        return words
    stale = array("Q", [STALE_BITS])
    return stale * start + words + stale * (rows - end)


def decode_numbers(column: Record, rows: int) -> list[int]:
    """The integers of a record's window of `rows` rows; for a timeline, the timestamps."""
    unsigned = deltas.read(column.body, rows, column.planes, column.coding, column.detail)
    return deltas.signed(deltas.decode(unsigned, column.first, column.bias, column.divisor))


def check(form: int, exponent: int) -> None:
    """Raise BlockError for an unknown form or exponent."""
    if form not in FORMS or exponent > MAX_EXPONENT:
        raise BlockError(f"unknown form {form} or exponent {exponent}")


def extremes(column: Record) -> tuple[float, float]:
    """A column's smallest and largest value; both NaN if it has a NaN or no value."""
    if column.flips is not None and not column.flips:
        return nan, nan
    low, high = _values(column.form, deltas.signed([column.low, column.high]), column.exponent)
    return (nan, nan) if isnan(low) or isnan(high) else (low, high)


def _numbers(values: list[float], packed: bytes) -> tuple[int, list[int], int]:
    """(form, integers, exponent) of the first form that fits; the last one always fits."""
    for number, form in FORMS.items():
        found = form.maybe_numbers(values, packed)
        if found is not None:
            return number, *found
    raise AssertionError("the last form fits all values")


def _values(form: int, numbers: list[int], exponent: int) -> array[float]:
    return array("d", FORMS[form].words(numbers, exponent).tobytes())


def _flips(words: array[int]) -> list[int]:
    """The rows at which the column changes between absent and present; it starts out absent."""
    absent = bytes(map(STALE_BITS.__eq__, words))
    flips = []
    at = absent.find(0)
    while at >= 0:
        flips.append(at)
        at = absent.find(len(flips) % 2, at)
    return flips


def _filled(words: array[int], flips: list[int]) -> array[int]:
    """The rows from the first present one to the last; absent ones in between repeat the value before them."""
    edges = [*flips, len(words)] if len(flips) % 2 else flips
    out = words[edges[0] : edges[1]]
    for start, end in zip(edges[2::2], edges[3::2], strict=True):
        out.extend(array("Q", [out[-1]]) * (start - edges[0] - len(out)))
        out.extend(words[start:end])
    return out
