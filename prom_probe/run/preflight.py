"""What is checked before anything starts, so that a mistake is one line and not a worker that keeps crashing."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.machinery import ModuleSpec

from prom_probe.config.error import ConfigError
from prom_probe.config.settings import Config
from prom_probe.log import Log
from prom_probe.run.child import call_in_child

DEFAULT_PROCFS = "/proc"
REMOTE_PACKAGE = "cramjam"
RECEIVER_FLAG = "--web.enable-remote-write-receiver"
SENDER_SETTING = "remote write"


def check(config: Config, log: Log, *, with_command: bool) -> None:
    """Raise ConfigError for the first setting with which `run` cannot work; what else is missing is logged.

    `with_command`: only a wrong setting keeps COMMAND from starting.
    """
    if missing := check_procfs(config):
        log("warn", f"{missing}: there are no series of it")
    check_storage(config, with_command=with_command)
    check_remote(config)


def check_procfs(config: Config) -> str:
    """What of procfs cannot be read, "" for nothing. ConfigError if the setting names a folder that is no procfs."""
    procfs = config.path_procfs
    if not os.path.exists("/proc/self/stat") and procfs == DEFAULT_PROCFS:
        return ""  # not Linux: psutil is used
    try:
        with open(os.path.join(procfs, "stat"), "rb") as stream:
            stream.read(1)
    except OSError as error:
        missing = f"cannot read {procfs}/stat: {error.strerror}"
        # A procfs may show processes alone (subset=pid).
        if procfs != DEFAULT_PROCFS and not os.path.lexists(os.path.join(procfs, "self")):
            raise ConfigError(missing, 1) from None
        return missing
    return ""


def check_storage(config: Config, *, with_command: bool) -> None:
    """ConfigError if the storage directory cannot be used; with a COMMAND, if it is the wrong one."""
    if config.storage_tsdb_path is not None:
        from prom_probe.tsdb.disk import folder
        from prom_probe.tsdb.outcome import StorageError, UnusableStoreError

        try:
            folder.check(config.storage_tsdb_path)
        except StorageError as error:
            if with_command and isinstance(error, UnusableStoreError):
                return  # the aggregator says it, and goes on in memory
            raise ConfigError(str(error), 1) from None


def check_remote(config: Config, find_spec: Callable[[str], ModuleSpec | None] | None = None) -> None:
    """ConfigError if remote writes are accepted or sent, and the package that packs them is not installed."""
    for what in remote_features(config):
        from importlib import util

        if (find_spec or util.find_spec)(REMOTE_PACKAGE) is None:
            text = f"{what} needs the package {REMOTE_PACKAGE}: pip install 'prom-probe[remote]'"
            raise ConfigError(text, 1)


def remote_features(config: Config) -> list[str]:
    """What of the settings needs the package."""
    wanted = {RECEIVER_FLAG: config.web_enable_remote_write_receiver, SENDER_SETTING: bool(config.destinations)}
    return [name for name, asked in wanted.items() if asked]


def has_tls(config: Config) -> bool:
    """Whether the web configuration file configures TLS. ConfigError if the file cannot be used."""
    path = config.web_config_file
    if path is None:
        return False

    def look() -> bool:
        from prom_probe.web.http.security import asks_for_tls

        return asks_for_tls(path)

    return call_in_child(look, bool)
