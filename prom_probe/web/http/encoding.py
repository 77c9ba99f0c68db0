"""Content encoding: whether a client accepts gzip, and compression."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

_GZIP = 31  # zlib's wbits for a gzip header around deflate
_LEVEL = 1  # on an exposition a fifth larger than level 6 in a third of its time


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether an Accept-Encoding header asks for gzip, by name or by `*`, with a weight above 0."""
    star = False
    for item in accept_encoding.split(","):
        coding, *parameters = item.split(";")
        coding = coding.strip().lower()
        if coding in ("gzip", "x-gzip"):
            return _wanted(parameters)
        if coding == "*":
            star = _wanted(parameters)
    return star


def _wanted(parameters: Iterable[str]) -> bool:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            try:
                return 0.0 < float(value) <= 1.0
            except ValueError:
                return False
    return True


def gzip(body: bytes) -> bytes:
    """`body` as one gzip member."""
    return zlib.compress(body, _LEVEL, _GZIP)


def gzip_pieces(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """`pieces` as one gzip member, in pieces; the compressor may hold some input back."""
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    for piece in pieces:
        if packed := compressor.compress(piece):
            yield packed
    yield compressor.flush()
