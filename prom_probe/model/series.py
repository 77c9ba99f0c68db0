"""What a store hands to its readers: series that share timestamps, and the newest row of a collector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prom_probe.model.family import Column
from prom_probe.model.labels import Labels

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class SeriesGroup:
    """Series with common timestamps. A series is in one group of a selection, with all its samples of the range.

    `timestamps`: int64[n], ms, strictly increasing. `values`: float64[len(labels), n]; the staleness marker (its bits)
    stands both for "ended here" and for "no sample at this timestamp". Read-only: caches may own the arrays.
    `dense`: no value is the staleness marker. `monotonic[i]`: series i has no decrease (so no counter reset) in here;
    None where the store does not know.
    """

    labels: Sequence[Labels]
    timestamps: NDArray[np.int64]
    values: NDArray[np.float64]
    dense: bool = False
    monotonic: Sequence[bool] | None = None


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest row of one collector: what `/metrics` shows.

    `columns` is the collector's layout (append-only while `layout` stays the same); `payload` is packed little-endian
    float64, one per column from the first on; columns beyond its end, and staleness markers, are absent.
    """

    collector: str
    layout: int
    columns: Sequence[Column]
    t_ms: int
    payload: bytes
