"""The only part of a store that the engine knows.

`deadline` is in seconds of time.monotonic(); after it, a regex matcher raises `model.regex.RegexTimeout`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from prom_probe.model.labels import Labels
from prom_probe.model.matcher import Matcher
from prom_probe.model.series import SeriesGroup


class Queryable(Protocol):
    """An immutable snapshot of a store: safe to read from any thread, unaffected by later appends."""

    def select(
        self,
        mint: int,
        maxt: int,
        matchers: Sequence[Matcher],
        *,
        batch: int = 128,
        most_values: int | None = None,
        deadline: float | None = None,
    ) -> Iterator[SeriesGroup]:
        """The matching series' samples with mint <= t <= maxt (ms), groups of at most `batch` series.

        With `most_values`, a group has at most that many values, unless it is a single series, and may have several
        timelines.
        Lazy: memory depends on the batch, not on the selection. Series without samples in the range are left out, each
        series comes once.
        """

    def count(
        self, mint: int, maxt: int, matchers: Sequence[Matcher], *, deadline: float | None = None
    ) -> tuple[int, int]:
        """(series, an upper bound of samples) that `select` would give, without decoding: for estimates and limits."""

    def series(
        self, mint: int, maxt: int, matchers: Sequence[Matcher], *, deadline: float | None = None
    ) -> list[Labels]:
        """The matching series that may have samples in the range, sorted."""

    def label_names(
        self, mint: int, maxt: int, matchers: Sequence[Matcher], *, deadline: float | None = None
    ) -> list[str]:
        """The label names of those series, sorted; all series where `matchers` is empty."""

    def label_values(
        self, name: str, mint: int, maxt: int, matchers: Sequence[Matcher], *, deadline: float | None = None
    ) -> list[str]:
        """The values of label `name` over those series, sorted."""
