"""Samples: a timestamp in wall-clock milliseconds and a float64, and the NaN that ends a series."""

import struct

# Prometheus's StaleNaN (model/value in prometheus/common). A signalling NaN: any arithmetic, `+ 0.0` included, turns
# it into another NaN, so test its bits before computing with a value.
STALE_BITS = 0x7FF0000000000002
STALE_BYTES = STALE_BITS.to_bytes(8, "little")
STALE: float = struct.unpack("<d", STALE_BYTES)[0]


def is_stale(value: float) -> bool:
    """Whether `value` is the staleness marker, bit for bit."""
    return value != value and struct.pack("<d", value) == STALE_BYTES
