"""The aggregator process: one loop that drains the rings into the store, serves it, and takes reloads."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from prom_probe.aggregate import families as own
from prom_probe.aggregate.aggregator import Aggregator
from prom_probe.aggregate.reload_slot import ReloadSlot
from prom_probe.aggregate.reloads import Reloads
from prom_probe.aggregate.sending import measure_sending, serve_feed
from prom_probe.aggregate.serving import (
    DRAIN_CONNECTIONS_S,
    ServingSocket,
    build_info,
    find_page_url,
    make_about,
    make_app,
    maybe_security,
    query_limits,
    start_sockets,
)
from prom_probe.config.settings import Config
from prom_probe.history.history import History
from prom_probe.history.run_info import RunInfo
from prom_probe.log import Log, describe_error
from prom_probe.model.meter import Meter
from prom_probe.ring.consumer import Consumer
from prom_probe.ring.doorbell import Doorbell
from prom_probe.ring.slot import Slot
from prom_probe.threads import HeapTrimmer, share_heap, trim_heap
from prom_probe.tsdb.store import Store, StoreOptions
from prom_probe.web.http.limits import HttpLimits, free_descriptors
from prom_probe.web.http.server import Server

# How often the aggregator looks into the rings without being woken, and how often it measures itself.
DRAIN_S = 0.1
TICK_S = 1.0

# The pause between two slices of 2 ms of the store's maintenance: a fifth of a core at most.
TIDY_PAUSE_S = 0.008

# The cyclic collector runs after the first number of new objects. Each connection leaves it 1.4 kB in 7 objects, since
# asyncio's transports refer to themselves.
_GC_THRESHOLDS = 10_000, 20, 50

# How often to check whether the store has become much smaller.
TRIM_S = 60.0


@dataclass(frozen=True)
class AggregatorInputs:
    """What the aggregator process inherits from the supervisor."""

    config: Config
    log: Log
    rings: Mapping[str, memoryview]  # by probe
    # Of the probes that the settings enable: seconds between two collections, by probe, by collector.
    intervals: Callable[[Config], Mapping[str, Mapping[str, float]]]
    bell: Doorbell  # rung by the probes
    lifeline: int  # becomes readable when the supervisor is gone
    sockets: Sequence[ServingSocket]
    reload_slot: ReloadSlot
    reload_bell: Doorbell  # asks the supervisor for a reload
    supervisor_ring: memoryview  # whom it reaped, which worker it restarts
    run: RunInfo
    started_s: float  # the supervisor's start, by the monotonic clock
    dropped_lines: Callable[[], int]  # log lines that could not be written
    supervisor_errors: Callable[[], Mapping[str, int]]  # by call
    feed: socket.socket | None  # where the sender asks, if there is one
    sent: Slot  # what it has done


async def aggregate(inputs: AggregatorInputs) -> None:
    """Ingest and serve until SIGTERM. If the supervisor is gone, close the store and exit at once."""
    share_heap()
    loop = asyncio.get_running_loop()
    process = _AggregatorProcess(inputs)
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    loop.add_signal_handler(signal.SIGHUP, process.maybe_reload)
    process.maybe_reload()  # what was reloaded before this process started
    process.start(loop)
    gc.collect()
    trim_heap()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    await stopped.wait()
    await process.stop()


class _AggregatorProcess:
    """What the process has, and what happens in it when. Owned by the loop's thread."""

    def __init__(self, inputs: AggregatorInputs) -> None:
        self._inputs = inputs
        self._config, self._log = config, log = inputs.config, inputs.log
        self._meter = Meter(shows_detail=config.expose_self == "full")
        self._dropped_lines = self._meter.rare(own.LOG_DROPPED.family)
        # `run` has checked the directory. What befalls it later costs what is stored there, and not /metrics.
        self._store = Store(store_options(config), report=log, disk_required=False)
        self._history = History(inputs.run, self._store)
        intervals = inputs.intervals(config)
        self._aggregator = aggregator = Aggregator(
            self._store,
            {name: Consumer(inputs.rings[name]) for name in intervals},
            self._meter,
            intervals=_by_collector(intervals),
            build_info=build_info(),
            started_s=inputs.started_s,
            log=log,
            history=self._history,
            supervisor=Consumer(inputs.supervisor_ring),
        )
        self._reloads = Reloads(inputs.reload_slot, config, inputs.started_s, self._meter)
        self._security = maybe_security(config, log)
        about = make_about(
            lambda: self._reloads.config,
            inputs.started_s,
            lambda: aggregator.collecting,
            self._reloads,
            reload_bell=inputs.reload_bell,
            page_url=find_page_url(inputs.sockets, self._security),
            fault_of=aggregator.fault_of,
        )
        self._app = make_app(config, self._store, self._history, self._meter, about, log, self._security)
        limits = HttpLimits().fitted(len(inputs.sockets), free_descriptors())
        self._server = Server(self._app, limits, self._security)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Ingest what is in the rings and what comes, at the intervals of each task, and serve."""
        inputs, log, store, drain = self._inputs, self._log, self._store, self._aggregator.drain
        loop.add_reader(inputs.lifeline, self._orphaned)
        if inputs.feed is not None:
            serve_feed(loop, inputs.feed, self._config, store, drain)
        loop.add_reader(inputs.bell.fd, self._woken)
        drain()
        _every(loop, DRAIN_S, drain, log)
        _every(loop, TICK_S, self._tick, log)
        _every(loop, TICK_S, lambda: self._aggregator.tidy() and TIDY_PAUSE_S, log)
        _every(loop, TRIM_S, HeapTrimmer(lambda: store.stats().bytes).check, log)
        if self._config.storage_tsdb_path is not None:
            _every(loop, self._config.storage_tsdb_wal_flush_interval, self._flush, log)
        if self._security is not None:
            _every(loop, TICK_S, self._server.refresh, log)
        start_sockets(self._server, inputs.sockets)

    async def stop(self) -> None:
        """Take what is still in the rings, let answers end, and close the store."""
        self._aggregator.drain()
        self._tick()
        await self._server.drain(DRAIN_CONNECTIONS_S)
        self._close()

    def maybe_reload(self) -> None:
        """Take over the newest settings, if they are others."""
        new = self._reloads.maybe_take()
        if new is None:
            return
        self._log.change(new.log_level, new.log_format)
        self._store.change(store_options(new))
        intervals = self._inputs.intervals(new)
        for name in intervals:
            if name not in self._aggregator.rings:
                self._aggregator.add_ring(name, Consumer(self._inputs.rings[name]))
        self._aggregator.change_intervals(_by_collector(intervals))
        self._app.change(query_limits(new), new.api_allowed_host, new.web_cors_origin)

    def _orphaned(self) -> None:
        self._close()
        os._exit(1)  # without a supervisor nothing is restarted or reaped

    def _woken(self) -> None:
        self._inputs.bell.clear()
        self._aggregator.drain()

    def _tick(self) -> None:
        self._dropped_lines.set(self._inputs.dropped_lines())
        for call, count in self._inputs.supervisor_errors().items():
            self._meter.cell(own.SUPERVISOR_ERRORS.family, call=call).set(count)
        if self._inputs.feed is not None:
            measure_sending(self._meter, self._inputs.sent)
        self._aggregator.tick()

    def _flush(self) -> None:
        self._store.flush()
        self._history.flush(time.time())  # after the samples that it is about

    def _close(self) -> None:
        self._history.close(time.time())
        self._store.close()


def store_options(config: Config) -> StoreOptions:
    """The settings of the store."""
    return StoreOptions(
        retention_ms=round(config.storage_tsdb_retention_time * 1000),
        retention_bytes=config.storage_tsdb_retention_size,
        max_series=config.storage_tsdb_max_series,
        decode_cache_bytes=config.storage_tsdb_decode_cache_size,
        path=config.storage_tsdb_path,
    )


def _by_collector(intervals: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return {collector: seconds for by_name in intervals.values() for collector, seconds in by_name.items()}


def _every(loop: asyncio.AbstractEventLoop, period_s: float, work: Callable[[], float | None], log: Log) -> None:
    """Call `work` every `period_s` by the loop's clock, or after the pause that it returns.

    If it fails, that is a log line, and the next call follows.
    """
    due_s = loop.time() + period_s

    def call() -> None:
        nonlocal due_s
        pause_s = None
        try:
            pause_s = work()
        except Exception as error:
            log("error", describe_error(error))
        due_s = loop.time() + pause_s if pause_s else max(due_s + period_s, loop.time())
        loop.call_at(due_s, call)

    loop.call_at(due_s, call)
