"""Deltas added up in groups of rows: each row's integer is what the plain decoder returns."""

import random
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from prom_probe.tsdb.block import BlockWriter
from prom_probe.tsdb.encoding import column
from prom_probe.tsdb.encoding.forms import TIMES
from prom_probe.tsdb.encoding.grouped_sums import WIDEST, GroupedSums, integers
from prom_probe.tsdb.encoding.packing import packed_size
from prom_probe.tsdb.encoding.record import PACKED, SPARSE, STORED, Record
from prom_probe.tsdb.encoding.record_headers import RecordHeaders, read_headers
from prom_probe.tsdb.encoding.unsigned import unsigned, unsigned_of_all

_SERIES = 6


def _written(
    source: random.Random, rows: int, planes: int, coding: int, bodies: Sequence[bytes], plain: bool
) -> tuple[RecordHeaders, NDArray[np.int64]]:
    """Records with these bodies, of any first integer, and of any bias and divisor unless `plain`; what they mean."""
    writer = BlockWriter()
    timeline = writer.add_timeline(range(rows))
    for series, body in enumerate(bodies):
        first, bias = source.randrange(-(1 << 63), 1 << 63), 0 if plain else source.randrange(-(1 << 40), 1 << 40)
        divisor = 1 if plain else source.randrange(1, 1000)
        writer.add(series, timeline, Record(TIMES, False, planes, coding, 0, 0, first, bias, divisor, 0, 0, None, body))
    block = writer.finish(0, 0)
    places = range(len(bodies))
    wanted = [column.decode_numbers(block.column(place), rows) for place in places]
    return read_headers(*block.column_records(), np.array(places)), np.array(wanted, np.int64)


@pytest.mark.parametrize("rows", [1, 2, 255, 256, 257, 512, 513, 1000])
@pytest.mark.parametrize("planes", range(9))
@pytest.mark.parametrize("plain", [True, False], ids=["plain", "scaled"])
def test_any_row_is_what_the_plain_decoder_gives(rows: int, planes: int, plain: bool) -> None:
    """The largest deltas throughout, none, and any; with a bias and a divisor, and without; modulo 2^64."""
    source, size = random.Random(f"{rows}/{planes}/{plain}"), planes * rows
    bodies = [b"\xff" * size, bytes(size), *(source.randbytes(size) for _ in range(_SERIES - 2))]
    headers, wanted = _written(source, rows, planes, STORED, bodies, plain)
    assert (integers(headers, unsigned_of_all(headers, rows)) == wanted).all()
    if planes > WIDEST:
        return
    sums = GroupedSums(headers, unsigned_of_all(headers, rows))
    for lo, hi in ((0, rows), (rows // 2, rows), (rows - 1, rows), (min(200, rows - 1), rows)):
        assert (sums.numbers(lo, hi) == wanted[:, lo:hi]).all()
    index = np.array([source.randrange(rows) for _ in range(50)])
    assert (sums.at(index) == wanted[:, index]).all()
    assert sums.nbytes >= _SERIES * (8 + rows * (planes + 1 if planes else 0))


@pytest.mark.parametrize("rows", [1, 7, 8, 9, 255, 1000])
@pytest.mark.parametrize("planes", [1, 3, 5, 8])
@pytest.mark.parametrize("plain", [True, False], ids=["plain", "scaled"])
def test_sparse_deltas_too(rows: int, planes: int, plain: bool) -> None:
    """No delta, one in the first row (which does not count), in each, in some; bits beyond the last row are none."""
    source, size, bodies = random.Random(f"{rows}/{planes}/{plain}"), -(-rows // 8), []
    some = [[source.random() < 0.2 for _ in range(rows)] for _ in range(_SERIES - 3)]
    for there in ([False] * rows, [True] + [False] * (rows - 1), [True] * rows, *some):
        bits = sum(one << row for row, one in enumerate(there)) | ((1 << 8 * size) - (1 << rows))
        bodies.append(bits.to_bytes(size, "little") + source.randbytes(planes * sum(there)))
    headers, wanted = _written(source, rows, planes, SPARSE, bodies, plain)
    assert (integers(headers, unsigned_of_all(headers, rows)) == wanted).all()


def test_records_of_all_codings_side_by_side() -> None:
    """In any order: each is what it is by itself."""
    source, rows, writer = random.Random("codings"), 100, BlockWriter()
    timeline = writer.add_timeline(range(rows))
    codings = [(PACKED, bits) for bits in range(1, 9)] * 3 + [(STORED, 0)] * 4 + [(SPARSE, 0)] * 3
    source.shuffle(codings)
    for series, (coding, bits) in enumerate(codings):
        if coding == SPARSE:
            body = b"\1".ljust(-(-rows // 8), b"\0") + source.randbytes(2)
        else:
            body = source.randbytes(rows + (packed_size(rows, bits) if coding == PACKED else rows))
        writer.add(series, timeline, Record(TIMES, False, 2, coding, bits, 0, 0, 0, 1, 0, 0, None, body))
    block = writer.finish(0, 0)
    found = unsigned_of_all(read_headers(*block.column_records(), np.arange(len(codings))), rows)
    for place, row in enumerate(found):
        assert (row == unsigned(block.column(place), rows)).all()
