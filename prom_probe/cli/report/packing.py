"""A report's data as bytes; `web/page/static/packed.js` reads them.

    length of the head   4 bytes, big-endian
    head                 JSON: what is not samples, and where each series' numbers are
    numbers              varints: the times of each grid, then the values of each series

A grid is the times, in milliseconds, at which any series of a metric has samples; metrics that are collected together
have the same one. A series has `runs` of samples without gaps, each (first place in the grid, count). Times and values
are differences from the one before, zigzag, in base 128 with the lowest digit first. A value is its number x `times` /
`per`.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import numpy as np
from numpy.typing import NDArray

from prom_probe.cli.report.samples import ReportMetric, ReportSeries


class _PackedSeries(msgspec.Struct):
    metric: str
    tree: str
    label: str
    grid: int
    runs: list[tuple[int, int]]
    times: int
    per: int


class _Head(msgspec.Struct):
    about: dict[str, object]
    grids: list[int]  # their lengths
    series: list[_PackedSeries]


def pack(about: dict[str, object], series: Iterable[ReportSeries]) -> bytes:
    """`about` is anything that JSON can say, with strings as keys."""
    by_metric: dict[ReportMetric, list[ReportSeries]] = {}
    for one in series:
        by_metric.setdefault(one.metric, []).append(one)
    grids: dict[bytes, int] = {}
    lengths: list[int] = []
    grid_numbers: list[bytes] = []
    packed: list[_PackedSeries] = []
    numbers: list[bytes] = []
    for metric, some in by_metric.items():
        grid = np.unique(np.concatenate([one.times_ms for one in some]))
        place = grids.setdefault(grid.tobytes(), len(grids))
        if place == len(lengths):
            lengths.append(len(grid))
            grid_numbers.append(_varints(_differences(grid)))
        for one in some:
            whole = np.rint(one.values * metric.per_unit).astype(np.int64)
            times = max(1, int(np.gcd.reduce(whole)))
            runs = _runs(np.searchsorted(grid, one.times_ms))
            packed.append(_PackedSeries(metric.name, one.tree, one.label, place, runs, times, metric.per_unit))
            numbers.append(_varints(_differences(whole // times)))
    head = msgspec.json.encode(_Head(about, lengths, packed))
    return b"".join([len(head).to_bytes(4, "big"), head, *grid_numbers, *numbers])


def _runs(places: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Consecutive places, as (first, count)."""
    breaks = np.flatnonzero(np.diff(places) != 1) + 1
    return [(int(run[0]), len(run)) for run in np.split(places, breaks)]


def _differences(values: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.diff(values, prepend=np.int64(0))


def _varints(values: NDArray[np.int64]) -> bytes:
    """Zigzag, so that small negative numbers are short too."""
    zigzag = ((values << 1) ^ (values >> 63)).view(np.uint64)
    digits: list[NDArray[np.uint8]] = []
    used: list[NDArray[np.bool_]] = []
    left: NDArray[np.uint64] = zigzag
    while True:
        rest = left >> np.uint64(7)
        digits.append(((left & np.uint64(0x7F)) | ((rest > 0).astype(np.uint64) << np.uint64(7))).astype(np.uint8))
        used.append((left > 0) if used else np.ones(len(values), np.bool_))
        if not rest.any():
            return bytes(np.stack(digits, axis=1)[np.stack(used, axis=1)])
        left = rest
