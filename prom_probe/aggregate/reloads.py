"""The aggregator's side of reloads: takes their results, publishes them as metrics, answers the clients that wait."""

from __future__ import annotations

import asyncio
import time

from prom_probe.aggregate import families as own
from prom_probe.aggregate.reload_slot import ReloadSlot
from prom_probe.config.settings import Config
from prom_probe.model.meter import Meter


class Reloads:
    """The settings in force and the results of reloads; belongs to the aggregator's loop."""

    def __init__(self, slot: ReloadSlot, config: Config, started_s: float, meter: Meter) -> None:
        self.config = config
        self._slot = slot
        self._number = 0
        self._waiting: list[asyncio.Future[str]] = []
        self.successful = True
        self._success = meter.cell(own.RELOAD_SUCCESSFUL.family)
        self._at = meter.cell(own.RELOAD_TIME.family)
        self._success.set(1)
        self._at.set(time.time() - (time.monotonic() - started_s))

    def maybe_take(self) -> Config | None:
        """The settings of a successful reload that was not taken yet; None if there is none."""
        result = self._slot.read()
        if result is None or result.number == self._number:
            return None
        self._number, self.successful = result.number, not result.error
        self._success.set(float(self.successful))
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(result.error)
        if result.error:
            return None
        self._at.set(result.at_s)
        self.config = result.config
        return result.config

    def next(self) -> asyncio.Future[str]:
        """The error of the next reload, "" if it succeeds."""
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        return future
