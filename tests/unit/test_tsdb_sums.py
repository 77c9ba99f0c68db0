"""Deltas added up in groups of rows: each row's integer is what the plain decoder gives, at any width and height."""

import random

import numpy as np
import pytest

from prom_probe.tsdb.encoding import deltas
from prom_probe.tsdb.encoding.forms import TIMES
from prom_probe.tsdb.encoding.record import Record
from prom_probe.tsdb.encoding.sums import WIDEST, Sums, integers, joined

_SERIES = 6


def _record(first: int, bias: int, divisor: int, planes: int) -> Record:
    return Record(TIMES, False, False, planes, 0, 0, first, bias, divisor, 0, 0, None, b"")


@pytest.mark.parametrize("rows", [1, 2, 255, 256, 257, 512, 513, 1000])
@pytest.mark.parametrize("planes", range(9))
@pytest.mark.parametrize("plain", [True, False], ids=["plain", "scaled"])
def test_any_row_is_what_the_plain_decoder_gives(rows: int, planes: int, plain: bool) -> None:
    """The largest deltas throughout, none, and any; with a bias and a divisor, and without; modulo 2^64."""
    source = random.Random(f"{rows}/{planes}/{plain}")
    records, tables = [], []
    for series in range(_SERIES):
        first, bias = source.randrange(-(1 << 63), 1 << 63), 0 if plain else source.randrange(-(1 << 40), 1 << 40)
        records.append(_record(first, bias, 1 if plain else source.randrange(1, 1000), planes))
        size = planes * rows
        tables.append((b"\xff" * size, bytes(size), source.randbytes(size))[min(series, 2)])
    wanted = np.array(
        [
            deltas.signed(deltas.decode(table, rows, one.first, one.bias, one.divisor))
            for one, table in zip(records, tables, strict=True)
        ]
    )
    table = np.frombuffer(b"".join(tables), np.uint8).reshape(_SERIES, planes, rows)
    words = joined(table) if planes else np.zeros((_SERIES, rows), np.uint8)
    assert (integers(records, words) == wanted).all()
    if planes > WIDEST:
        return
    sums = Sums(records, words)
    for lo, hi in ((0, rows), (rows // 2, rows), (rows - 1, rows), (min(200, rows - 1), rows)):
        assert (sums.numbers(lo, hi) == wanted[:, lo:hi]).all()
    index = np.array([source.randrange(rows) for _ in range(50)])
    assert (sums.at(index) == wanted[:, index]).all()
    assert sums.nbytes >= _SERIES * (8 + rows * (planes + 1 if planes else 0))
