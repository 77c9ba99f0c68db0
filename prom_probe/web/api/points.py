"""Many points of a series as JSON at once, where their values have few decimals: digits from tables, by columns.

A point is a row of characters, one part of it below the other's; what a number does not need of its part is NUL, and
all NULs are taken out in the end. That a value is what three decimals stand for is told by its being the closest
float to them; then they are what Prometheus writes, since up to fifteen digits no two decimals have the same float.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Texts: TypeAlias = NDArray[np.uint32]  # four characters each
Column: TypeAlias = Texts | np.uint32  # of points; one text for all, or one for each

_BELOW = 1e12  # with three decimals: fifteen digits
_GROUP = 10_000  # four digits

# Since 2001 and until 2286 seconds have ten digits.
_FIRST_MS, _LAST_MS = 10**12, 10**13 - 1


def characters(text: bytes) -> Column:
    """A column that has this text, four characters, for each point."""
    column: Column = np.frombuffer(text, np.uint32)[0]
    return column


_END, _COMMA = characters(b'"],['), characters(b',"\0\0')


class _Tables(NamedTuple):
    """`digits`: of 0 to 9999 as the last four digits of a number, as its first ones (none for 0), and as those within.

    `decimals`: of thousandths, without zeros at their end; `three`: with them. Both have none for 0.
    """

    digits: Texts
    decimals: Texts
    three: Texts


@lru_cache(1)
def _tables() -> _Tables:
    within = (np.arange(_GROUP)[:, None] // [1000, 100, 10, 1] % 10 + ord("0")).astype(np.uint8)
    zero = within == ord("0")
    first = np.where(np.logical_and.accumulate(zero, axis=1), 0, within).astype(np.uint8)
    last = first.copy()
    last[0, 3] = ord("0")
    three = within[:1000].copy()
    three[:, 0] = ord(".")
    three[0] = 0
    at_end = np.logical_and.accumulate(zero[:1000, ::-1], axis=1)[:, ::-1]
    decimals = np.where(at_end, 0, three).astype(np.uint8)
    digits = np.concatenate([last, first, within])
    return _Tables(*(table.view(np.uint32)[:, 0] for table in (digits, decimals, three)))


def time_columns(times: NDArray[np.int64]) -> list[Column] | None:
    """The beginnings of points, `"],[1790000000.500,"`, each after the end of the one before it: columns of [n].

    `times` (ms) ascend; None where not all have ten digits.
    """
    if not len(times) or times[0] < _FIRST_MS or times[-1] > _LAST_MS:
        return None
    digits, _, three = _tables()
    seconds = times // 1000
    upper = seconds // _GROUP
    top = upper // _GROUP
    within = digits[2 * _GROUP :]
    columns: list[Column] = [_END, digits.take(top + _GROUP)]
    columns += [within.take(upper - top * _GROUP), within.take(seconds - upper * _GROUP)]
    thousandths = times - seconds * 1000
    if np.logical_or.reduce(thousandths):
        columns.append(three.take(thousandths))
    return [*columns, _COMMA]


def join(columns: Sequence[Column], shape: tuple[int, int]) -> list[bytes]:
    """The characters of each row of points ([rows, points]): `columns` are their parts, of that shape or [points]."""
    table = np.empty((*shape, len(columns)), np.uint32)
    for i, column in enumerate(columns):
        table[..., i] = column
    return [row.tobytes().translate(None, b"\0") for row in table]


def points(times: NDArray[np.int64], values: NDArray[np.float64]) -> list[bytes] | None:
    """The points of each row of `values` ([series, n]) at `times`: `"],[1790000000,"1.5"],[1790000001,"2`.

    None where another way must be taken: a value has more decimals, or is below zero or too large.
    """
    high = np.maximum.reduce(values, axis=None)  # NaN where one is
    if not high < _BELOW or np.logical_or.reduce(np.signbit(values), axis=None):
        return None
    rounded = np.rint(values * 1000)
    if not np.logical_and.reduce(rounded / 1000 == values, axis=None):
        return None
    columns = time_columns(times)
    if columns is None:
        return None
    digits, decimals, _ = _tables()
    thousandths = rounded.astype(np.int64)
    above = thousandths // 1000
    thousandths -= above * 1000
    parts = [decimals.take(thousandths)] if np.logical_or.reduce(thousandths, axis=None) else []
    none = 0  # which digits are meant by no digits above
    while high >= _GROUP:
        here, above = above, above // _GROUP
        here = here - above * _GROUP
        here += np.where(above > 0, 2 * _GROUP, none)
        parts.append(digits.take(here))
        none = _GROUP
        high //= _GROUP
    parts.append(digits.take(above + none))
    return join([*columns, *reversed(parts)], values.shape)
