"""Numbers, durations and strings of a query: their text -> values, and values -> Prometheus's text."""

from __future__ import annotations

import math
import re

_MAX_INT = (1 << 63) - 1
_LONGEST_MS = _MAX_INT // 1_000_000  # of Go's durations, which count nanoseconds
_OCTAL = re.compile("0[0-7]+")


def number(text: str) -> float:
    """The value of a number token: decimal, hexadecimal, octal with a leading zero, Inf, NaN. Raises ValueError."""
    plain = text.replace("_", "").lower()
    if plain.startswith("0x"):
        if (whole := int(plain, 16)) > _MAX_INT:
            raise ValueError(f'error parsing number: strconv.ParseFloat: parsing "{text}": invalid syntax')
        return float(whole)
    if plain[0] == "0" and plain[1:].isdigit() and _OCTAL.fullmatch(plain) and (whole := int(plain, 8)) <= _MAX_INT:
        return float(whole)
    value = float(plain)
    if value == math.inf and plain != "inf":
        raise ValueError(f'error parsing number: strconv.ParseFloat: parsing "{text}": value out of range')
    return value


_PART = re.compile(r"([0-9]+)([a-z]+)")
_UNITS_MS = {"y": 31_536_000_000, "w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}


def duration_ms(text: str) -> int:
    """`1h30m` in milliseconds; raises ValueError for units out of order or repeated, and if it is too long."""
    parts = _PART.findall(text)
    for _, unit in parts:
        if unit not in _UNITS_MS:
            raise ValueError(f'unknown unit "{unit}" in duration "{text}"')
    sizes = [_UNITS_MS[unit] for _, unit in parts]
    if sizes != sorted(set(sizes), reverse=True):
        raise ValueError(f'not a valid duration string: "{text}"')
    total = sum(int(count) * size for (count, _), size in zip(parts, sizes, strict=True))
    if total > _LONGEST_MS:
        raise ValueError("duration out of range")
    return total


def is_utf8(text: str) -> bool:
    """Whether a string's value has no bytes that are not UTF-8."""
    return not any("\ud800" <= char <= "\udfff" for char in text)


def as_utf8(text: str) -> str:
    """A string's value with bytes that are not UTF-8 replaced, as Go does for JSON."""
    return text.encode(errors="surrogateescape").decode(errors="replace")


_ESCAPE = re.compile(
    rb"\\(?:([abfnrtv\\'\"])|([0-7]{3})|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})"
    rb"|([xuU][0-9a-fA-F]{0,7}|[0-7]{1,2})?([\xc0-\xff][\x80-\xbf]+|.?))",
    re.S,
)
_SIMPLE = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


def unquote(literal: str) -> str:
    """The value of a string token; bytes that are not UTF-8 become lone surrogates. Raises ValueError."""
    inside = literal[1:-1]
    if literal[0] == "`" or "\\" not in inside:
        return inside

    def one(found: re.Match[bytes]) -> bytes:
        simple, octal, byte, short, long, begun, other = found.groups()
        if simple in (b"'", b'"') and simple != literal[0].encode():
            other = simple
        if other is not None:
            char = other.decode(errors="surrogateescape") or literal[0]
            what = f"U+{ord(char):04X} {quote_char(char)}"
            raise ValueError(
                f"illegal character {what} in escape sequence" if begun else f"unknown escape sequence {what}"
            )
        if simple is not None:
            return _SIMPLE.get(simple, simple)
        code = int(octal, 8) if octal else int(byte or short or long, 16)
        if code > (255 if octal else 0x10FFFF) or 0xD800 <= code < 0xE000:
            raise ValueError("escape sequence is an invalid Unicode code point")
        return bytes([code]) if octal or byte else chr(code).encode()

    return _ESCAPE.sub(one, inside.encode(errors="surrogateescape")).decode(errors="surrogateescape")


def quote_char(char: str) -> str:
    """A character between single quotes as Go prints it."""
    return f"'{char}'" if char == '"' else r"'\''" if char == "'" else f"'{quote(char)[1:-1]}'"


def quote(value: str) -> str:
    """`value` between double quotes as Go prints it."""
    out = []
    for char in value:
        if char in '"\\':
            out.append("\\" + char)
        elif char in "\a\b\f\n\r\t\v":
            out.append("\\" + "abfnrtv"["\a\b\f\n\r\t\v".index(char)])
        elif "\udc80" <= char <= "\udcff":
            out.append(f"\\x{ord(char) - 0xDC00:02x}")
        elif char.isprintable():
            out.append(char)
        else:
            code = ord(char)
            out.append(f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
    return f'"{"".join(out)}"'


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
