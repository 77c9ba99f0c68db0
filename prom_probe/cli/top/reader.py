"""Reads from a source all that is shown of a moment."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from prom_probe.cli.answer import AnswerSeries, read_answer
from prom_probe.cli.error import ClientError
from prom_probe.cli.top.expressions import cells_expression, moment_expression
from prom_probe.cli.top.lasting import LastingSource
from prom_probe.cli.top.minute import MinuteCache
from prom_probe.cli.top.reading import MomentReading, MomentRequest, NoReading
from prom_probe.cli.top.rows import ENDED_S, rows_at, totals_of
from prom_probe.config.error import ConfigError
from prom_probe.history.run_info import RunInfo
from prom_probe.model.printable import printable

# A sample is in the store so long after its time at the latest, if nothing is wrong.
LATE_S = 2.0

_EVENTS_BEFORE_S = 60.0
_EVENTS_AFTER_S = 5.0


class MomentReader:
    """One thread at a time may use it. `clock`: Unix seconds."""

    def __init__(self, lasting: LastingSource, clock: Callable[[], float] = time.time) -> None:
        self._lasting = lasting
        self._clock = clock
        self._run: RunInfo | None = None
        self._away = False
        self._tree: str | None = None
        self._cache = MinuteCache()

    def run(self) -> RunInfo:
        """What is watched. Raises ClientError."""
        if self._run is None:
            self._run = self._lasting.source.run()
            if not self._run.trees:
                raise ClientError("no process tree is watched there")
        return self._run

    def now_s(self) -> float:
        """What `now` means: the present, or the last moment of what is stored."""
        return self._clock() if (end := self._lasting.end()) is None else end

    def maybe_read(self, request: MomentRequest) -> MomentReading | NoReading:
        """The moment; a source that does not answer is looked for anew the next time."""
        try:
            if self._away and self._lasting.end() is None:
                self._lasting.open()
            reading = self._read(request)
            self._away = False
            return reading
        except (ClientError, ConfigError) as error:
            self._away, self._run = True, None
            return NoReading(printable(str(error)))

    def _read(self, request: MomentRequest) -> MomentReading:
        run, source, end = self.run(), self._lasting.source, self._lasting.end()
        tree = request.tree if request.tree in run.trees else run.trees[0]
        if tree != self._tree:
            self._tree, self._cache = tree, MinuteCache()
        moment = self._latest(end) if request.moment is None else request.moment
        settled = math.inf if end is not None else self._clock() - LATE_S
        answer = read_answer(source.query(moment_expression(tree, run.interval), moment)).series
        self._fill(moment, tree, settled)
        before_s = ENDED_S + 2 * max(1.0, run.interval)
        records = [record for record in source.processes(moment - before_s, moment) if record.tree == tree]
        rows = rows_at(moment, answer, records)
        events = source.events(moment - _EVENTS_BEFORE_S, moment + _EVENTS_AFTER_S)
        if not any(row.end is None for row in rows):
            self._run = None  # it may have ended, or another one may have its address
        return MomentReading(
            moment=moment,
            end=end,
            settled=moment <= settled,
            run=run,
            tree=tree,
            rows=rows,
            totals=totals_of(answer),
            minute=self._cache.minute(moment),
            events=[event for event in events if event.tree in (None, tree)],
            span=None if rows else source.stored_span(),
        )

    def _latest(self, end: float | None) -> float:
        return float(math.floor(self._clock())) if end is None else end

    def _fill(self, moment: float, tree: str, settled: float) -> None:
        """Ask for the seconds of the last minute that are not known yet."""
        missing = self._cache.missing(moment)
        if missing is None:
            return
        expr = cells_expression(tree, self.run().interval)
        answer: Sequence[AnswerSeries] = read_answer(self._lasting.source.query_range(expr, *missing, 1.0)).series
        self._cache.add(*missing, answer, settled)
