"""The outcome of a query: a Result, or a QueryError of one of Prometheus's kinds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from prom_probe.model.labels import Labels

ResultType = Literal["scalar", "string", "vector", "matrix"]
ErrorType = Literal["bad_data", "execution", "timeout", "canceled", "internal"]


class QueryError(Exception):
    """A query that cannot be answered; `kind` is Prometheus's `errorType`, the text is for the user."""

    def __init__(self, kind: ErrorType, message: str) -> None:
        super().__init__(message)
        self.kind: ErrorType = kind


class StepCounts(NamedTuple):
    """How many samples were used at each step: `total` counts a sample at each, `read` at the first that uses it."""

    times: NDArray[np.int64]  # ms
    total: NDArray[np.int64]
    read: NDArray[np.int64]


class Timings(NamedTuple):
    """Where a query's time went, for `stats`."""

    preparation_s: float = 0.0  # parsing
    inner_eval_s: float = 0.0
    result_sort_s: float = 0.0  # selecting and sorting what is present


@dataclass(slots=True)
class Result:
    """A query's answer. As long as it lives, its memory counts towards that of running queries.

    vector: `timestamps` int64[1], `values` float64[len(labels), 1]. matrix of a range query: `timestamps` int64[steps],
    `values` float64[series, steps], `present` bool of the same shape (a series without any present value is left out).
    scalar: one row, no labels (`labels == [()]`). string: `string`. A matrix asked for by an instant query (`g[1h]`)
    has samples of its own per series: `raw[i]` = (int64[n] ms, float64[n]), and `timestamps`, `values` stay empty.
    """

    type: ResultType
    labels: list[Labels] = field(default_factory=list)
    timestamps: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    values: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0), np.float64))
    present: NDArray[np.bool_] | None = None
    complete: bool = False  # all values are present
    raw: list[tuple[NDArray[np.int64], NDArray[np.float64]]] | None = None
    string: str = ""
    warnings: list[str] = field(default_factory=list)
    infos: list[str] = field(default_factory=list)
    counts: StepCounts | None = None  # where asked for, for `stats`
    peak_bytes: int = 0  # the most that it held at a time
    timings: Timings = field(default_factory=Timings)
    booking: object = None  # of its memory, released with it
