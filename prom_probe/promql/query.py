"""A query while it is evaluated, as operators and functions see it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from prom_probe.model.feature import Feature
from prom_probe.model.labels import Labels
from prom_probe.model.matcher import Matcher
from prom_probe.model.regex import RegexTimeout
from prom_probe.model.series import SeriesGroup
from prom_probe.promql.ast import At, Node, Selector
from prom_probe.promql.budget import Budget, timed_out
from prom_probe.promql.durations import QueryTimes
from prom_probe.promql.lexer import place
from prom_probe.promql.queryable import Queryable
from prom_probe.promql.sample_counts import SampleCounts
from prom_probe.promql.values import Floats, Ints, Samples, Value, Vector, merged, without_names
from prom_probe.promql.windows import BLOCK, Windows

MAX_BATCH = 256  # series
_SPARSE_FACTOR = 8  # how many times more series fit a batch where few of their values are asked for

# Some series of a range vector: labels, drop flags, windows.
Batch: TypeAlias = tuple[Sequence[Labels], Sequence[bool], Windows]


@dataclass(slots=True)
class Query:
    text: str
    queryable: Queryable
    budget: Budget
    lookback_ms: int
    times: QueryTimes
    features: frozenset[Feature] = frozenset()
    warnings: dict[str, str] = field(default_factory=dict)  # by the text without its place
    infos: dict[str, str] = field(default_factory=dict)

    def warn(self, message: str, start: int) -> None:
        """Note a warning about the expression that starts at `start`."""
        self.warnings[message] = f"PromQL warning: {message} ({place(self.text, start)})"

    def inform(self, message: str, start: int) -> None:
        self.infos[message] = f"PromQL info: {message} ({place(self.text, start)})"

    @property
    def keeps_names(self) -> bool:
        """Whether names are dropped at the end of the query only; functions then mark the series that lose theirs."""
        return Feature.DELAYED_NAME_REMOVAL in self.features

    def unnamed(self, vector: Vector, *, merge: bool = True) -> Vector:
        """`vector` without names, or marked to lose them.

        Series that become equal are merged; raises QueryError where two of them have a value at the same step, and for
        any of them without `merge`.
        """
        if self.keeps_names:
            return Vector(vector.labels, vector.values, vector.present, [True] * len(vector.labels))
        labels, distinct = without_names(vector.labels)
        vector = Vector(labels, vector.values, vector.present)
        return vector if distinct else merged(vector, self.budget, merge=merge)

    def read(
        self, matchers: Sequence[Matcher], mint: int, maxt: int, steps: int, *, sparse: bool
    ) -> tuple[int, Iterator[SeriesGroup]]:
        """The most series that there may be, and the series in batches that keep arrays small.

        `steps`: how many values of each series will be asked for or made. `sparse`: so few that most batches are never
        decoded as a whole. The memory of each batch is booked until the next one.
        """
        budget = self.budget
        try:
            series, _ = self.queryable.count(mint, maxt, matchers, deadline=budget.deadline)
        except RegexTimeout:
            raise timed_out() from None
        batch = max(1, min(MAX_BATCH, BLOCK // steps, series))
        values = (_SPARSE_FACTOR if sparse else 1) * BLOCK
        return series, self._batches(matchers, mint, maxt, batch, values) if series else iter(())

    def _batches(
        self, matchers: Sequence[Matcher], mint: int, maxt: int, batch: int, values: int
    ) -> Iterator[SeriesGroup]:
        budget = self.budget
        try:
            for group in self.queryable.select(
                mint, maxt, matchers, batch=batch, most_values=values, deadline=budget.deadline
            ):
                budget.check()
                size = 8 * len(group.labels) * group.timestamps.shape[-1]
                size += 2 * min(8 * BLOCK, size)  # for decoding it
                budget.hold(size)
                yield group
                budget.hold(-size)
        except RegexTimeout:
            raise timed_out() from None


class Evaluation(Protocol):
    """The evaluation of one expression at the steps `times`, as operators and functions see it."""

    @property
    def query(self) -> Query: ...

    @property
    def times(self) -> Ints:
        """The steps, regular: int64[steps], ms."""

    @property
    def steps(self) -> int:
        """How many steps there are."""

    @property
    def counts(self) -> SampleCounts | None:
        """Those of the samples, where asked for."""

    def eval(self, node: Node) -> Value:
        """The node's value; its memory stays booked until that of the node above it is."""

    def vector(self, node: Node) -> Vector:
        """The value of a node whose type is a vector."""

    def scalar(self, node: Node) -> Floats:
        """The values of a node whose type is a scalar: [steps]."""

    def mapped(self, values: Floats, compute: Callable[[Floats], Any]) -> Floats:
        """`compute` of `values` ([series, steps]), some rows at a time so that temporary arrays stay small."""

    def timestamps(self, node: Selector) -> Vector:
        """When the samples that a selector gives were taken, in seconds."""

    def ends(self, at: At, offset_ms: int) -> Ints:
        """The time that a selector refers to at each step."""

    def samples_between(self, matchers: Sequence[Matcher], after_ms: int, end_ms: int) -> Samples:
        """The matching series' samples after one time, up to and including another."""

    def windows(self, node: Node, *, sparse: bool = False) -> tuple[int, Iterator[Batch]]:
        """The most series that a range selector or subquery may give, and the series batch by batch.

        `sparse`: few values of each window will be asked for.
        """
