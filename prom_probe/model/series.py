"""What a store returns to its readers: series that share timestamps, and the newest row of a collector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from prom_probe.model.family import Column
from prom_probe.model.labels import Labels

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


PADDING = (1 << 63) - 1  # ms: after a timeline's last timestamp


class Table(Protocol):
    """Values of series at common timestamps, perhaps still encoded."""

    def whole(self) -> NDArray[np.float64]:
        """All values: float64[series, n], read-only."""

    def at(self, index: NDArray[np.int64]) -> NDArray[np.float64]:
        """The values at `index` (each 0 to n - 1, in any order): float64[series, k].

        `index` is [k], or [timelines, k] where the group has a `line`.

        Arbitrary at timestamps that a series does not have.
        """

    def rising(self) -> bool:
        """Whether no series has a decrease, so no counter reset; False if unknown."""


class Whole:
    """A table of decoded values."""

    __slots__ = ("_values",)

    def __init__(self, values: NDArray[np.float64]) -> None:
        self._values = values

    def whole(self) -> NDArray[np.float64]:
        return self._values

    def at(self, index: NDArray[np.int64]) -> NDArray[np.float64]:
        from prom_probe.model.picking import pick

        found: NDArray[np.float64] = pick(self._values, index)
        return found

    def rising(self) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class SeriesGroup:
    """Some series with their samples of a time range. A series is in one group of a selection.

    `timestamps`: int64[n], ms, strictly increasing, those of all series. Or int64[timelines, n], where `line[i]`
    (ascending) is the timeline of series i; the shorter ones end with PADDING, where values are staleness markers.
    `table`: the values; the staleness marker (its bits) means both "ended here" and "no sample at this timestamp".
    Read-only: caches may own the arrays. `dense`: no value is the staleness marker, but at PADDING.
    """

    labels: Sequence[Labels]
    timestamps: NDArray[np.int64]
    table: Table
    dense: bool = False
    line: NDArray[np.int64] | None = None

    @property
    def values(self) -> NDArray[np.float64]:
        """All values: float64[len(labels), n]. Each call decodes them anew, if they are encoded."""
        return self.table.whole()

    @property
    def samples(self) -> int:
        """The number of samples, markers included."""
        if self.line is None:
            return len(self.labels) * len(self.timestamps)
        return int((self.timestamps != PADDING).sum(axis=1)[self.line].sum())


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest row of a collector: what `/metrics` shows.

    `columns` is the collector's layout (append-only while `layout` stays the same); `payload` is packed little-endian
    float64, one per column from the first on; columns beyond its end, and staleness markers, are absent.
    """

    collector: str
    layout: int
    columns: Sequence[Column]
    t_ms: int
    payload: bytes
