"""Columns: float64s, with gaps, as an entry and a stream, and back. Works without numpy."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator, Sequence
from math import isnan, nan
from typing import NamedTuple

from prom_probe.model.sample import STALE_BITS, STALE_BYTES
from prom_probe.tsdb.encoding import deltas
from prom_probe.tsdb.encoding.entry import DEFLATED, GAPS, RISING, BlockError, Entry
from prom_probe.tsdb.encoding.forms import CONSTANT, FORMS

_GAP_COUNT = struct.Struct("<H")


class Encoded(NamedTuple):
    """An encoded column: its entry, not yet placed (`number` and `end` are 0), its stream, its number of samples."""

    entry: Entry
    stream: bytes
    samples: int


def encode(words: array[int]) -> Encoded:
    """Encode the bits (uint64) of one or more float64s."""
    rows = len(words)
    packed = words.tobytes()
    flags, stream, samples = 0, b"", rows
    if STALE_BYTES in packed:
        flips = _flips(words)
        if flips != [0]:
            samples = sum(end - start for start, end in spans(flips, rows))
            flags, stream = GAPS, array_bytes("H", [len(flips), *flips])
            packed = _filled(words, flips).tobytes()
    if packed == packed[:8] * rows:
        (value,) = struct.unpack_from("<d", packed)
        flags |= 0 if isnan(value) else RISING
        first = int.from_bytes(packed[:8], "little", signed=True)
        return Encoded(Entry(CONSTANT, flags, 0, 0, 0, 0, 0, 1, first, 0, value, value), stream, samples)
    values = array("d", packed).tolist()
    number, numbers, exponent = next(
        (number, *found) for number, form in FORMS.items() if (found := form.maybe_numbers(values, packed)) is not None
    )
    form = FORMS[number]
    low, high = array("d", form.words([min(numbers), max(numbers)], exponent).tobytes())
    rising = True
    if isnan(low) or isnan(high):
        rising = False
        proper = [value for value in values if not isnan(value)]
        low, high = min(proper, default=nan), max(proper, default=nan)
    done = deltas.encode(numbers)
    flags |= (RISING if rising and done.least >= 0 else 0) | (DEFLATED if done.deflated else 0)
    entry = Entry(number, flags, done.planes, done.raw, exponent, 0, 0, done.divisor, done.first, done.bias, low, high)
    return Encoded(entry, stream + done.stream, samples)


def encode_times(times: Sequence[int]) -> Encoded:
    """Encode strictly increasing timestamps, ms."""
    done = deltas.encode(times)
    flags = RISING | (DEFLATED if done.deflated else 0)
    entry = Entry(
        1, flags, done.planes, done.raw, 0, len(times), 0, done.divisor, done.first, done.bias, times[0], times[-1]
    )
    return Encoded(entry, done.stream, len(times))


def decode(entry: Entry, stream: memoryview, rows: int) -> array[int]:
    """The bits of a column's float64s. Raises BlockError where the stream is not what the entry says."""
    flips, stream = split_gaps(entry.flags, stream)
    if entry.form == CONSTANT:
        words = array("Q", [entry.first & deltas.MASK]) * rows
    else:
        words = FORMS[entry.form].words(decode_numbers(entry, stream, rows), entry.exponent)
    absent = 0
    for start, end in spans(flips, rows) if entry.flags & GAPS else ():
        words[absent:start] = array("Q", [STALE_BITS]) * (start - absent)
        absent = end
    if entry.flags & GAPS:
        words[absent:rows] = array("Q", [STALE_BITS]) * (rows - absent)
    return words


def decode_numbers(entry: Entry, stream: memoryview, rows: int) -> list[int]:
    """The integers of a stream without its gaps: of a timeline, the timestamps."""
    planes = deltas.inflate(stream, rows, entry.planes, entry.raw, bool(entry.flags & DEFLATED))
    return deltas.signed(deltas.decode(planes, rows, entry.first, entry.bias, entry.divisor))


def split_gaps(flags: int, stream: memoryview) -> tuple[Sequence[int], memoryview]:
    """(the rows at which the column changes between absent and present, the stream's rest)."""
    if not flags & GAPS:
        return (), stream
    if len(stream) < 2:
        raise BlockError("a stream that ends within its gaps")
    (count,) = _GAP_COUNT.unpack_from(stream)
    if len(stream) < 2 + 2 * count:
        raise BlockError("a stream that ends within its gaps")
    return struct.unpack_from(f"<{count}H", stream, 2), stream[2 + 2 * count :]


def spans(flips: Sequence[int], rows: int) -> Iterator[tuple[int, int]]:
    """The ranges of rows at which the column is present. Flips out of order or beyond the rows are cut to fit."""
    at = 0
    for i in range(0, len(flips), 2):
        start = min(max(flips[i], at), rows)
        at = min(max(flips[i + 1], start), rows) if i + 1 < len(flips) else rows
        yield start, at


def array_bytes(code: str, items: Sequence[int]) -> bytes:
    """Little-endian integers."""
    return array(code, items).tobytes()


def _flips(words: array[int]) -> list[int]:
    """The rows at which presence changes, the first of them the first present row."""
    absent = bytes(map(STALE_BITS.__eq__, words))
    flips = []
    at = absent.find(0)
    while at >= 0:
        flips.append(at)
        at = absent.find(len(flips) % 2, at)
    return flips


def _filled(words: array[int], flips: list[int]) -> array[int]:
    """The column with absent rows repeating the value before them; the ones before the first repeat that.

    A column that is absent throughout stays as it is.
    """
    if not flips:
        return words
    out = array("Q")
    for start, end in spans(flips, len(words)):
        out.extend(array("Q", [out[-1] if out else words[start]]) * (start - len(out)))
        out.extend(words[start:end])
    out.extend(array("Q", [out[-1]]) * (len(words) - len(out)))
    return out
