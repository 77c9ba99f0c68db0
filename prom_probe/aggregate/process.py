"""The loops that serve: the aggregator's, which ingests too, and the one over a stored directory."""

from __future__ import annotations

import asyncio
import gc
import os
import platform
import signal
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from prom_probe import __version__
from prom_probe.aggregate import families as own
from prom_probe.aggregate.aggregator import Aggregator
from prom_probe.config.settings import Config, shown_settings
from prom_probe.config.units import format_duration, format_size
from prom_probe.log import Log, describe_error
from prom_probe.model.meter import Meter
from prom_probe.promql.limits import QueryLimits
from prom_probe.ring.consumer import Consumer
from prom_probe.ring.doorbell import Doorbell
from prom_probe.run.listening import Listener
from prom_probe.run.wiring import AGGREGATOR, asked_probes, collector_names
from prom_probe.threads import HeapTrimmer
from prom_probe.tsdb.store import Store, StoreOptions
from prom_probe.web.app import App
from prom_probe.web.context import About
from prom_probe.web.http.server import Server

if TYPE_CHECKING:
    from prom_probe.run.wiring import Shared
    from prom_probe.web.http.security import Security

# How often the aggregator looks into the rings without having been woken, and how often it measures itself.
DRAIN_S = 0.1
TICK_S = 1.0

# While the store has work behind the scenes, its slices of 2 ms come this far apart: a fifth of a core at most.
TIDY_PAUSE_S = 0.008

# How often it is looked whether the store has become much smaller.
TRIM_S = 60.0

# How long open connections may take to end.
DRAIN_CONNECTIONS_S = 2.0


async def aggregate(shared: Shared, lifeline: int, expect: Callable[[], None]) -> None:
    """Ingest and serve until SIGTERM; exit at once when `lifeline` says that the supervisor is gone.

    `expect`: the selector's (`web.patience`).
    """
    config, log = shared.config, shared.log.named(AGGREGATOR)
    loop = asyncio.get_running_loop()
    meter, store = Meter(), Store(store_options(config), report=log)
    rings = {name: Consumer(shared.rings[name]) for name in asked_probes(config)}
    aggregator = Aggregator(
        store,
        rings,
        meter,
        intervals=intervals_of(config),
        build_info=build_info(),
        started_s=shared.started_s,
        log=log,
    )
    reloads = Reloads(shared, meter)
    about = make_about(
        lambda: reloads.config, shared.started_s, lambda: aggregator.collecting, reloads, reload_bell=shared.reload_bell
    )
    security = maybe_security(config, log)
    app = make_app(config, store, meter, about, log, expect, security)
    server = Server(app, security=security)
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)

    def reloaded() -> None:
        new = reloads.maybe_take()
        if new is not None:
            log.change(new.log_level, new.log_format)
            store.change(store_options(new))
            for name in asked_probes(new):
                if name not in rings:
                    rings[name] = Consumer(shared.rings[name])
                    aggregator.add_ring(name, rings[name])
            aggregator.change_intervals(intervals_of(new))
            app.change(query_limits(new), new.api_allowed_host, new.web_cors_origin)

    loop.add_signal_handler(signal.SIGHUP, reloaded)
    reloaded()  # what was reloaded before this process was

    def orphaned() -> None:
        store.close()
        os._exit(1)  # nobody would restart or reap anything

    def drain_woken() -> None:
        shared.bell.clear()
        aggregator.drain()

    loop.add_reader(lifeline, orphaned)
    loop.add_reader(shared.bell.fd, drain_woken)
    aggregator.drain()
    _every(loop, DRAIN_S, aggregator.drain, log)
    _every(loop, TICK_S, aggregator.tick, log)
    _every(loop, TICK_S, lambda: aggregator.tidy() and TIDY_PAUSE_S, log)
    _every(loop, TRIM_S, HeapTrimmer(lambda: store.stats().bytes).check, log)
    if config.storage_tsdb_path is not None:
        _every(loop, config.storage_tsdb_wal_flush_interval, store.flush, log)
    if security is not None:
        _every(loop, TICK_S, server.refresh, log)
    await _start(server, shared.listeners)
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    await stopped.wait()
    aggregator.drain()
    aggregator.tick()
    await server.drain(DRAIN_CONNECTIONS_S)
    store.close()


async def serve_store(
    config: Config, store: Store, listeners: Sequence[Listener], log: Log, expect: Callable[[], None]
) -> None:
    """Serve what `store` has until SIGTERM or SIGINT; `expect` as in `aggregate`."""
    about = make_about(lambda: config, time.monotonic(), lambda: True)
    security = maybe_security(config, log)
    server = Server(make_app(config, store, Meter(), about, log, expect, security), security=security)
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await _start(server, listeners)
    await stopped.wait()
    await server.drain(DRAIN_CONNECTIONS_S)


async def _start(server: Server, listeners: Sequence[Listener]) -> None:
    for listener in listeners:
        await server.start(listener.sock, api=listener.api, loopback=listener.address.loopback)


def build_info() -> dict[str, str]:
    """What `prom_probe_build_info` and the status pages tell."""
    return {"version": __version__, "python_version": platform.python_version()}


def store_options(config: Config) -> StoreOptions:
    """The store's part of the settings."""
    return StoreOptions(
        retention_ms=round(config.storage_tsdb_retention_time * 1000),
        retention_bytes=config.storage_tsdb_retention_size,
        max_series=config.storage_tsdb_max_series,
        decode_cache_bytes=config.storage_tsdb_decode_cache_size,
        path=config.storage_tsdb_path,
    )


class Reloads:
    """The aggregator's side of reloads: takes the outcome, tells it in metrics, answers who waits for it."""

    def __init__(self, shared: Shared, meter: Meter) -> None:
        self.config = shared.config
        self._board = shared.reloads
        self._number = 0
        self._waiting: list[asyncio.Future[str]] = []
        self.successful = True
        self._success = meter.cell(own.RELOAD_SUCCESSFUL.family)
        self._at = meter.cell(own.RELOAD_TIME.family)
        self._success.set(1)
        self._at.set(time.time() - (time.monotonic() - shared.started_s))

    def maybe_take(self) -> Config | None:
        """The settings of a reload that has not been taken yet and succeeded."""
        outcome = self._board.read()
        if outcome is None or outcome.number == self._number:
            return None
        self._number, self.successful = outcome.number, not outcome.error
        self._success.set(float(self.successful))
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(outcome.error)
        if outcome.error:
            return None
        self._at.set(outcome.at_s)
        self.config = outcome.config
        return outcome.config

    def next(self) -> asyncio.Future[str]:
        """What the next reload fails with, "" for success."""
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        return future


def intervals_of(config: Config) -> dict[str, float]:
    """Seconds between two collections, by collector."""
    return {
        collector: kind.interval(config)
        for name, kind in asked_probes(config).items()
        for collector in collector_names(name, config)
    }


def make_about(
    config: Callable[[], Config],
    started_s: float,
    ready: Callable[[], bool],
    reloads: Reloads | None = None,
    *,
    reload_bell: Doorbell | None = None,
) -> About:
    """What the status pages tell; `started_s` is monotonic. `config` gives the settings in force."""

    def request_reload() -> asyncio.Future[str]:
        assert reloads is not None and reload_bell is not None
        future = reloads.next()
        reload_bell.ring()
        return future

    def retention() -> str:
        now = config()
        return f"{format_duration(now.storage_tsdb_retention_time)} or {format_size(now.storage_tsdb_retention_size)}"

    return About(
        build_info=build_info(),
        ready=ready,
        flags=lambda: shown_settings(config()),
        config_yaml=lambda: "".join(f"{key}: {value!r}\n" for key, value in shown_settings(config()).items()),
        reload_succeeded=lambda: reloads is None or reloads.successful,
        reload=request_reload if reloads is not None and config().web_enable_lifecycle else None,
        storage_retention=retention,
        start_time_s=time.time() - (time.monotonic() - started_s),
    )


def make_app(
    config: Config,
    store: Store,
    meter: Meter,
    about: About,
    log: Log,
    expect: Callable[[], None],
    security: Security | None = None,
) -> App:
    """The application over `store`, with the remote write receiver where it is asked for."""
    receiver = None
    if config.web_enable_remote_write_receiver:
        from prom_probe.remote.receiver import Receiver

        receiver = Receiver(store, log)
    return App(
        store,
        meter=meter,
        limits=query_limits(config),
        about=about,
        log=log,
        allowed_hosts=config.api_allowed_host,
        receiver=receiver,
        security=security,
        cors_origin=config.web_cors_origin,
        expect=expect,
    )


def maybe_security(config: Config, log: Log) -> Security | None:
    """What the web configuration file asks for, where there is one. Raises WebConfigError."""
    if config.web_config_file is None:
        return None
    from prom_probe.web.http.security import Security

    return Security(config.web_config_file, log)


def query_limits(config: Config) -> QueryLimits:
    """The query engine's part of the settings."""
    return QueryLimits(
        timeout_s=config.query_timeout,
        max_samples=config.query_max_samples,
        max_memory_bytes=config.query_max_memory,
        max_concurrency=config.query_max_concurrency,
        lookback_delta_ms=round(config.query_lookback_delta * 1000),
    )


def _every(loop: asyncio.AbstractEventLoop, period_s: float, work: Callable[[], float | None], log: Log) -> None:
    """Call `work` every `period_s` by the loop's clock, or, where it gives a pause, after that.

    A failure of it is a log line, and the next call comes.
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
