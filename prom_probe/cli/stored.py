"""What a run has stored: opened for reading, and as a source."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from prom_probe.cli.error import ClientError
from prom_probe.config.error import ConfigError
from prom_probe.history.history import StoredHistory
from prom_probe.history.run_info import maybe_run_info
from prom_probe.model.labels import METRIC_NAME
from prom_probe.model.printable import printable

if TYPE_CHECKING:
    from prom_probe.history.process_record import ProcessRecord
    from prom_probe.history.run_info import RunInfo
    from prom_probe.model.feature import Feature
    from prom_probe.model.run_event import RunEvent
    from prom_probe.promql.engine import Engine
    from prom_probe.promql.result import Result
    from prom_probe.tsdb.store import Snapshot, Store

_ALWAYS = (-(1 << 53), 1 << 53)


def open_stored(path: str) -> Store:
    """The store in `path`, read-only. ConfigError if there is none, or if a running process has it."""
    from prom_probe.tsdb.outcome import StorageError
    from prom_probe.tsdb.store import Store

    try:
        return Store.open_read_only(path, report=_warn)
    except StorageError as error:
        raise ConfigError(str(error), 1) from None


def _warn(level: str, text: str) -> None:
    click.echo(printable(f"prom-probe: {text}"), err=True)


class StoredSource:
    """The directory of a run that has ended; see `Source`. Raises ConfigError if it cannot be read.

    `features` are those of `--enable-feature` that queries may use.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.features: frozenset[Feature] = frozenset()
        self.store = open_stored(path)
        self._history = StoredHistory(self.store).shot()

    def now_s(self) -> float:
        newest_ms = self.store.newest_ms()
        if newest_ms is None:
            return time.time()
        info = maybe_run_info(self.store.run)
        if info is None or info.end is None:
            return newest_ms / 1000
        # A run that came to its end has staleness markers there, behind which nothing is found any more.
        return min(info.end, (newest_ms - 1) / 1000)

    def query(self, expr: str, time_s: float) -> bytes:
        at_ms = _ms(time_s)
        return _answer(self.store, lambda engine, snapshot: engine.instant(snapshot, expr, at_ms), self.features)

    def query_range(self, expr: str, start_s: float, end_s: float, step_s: float) -> bytes:
        return evaluate_range(self.store, expr, start_s, end_s, step_s, self.features)

    def metric_names(self) -> list[str]:
        return self.store.snapshot().label_values(METRIC_NAME, *_ALWAYS, ())

    def stored_span(self) -> tuple[float, float] | None:
        oldest_ms, newest_ms = self.store.oldest_ms(), self.store.newest_ms()
        return None if oldest_ms is None or newest_ms is None else (oldest_ms / 1000, newest_ms / 1000)

    def run(self) -> RunInfo:
        return self._history.run

    def processes(self, start_s: float | None = None, end_s: float | None = None) -> list[ProcessRecord]:
        return self._history.processes(*_bounds(start_s, end_s))

    def events(
        self, start_s: float | None = None, end_s: float | None = None, types: Sequence[str] = ()
    ) -> list[RunEvent]:
        return self._history.events(*_bounds(start_s, end_s), types)


def _bounds(start_s: float | None, end_s: float | None) -> tuple[float, float]:
    return -math.inf if start_s is None else start_s, math.inf if end_s is None else end_s


def evaluate_range(
    store: Store, expr: str, start_s: float, end_s: float, step_s: float, features: frozenset[Feature] = frozenset()
) -> bytes:
    """The query API's JSON for a range query over a store. Raises ClientError."""
    start_ms, end_ms, step_ms = _ms(start_s), _ms(end_s), _ms(step_s)
    return _answer(store, lambda engine, snapshot: engine.range(snapshot, expr, start_ms, end_ms, step_ms), features)


def _answer(store: Store, evaluate: Callable[[Engine, Snapshot], Result], features: frozenset[Feature]) -> bytes:
    from prom_probe.promql.engine import Engine
    from prom_probe.promql.limits import QueryLimits
    from prom_probe.promql.result import QueryError
    from prom_probe.web.api.json_result import result_json

    try:
        return b"".join(result_json(evaluate(Engine(QueryLimits(features=features)), store.snapshot())))
    except QueryError as error:
        raise ClientError(f"{error.kind}: {error}") from None


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
