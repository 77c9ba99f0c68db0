"""Answers queries over what a run has stored, without probes: for `serve`, and `query` with a directory."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import msgspec

from prom_probe.cli.client import ClientError, parse_span
from prom_probe.config.error import ConfigError
from prom_probe.config.settings import Config
from prom_probe.log import Log
from prom_probe.run.listening import close, listen

if TYPE_CHECKING:
    from prom_probe.tsdb.store import Store


def open_stored(path: str) -> Store:
    """The store in `path`, read-only. ConfigError with one line where there is none, or a running process has it."""
    from prom_probe.tsdb.outcome import StorageError
    from prom_probe.tsdb.store import Store

    try:
        return Store.open_read_only(path)
    except StorageError as error:
        raise ConfigError(str(error), 1) from None


def query_stored(path: str, expr: str, start: str | None, end: str | None, step: str | None) -> bytes:
    """The query API's JSON for `expr`; "now" is the store's newest sample. ClientError for a bad expression or time."""
    from prom_probe.promql.engine import Engine
    from prom_probe.promql.result import QueryError
    from prom_probe.web.api.json_result import result_json

    store = open_stored(path)
    newest_ms = store.newest_ms()
    span = parse_span(start, end, step, time.time() if newest_ms is None else newest_ms / 1000)
    engine, end_ms = Engine(), round(span.end_s * 1000)
    try:
        if span.start_s is None:
            result = engine.instant(store.snapshot(), expr, end_ms)
        else:
            start_ms, step_ms = round(span.start_s * 1000), round(span.step_s * 1000)
            result = engine.range(store.snapshot(), expr, start_ms, end_ms, step_ms)
    except QueryError as error:
        raise ClientError(f"{error.kind}: {error}") from None
    return b"".join(result_json(result))


def serve_stored(config: Config) -> None:
    """Until SIGTERM or SIGINT. ConfigError where it cannot begin."""
    if config.storage_tsdb_path is None:
        raise ConfigError("serve needs --storage.tsdb.path: where a run has stored its samples")
    if config.web_config_file is not None:
        from prom_probe.web.http.security import check

        try:
            check(config.web_config_file)
        except ValueError as error:
            raise ConfigError(str(error), 1) from None
    from prom_probe.aggregate.serving import ServingSocket, serve_store
    from prom_probe.web.http.patience import run

    store = open_stored(config.storage_tsdb_path)
    config = msgspec.structs.replace(config, web_enable_remote_write_receiver=False)  # nothing is written here
    log = Log(config.log_level, config.log_format, "serve")
    listeners = [listen(address, api=False) for address in config.web_listen_address]
    try:
        listeners += [listen(address, api=True) for address in config.api_listen_address]
        for listener in listeners:
            log("info", "listening", serves="api" if listener.api else "metrics", url=listener.url)
        sockets = [ServingSocket(each.sock, each.api, each.address.loopback) for each in listeners]
        run(lambda expect: serve_store(config, store, sockets, log, expect))
    finally:
        for listener in listeners:
            close(listener)
    sys.exit(0)
