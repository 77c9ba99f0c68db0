"""HTTP over a store: the application that the settings ask for, and the loop that serves a stored directory."""

from __future__ import annotations

import asyncio
import platform
import signal
import socket
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from prom_probe import __version__
from prom_probe.aggregate.reloads import Reloads
from prom_probe.config.planned_target import plan_targets
from prom_probe.config.settings import Config, shown_settings
from prom_probe.config.units import format_duration, format_size
from prom_probe.history.history import HistorySource, StoredHistory
from prom_probe.log import Log
from prom_probe.model.feature import ON_BY_DEFAULT, Feature
from prom_probe.model.meter import Meter
from prom_probe.promql.limits import QueryLimits
from prom_probe.ring.doorbell import Doorbell
from prom_probe.threads import share_heap
from prom_probe.tsdb.store import Store
from prom_probe.web.app import App
from prom_probe.web.context import About, ServedTarget
from prom_probe.web.http.limits import HttpLimits, free_descriptors
from prom_probe.web.http.server import Server

if TYPE_CHECKING:
    from prom_probe.web.http.security import Security

# What ends a server.
ENDS = (signal.SIGTERM, signal.SIGINT)

# How long open connections may take to end.
DRAIN_CONNECTIONS_S = 2.0


class ServingSocket(NamedTuple):
    """A listening socket, whether it serves the query API, and whether only this machine can reach it.

    `url`: how a client on this machine reaches it.
    """

    sock: socket.socket
    api: bool
    loopback: bool
    url: str


async def serve_store(config: Config, store: Store, sockets: Sequence[ServingSocket], log: Log) -> None:
    """Serve `store` until one of `ENDS`, which may be blocked before."""
    share_heap()
    security, meter = maybe_security(config, log), Meter()
    about = make_about(lambda: config, time.monotonic(), lambda: True, page_url=find_page_url(sockets, security))
    limits = HttpLimits().fitted(len(sockets), free_descriptors())
    app = make_app(config, store, StoredHistory(store), meter, about, log, security)
    server = Server(app, limits, security)
    stopped = asyncio.Event()
    for number in ENDS:
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDS)
    start_sockets(server, sockets)
    await stopped.wait()
    await server.drain(DRAIN_CONNECTIONS_S)


def start_sockets(server: Server, sockets: Sequence[ServingSocket]) -> None:
    """Accept connections from all of them."""
    for each in sockets:
        server.start(each.sock, api=each.api, loopback=each.loopback)


def build_info() -> dict[str, str]:
    """What `prom_probe_build_info` and the status pages show."""
    return {"version": __version__, "python_version": platform.python_version()}


def make_about(
    config: Callable[[], Config],
    started_s: float,
    ready: Callable[[], bool],
    reloads: Reloads | None = None,
    *,
    reload_bell: Doorbell | None = None,
    page_url: str = "",
    fault_of: Callable[[str], str] = lambda collector: "",
) -> About:
    """What the status pages show. `started_s` is monotonic, `config` returns the settings in force."""

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
        targets=lambda: _served_targets(config()),
        fault_of=fault_of,
        reload_succeeded=lambda: reloads is None or reloads.successful,
        reload=request_reload if reloads is not None and config().web_enable_lifecycle else None,
        storage_retention=retention,
        start_time_s=time.time() - (time.monotonic() - started_s),
        page_url=page_url,
    )


def _served_targets(config: Config) -> dict[str, ServedTarget]:
    return {
        target.collector: ServedTarget(
            target.labels, target.shown_url, format_duration(target.interval_s), format_duration(target.timeout_s)
        )
        for target in plan_targets(config)
    }


def make_app(
    config: Config,
    store: Store,
    history: HistorySource,
    meter: Meter,
    about: About,
    log: Log,
    security: Security | None = None,
) -> App:
    """The application over `store`, with the remote write receiver if it is enabled."""
    receiver = None
    if config.web_enable_remote_write_receiver:
        from prom_probe.remote.receiver import Receiver

        receiver = Receiver(store, log)
    return App(
        store,
        history=history,
        meter=meter,
        limits=query_limits(config),
        about=about,
        log=log,
        allowed_hosts=config.api_allowed_host,
        receiver=receiver,
        security=security,
        cors_origin=config.web_cors_origin,
    )


def find_page_url(sockets: Sequence[ServingSocket], security: Security | None) -> str:
    """Where a browser on this machine finds the page: an API listener with a port; "" where there is none."""
    url = next((each.url for each in sockets if each.api and "://" in each.url), "")
    tls = security is not None and security.context is not None
    return url.replace("http://", "https://", 1) if tls else url


def maybe_security(config: Config, log: Log) -> Security | None:
    """TLS and users of the web configuration file, if there is one. Raises WebConfigError."""
    if config.web_config_file is None:
        return None
    from prom_probe.web.http.security import Security

    return Security(config.web_config_file, log)


def query_limits(config: Config) -> QueryLimits:
    """The settings of the query engine."""
    return QueryLimits(
        timeout_s=config.query_timeout,
        max_samples=config.query_max_samples,
        max_memory_bytes=config.query_max_memory,
        max_concurrency=config.query_max_concurrency,
        lookback_delta_ms=round(config.query_lookback_delta * 1000),
        features=ON_BY_DEFAULT.union(map(Feature, config.enable_feature)),
    )
