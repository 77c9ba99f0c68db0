"""Queries over what a run has stored."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from prom_probe.cli.error import ClientError
from prom_probe.cli.span import Span
from prom_probe.config.error import ConfigError
from prom_probe.model.printable import printable

if TYPE_CHECKING:
    from prom_probe.tsdb.store import Store


def open_stored(path: str) -> Store:
    """The store in `path`, read-only. ConfigError if there is none, or if a running process has it."""
    from prom_probe.tsdb.outcome import StorageError
    from prom_probe.tsdb.store import Store

    try:
        return Store.open_read_only(path, report=_warn)
    except StorageError as error:
        raise ConfigError(str(error), 1) from None


def newest_s(store: Store) -> float:
    """The newest sample's time, which is "now" for queries; the present if there is none."""
    newest_ms = store.newest_ms()
    return time.time() if newest_ms is None else newest_ms / 1000


def _warn(level: str, text: str) -> None:
    click.echo(printable(f"prom-probe: {text}"), err=True)


def query_stored(store: Store, expr: str, span: Span) -> bytes:
    """The query API's JSON for `expr`. ClientError for a bad expression."""
    from prom_probe.promql.engine import Engine
    from prom_probe.promql.result import QueryError
    from prom_probe.web.api.json_result import result_json

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
