"""What is checked before anything starts, so that a mistake is one line and not a worker that keeps crashing."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.machinery import ModuleSpec

from prom_probe.config.error import ConfigError
from prom_probe.config.settings import Config
from prom_probe.run.child import call_in_child

RECEIVER_PACKAGE = "cramjam"
RECEIVER_FLAG = "--web.enable-remote-write-receiver"


def check(config: Config) -> None:
    """Raise ConfigError for the first thing that would keep `run` from working."""
    check_procfs(config)
    check_storage(config)
    check_receiver(config)


def check_procfs(config: Config) -> None:
    """ConfigError if this platform has a procfs that cannot be read."""
    if not os.path.exists("/proc/self/stat") and config.path_procfs == "/proc":
        return  # not Linux: psutil is used
    try:
        with open(os.path.join(config.path_procfs, "stat"), "rb") as stream:
            stream.read(1)
    except OSError as error:
        raise ConfigError(f"cannot read {config.path_procfs}/stat: {error.strerror}", 1) from None


def check_storage(config: Config) -> None:
    """ConfigError if the storage directory cannot be used."""
    if config.storage_tsdb_path is not None:
        from prom_probe.tsdb.disk import folder
        from prom_probe.tsdb.outcome import StorageError

        try:
            folder.check(config.storage_tsdb_path)
        except StorageError as error:
            raise ConfigError(str(error), 1) from None


def check_receiver(config: Config, find_spec: Callable[[str], ModuleSpec | None] | None = None) -> None:
    """ConfigError if remote writes are enabled and the package that decompresses them is not installed."""
    if config.web_enable_remote_write_receiver:
        from importlib import util

        if (find_spec or util.find_spec)(RECEIVER_PACKAGE) is None:
            what = f"{RECEIVER_FLAG} needs the package {RECEIVER_PACKAGE}: pip install 'prom-probe[remote]'"
            raise ConfigError(what, 1)


def has_tls(config: Config) -> bool:
    """Whether the web configuration file configures TLS. ConfigError if the file cannot be used."""
    path = config.web_config_file
    if path is None:
        return False

    def look() -> bool:
        from prom_probe.web.http.security import asks_for_tls

        return asks_for_tls(path)

    return call_in_child(look, bool)
