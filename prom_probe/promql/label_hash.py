"""The hash of a series' labels by which limit_ratio chooses: Prometheus's, so that both choose the same series.

XXH64 (https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md), seed 0, over names and values in order, each
after its length.
"""

from __future__ import annotations

import struct

from prom_probe.model.labels import Labels

_MASK = (1 << 64) - 1
_PRIME_1, _PRIME_2, _PRIME_3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
_PRIME_4, _PRIME_5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5


def label_hash(labels: Labels) -> int:
    """The hash, 64 bits."""
    return xxh64(b"".join(_sized(part.encode(errors="surrogateescape")) for pair in labels for part in pair))


def _sized(text: bytes) -> bytes:
    """`text` after its length: one byte, or 255 and three more."""
    size = len(text)
    return (bytes([size]) if size < 255 else b"\xff" + size.to_bytes(3, "little")) + text


def xxh64(data: bytes) -> int:
    """XXH64 of `data`, seed 0."""
    end = len(data) & ~31
    if end:
        lanes = [(_PRIME_1 + _PRIME_2) & _MASK, _PRIME_2, 0, -_PRIME_1 & _MASK]
        for stripe in struct.iter_unpack("<4Q", data[:end]):
            lanes = [_round(lane, word) for lane, word in zip(lanes, stripe, strict=True)]
        found = sum(_rotated(lane, by) for lane, by in zip(lanes, (1, 7, 12, 18), strict=True)) & _MASK
        for lane in lanes:
            found = ((found ^ _round(0, lane)) * _PRIME_1 + _PRIME_4) & _MASK
    else:
        found = _PRIME_5
    return _avalanche(_with_rest((found + len(data)) & _MASK, data[end:]))


def _with_rest(found: int, rest: bytes) -> int:
    """`found` with the last bytes, fewer than 32."""
    words = len(rest) & ~7
    for (word,) in struct.iter_unpack("<Q", rest[:words]):
        found = (_rotated(found ^ _round(0, word), 27) * _PRIME_1 + _PRIME_4) & _MASK
    if len(rest) - words >= 4:
        word = int.from_bytes(rest[words : words + 4], "little")
        found = (_rotated(found ^ (word * _PRIME_1 & _MASK), 23) * _PRIME_2 + _PRIME_3) & _MASK
        words += 4
    for byte in rest[words:]:
        found = _rotated(found ^ (byte * _PRIME_5 & _MASK), 11) * _PRIME_1 & _MASK
    return found


def _round(lane: int, word: int) -> int:
    return _rotated((lane + word * _PRIME_2) & _MASK, 31) * _PRIME_1 & _MASK


def _rotated(value: int, by: int) -> int:
    return (value << by | value >> (64 - by)) & _MASK


def _avalanche(found: int) -> int:
    found = (found ^ found >> 33) * _PRIME_2 & _MASK
    found = (found ^ found >> 29) * _PRIME_3 & _MASK
    return found ^ found >> 32
