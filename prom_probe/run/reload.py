"""Reloads the settings while everything runs: all of them take effect, or none."""

from __future__ import annotations

import os
import signal

import msgspec

from prom_probe.config.error import ConfigError
from prom_probe.config.settings import OPTIONS, Config
from prom_probe.run.child import call_in_child
from prom_probe.run.collector_context import choose_watches
from prom_probe.run.command import Command
from prom_probe.run.probes import PROBES
from prom_probe.run.shared import AGGREGATOR, Shared

# Probe workers use the settings of these sections; they are replaced when one of them has changed.
_PROBE_SECTIONS = ("watch", "interval", "expose", "collect", "gpu", "scrape", "log")


def reload(shared: Shared, command: Command | None) -> list[str]:
    """Read the settings again and tell the aggregator. Returns the names of the workers to replace."""
    before = shared.config
    try:
        wanted = call_in_child(shared.source.read, Config)
    except ConfigError as error:
        shared.log("error", "settings not reloaded: the old ones stay in force", error=str(error))
        shared.reload_slot.publish(before, str(error))
    else:
        shared.config, waiting = merge(before, wanted)
        if waiting:
            shared.log("warn", "these settings change only with a restart", keys=",".join(waiting))
        shared.log.change(shared.config.log_level, shared.config.log_format)
        if concerns_probes(before, shared.config):
            choose_watches(shared, command)
        shared.make_probe_memory()
        shared.log("info", "settings reloaded")
        shared.reload_slot.publish(shared.config)
    for row in shared.board.rows():
        if row.name == AGGREGATOR and row.pid:
            os.kill(row.pid, signal.SIGHUP)
    return list(PROBES) if concerns_probes(before, shared.config) else []


def merge(running: Config, wanted: Config) -> tuple[Config, list[str]]:
    """What can take effect without a restart, and the keys that have changed and cannot."""
    fixed = [option for option in OPTIONS if option.restart]
    waiting = [option.key for option in fixed if getattr(running, option.field) != getattr(wanted, option.field)]
    kept = {option.field: getattr(running, option.field) for option in fixed}
    return msgspec.structs.replace(wanted, **kept), waiting


def concerns_probes(before: Config, after: Config) -> bool:
    """Whether a setting that probe workers use has changed."""
    changed = [option.key for option in OPTIONS if getattr(before, option.field) != getattr(after, option.field)]
    return any(key.partition(".")[0] in _PROBE_SECTIONS for key in changed)
