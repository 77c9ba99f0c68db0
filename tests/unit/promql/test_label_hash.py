"""The hash of labels is XXH64 over Prometheus's encoding."""

import pytest

from prom_probe.promql.label_hash import label_hash, xxh64

# By the reference implementation.
HASHES = [
    (b"", 0xEF46DB3751D8E999),
    (b"abc", 0x44BC2CF5AD770999),
    (bytes(range(100)), 0x6AC1E58032166597),
]


@pytest.mark.parametrize(("data", "found"), HASHES)
def test_xxh64(data: bytes, found: int) -> None:
    """Short and long inputs, with rests of each size."""
    assert xxh64(data) == found


def test_labels_are_hashed_after_their_lengths() -> None:
    """A length is one byte, from 255 on four."""
    assert label_hash((("a", "bc"), ("d", "é"))) == xxh64(b"\1a\2bc\1d\2\xc3\xa9")
    assert label_hash((("a", "x" * 300),)) == xxh64(b"\1a\xff\x2c\x01\x00" + b"x" * 300)
