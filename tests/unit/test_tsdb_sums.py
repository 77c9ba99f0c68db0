"""Deltas added up in groups of rows: each row's integer is what the plain decoder gives, at any width and height."""

import random

import numpy as np
import pytest

from prom_probe.tsdb.block import BlockWriter
from prom_probe.tsdb.encoding import column
from prom_probe.tsdb.encoding.forms import TIMES
from prom_probe.tsdb.encoding.heads import read
from prom_probe.tsdb.encoding.record import STORED, Record
from prom_probe.tsdb.encoding.sums import WIDEST, Sums, integers
from prom_probe.tsdb.encoding.unsigned import unsigned_of_all

_SERIES = 6


@pytest.mark.parametrize("rows", [1, 2, 255, 256, 257, 512, 513, 1000])
@pytest.mark.parametrize("planes", range(9))
@pytest.mark.parametrize("plain", [True, False], ids=["plain", "scaled"])
def test_any_row_is_what_the_plain_decoder_gives(rows: int, planes: int, plain: bool) -> None:
    """The largest deltas throughout, none, and any; with a bias and a divisor, and without; modulo 2^64."""
    source = random.Random(f"{rows}/{planes}/{plain}")
    writer = BlockWriter()
    timeline = writer.add_timeline(range(rows))
    for series in range(_SERIES):
        first, bias = source.randrange(-(1 << 63), 1 << 63), 0 if plain else source.randrange(-(1 << 40), 1 << 40)
        divisor, size = 1 if plain else source.randrange(1, 1000), planes * rows
        body = (b"\xff" * size, bytes(size), source.randbytes(size))[min(series, 2)]
        writer.add(series, timeline, Record(TIMES, False, planes, STORED, 0, 0, first, bias, divisor, 0, 0, None, body))
    block = writer.finish(0, 0)
    wanted = np.array([column.decode_numbers(block.column(place), rows) for place in range(_SERIES)], np.int64)
    heads = read(block, np.arange(_SERIES))
    words = unsigned_of_all(heads, rows)
    assert (integers(heads, words) == wanted).all()
    if planes > WIDEST:
        return
    sums = Sums(heads, unsigned_of_all(heads, rows))
    for lo, hi in ((0, rows), (rows // 2, rows), (rows - 1, rows), (min(200, rows - 1), rows)):
        assert (sums.numbers(lo, hi) == wanted[:, lo:hi]).all()
    index = np.array([source.randrange(rows) for _ in range(50)])
    assert (sums.at(index) == wanted[:, index]).all()
    assert sums.nbytes >= _SERIES * (8 + rows * (planes + 1 if planes else 0))
