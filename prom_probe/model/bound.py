"""Bounds of buckets and quantiles as OpenMetrics writes them, and as Prometheus stores them: `1.0`, `1e+06`, `+Inf`."""

import re
from decimal import Decimal

_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_SPECIAL = {"inf": "Inf", "infinity": "Inf", "nan": "NaN"}
_INFINITIES = (float("inf"), float("-inf"))

# Exponents of ten below and from which a number is written with one.
_LEAST, _MOST = -4, 6


def canonical_bound(text: str) -> str:
    """`text` as a float is written there; a text that is no float stays as it is."""
    if not _NUMBER.fullmatch(text):
        word = _SPECIAL.get(text.lstrip("+-").lower(), "")
        if not word or len(text) - len(text.lstrip("+-")) > (word == "Inf"):
            return text
        return "NaN" if word == "NaN" else "-Inf" if text[0] == "-" else "+Inf"
    value = float(text)
    return text if value in _INFINITIES else format_bound(value)


def format_bound(value: float) -> str:
    """A finite number with the fewest digits that mean it, with a point or an exponent."""
    if value == int(value) and abs(value) < 10**_MOST:
        return f"{int(value)}.0"  # zero has no sign
    sign, digits, exponent = Decimal(repr(value)).as_tuple()
    assert isinstance(exponent, int), "the number is finite"
    written = "".join(map(str, digits)).rstrip("0") or "0"
    power = len(digits) + exponent - 1
    if _LEAST <= power < _MOST:
        return repr(value)
    head = written[0] + (f".{written[1:]}" if written[1:] else "")
    return f"{'-' * sign}{head}e{'-' if power < 0 else '+'}{abs(power):02d}"
