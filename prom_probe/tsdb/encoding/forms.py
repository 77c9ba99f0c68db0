"""Forms: the ways to represent float64s as integers."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_FLIP = (1 << 63) - 1
_MINUS_ZERO = (1 << 63).to_bytes(8, "little")
_LIMIT = 1 << 62  # so that differences fit int64

# Decimal exponents, in the order in which they are tried: counts and bytes, ticks and percentages, ms, µs, ns.
_EXPONENTS = (0, 2, 1, 3, 4, 6, 9)
MAX_EXPONENT = 18


class FloatForm(NamedTuple):
    """A way to represent float64s exactly as int64s.

    `maybe_numbers(values, packed)` returns (integers, exponent), or None if the form does not fit; `packed` is the
    values' bytes. `words(numbers, exponent)` returns the values' bits; `vector(numbers, exponents)` does so for
    int64[series, rows] with one exponent per series, as float64[series, rows], and may overwrite `numbers`.
    """

    name: str
    maybe_numbers: Callable[[Sequence[float], bytes], tuple[list[int], int] | None]
    words: Callable[[list[int], int], array[int]]
    vector: Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float64]]


def _maybe_decimal(values: Sequence[float], packed: bytes) -> tuple[list[int], int] | None:
    if _MINUS_ZERO in packed and 1 << 63 in array(
        "Q", packed
    ):  # the bytes may also be those of two neighbouring values
        return None
    some = values[:: max(1, len(values) // 4)]
    for exponent in _EXPONENTS:
        power = 10.0**exponent
        try:
            if not all(round(v * power) / power == v for v in some):
                continue
            numbers = list(map(int, values)) if exponent == 0 else [round(v * power) for v in values]
        except (ValueError, OverflowError):  # a NaN, an infinity, or too large for this power
            return None
        if min(numbers) > -_LIMIT and max(numbers) < _LIMIT and [n / power for n in numbers] == values:
            return numbers, exponent
    return None


def _decimal_words(numbers: list[int], exponent: int) -> array[int]:
    power = 10.0**exponent
    return array("Q", array("d", [n / power for n in numbers]).tobytes())


def _decimal_vector(numbers: NDArray[np.int64], exponents: NDArray[np.int64]) -> NDArray[np.float64]:
    import numpy as np

    if not exponents.any():
        return numbers.astype(np.float64)
    powers = np.array([10.0**e for e in exponents.tolist()])
    values: NDArray[np.float64] = numbers / powers[:, np.newaxis]
    return values


def _ordered(values: Sequence[float], packed: bytes) -> tuple[list[int], int]:
    words = array("q", packed).tolist()
    return (words if min(words) >= 0 else [w if w >= 0 else w ^ _FLIP for w in words]), 0


def _ordered_words(numbers: list[int], exponent: int) -> array[int]:
    return array("Q", array("q", [n if n >= 0 else n ^ _FLIP for n in numbers]).tobytes())


def _ordered_vector(numbers: NDArray[np.int64], exponents: NDArray[np.int64]) -> NDArray[np.float64]:
    import numpy as np

    if numbers.min() < 0:
        numbers ^= (numbers >> 63) & _FLIP
    return numbers.view(np.float64)


DECIMAL = FloatForm("decimal", _maybe_decimal, _decimal_words, _decimal_vector)
BITS = FloatForm("bits", _ordered, _ordered_words, _ordered_vector)

TIMES = 0  # a timeline's integers are timestamps, not float64s
FORMS: dict[int, FloatForm] = {
    1: DECIMAL,
    2: BITS,
}  # by number in a record; tried in this order, the last one always fits
