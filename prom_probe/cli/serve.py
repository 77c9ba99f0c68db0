"""`prom-probe serve`."""

from __future__ import annotations

import signal
import sys
from functools import partial
from typing import Any

import click
import msgspec

from prom_probe.cli.settings_flags import read_settings, settings_flags, settings_source
from prom_probe.config.error import ConfigError
from prom_probe.config.settings import Config

# The settings that it uses. It accepts the others too, so that those of a run can be given, but does not show them.
_USED = ("web.listen", "web.config", "web.cors", "api.", "query.", "enable-feature", "storage.tsdb.path", "log.")


@click.command()
@partial(settings_flags, shown=_USED)
def serve(**flags: Any) -> None:
    """Serve the query API over what a run has stored in --storage.tsdb.path, read-only and without probes."""
    serve_stored(read_settings(settings_source(flags)))


def serve_stored(config: Config) -> None:
    """Serve until SIGTERM or SIGINT, then exit. Raises ConfigError if it cannot start."""
    if config.storage_tsdb_path is None:
        raise ConfigError("serve needs --storage.tsdb.path: the directory where a run has stored its samples")
    if config.web_config_file is not None:
        from prom_probe.web.http.security import asks_for_tls

        try:
            asks_for_tls(config.web_config_file)
        except ValueError as error:
            raise ConfigError(str(error), 1) from None
    import asyncio

    from prom_probe.aggregate.serving import ENDS, ServingSocket, serve_store
    from prom_probe.cli.stored import open_stored
    from prom_probe.log import Log
    from prom_probe.run.listening import close, listen

    store = open_stored(config.storage_tsdb_path)
    config = msgspec.structs.replace(config, web_enable_remote_write_receiver=False)  # the store is read-only
    log = Log(config.log_level, config.log_format, "serve")
    listeners = [listen(address, api=False) for address in config.web_listen_address]
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)  # until the server itself waits for them
    try:
        listeners += [listen(address, api=True) for address in config.api_listen_address]
        for listener in listeners:
            log("info", "listening", serves="api" if listener.api else "metrics", url=listener.url)
        sockets = [ServingSocket(each.sock, each.api, each.address.loopback, each.url) for each in listeners]
        asyncio.run(serve_store(config, store, sockets, log))
    finally:
        for listener in listeners:
            close(listener)
    sys.exit(0)
