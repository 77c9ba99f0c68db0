"""Reloads the settings while everything runs: all of them take effect, or none."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

import msgspec

from prom_probe.config.error import ConfigError
from prom_probe.config.settings import OPTIONS, Config
from prom_probe.run.child import ChildCall
from prom_probe.run.collector_context import choose_watches
from prom_probe.run.command import Command
from prom_probe.run.probes import PROBES
from prom_probe.run.shared import AGGREGATOR, Shared

# Probe workers use the settings of these sections; they are replaced when one of them has changed.
_PROBE_SECTIONS = ("watch", "interval", "expose", "collect", "gpu", "scrape", "scrape_configs", "log")


class Reload:
    """Reads the settings again, while everything goes on."""

    def __init__(self, shared: Shared, command: Command | None) -> None:
        self._shared = shared
        self._command = command
        self._call: ChildCall[Config] | None = None

    def begin(self) -> bool:
        """Begin to read, if nothing is under way. Whether that was possible."""
        try:
            self._call = ChildCall(self._shared.source.read, Config)
        except OSError as error:
            self._refuse(error)
            return False
        return True

    def advance(self) -> Sequence[str] | None:
        """Once all is read and in force, the names of the workers to replace; None while it is under way."""
        if self._call is None:
            return ()
        try:
            if not self._call.advance():
                return None
            wanted = self._call.result()
        except (ConfigError, OSError) as error:
            self.cancel()
            self._refuse(error)
            return ()
        self.cancel()
        return self._take(wanted)

    def cancel(self) -> None:
        """Stop reading."""
        call, self._call = self._call, None
        if call is not None:
            try:
                call.end()
            except OSError:
                pass  # it has ended

    def _take(self, wanted: Config) -> Sequence[str]:
        """Put the settings in force and tell the aggregator."""
        shared, before = self._shared, self._shared.config
        config, waiting = merge(before, wanted)
        try:
            shared.make_probe_memory(config)
        except OSError as error:
            self._refuse(error)
            return ()
        shared.config = config
        if waiting:
            shared.log("warn", "these settings change only with a restart", keys=",".join(waiting))
        shared.log.change(config.log_level, config.log_format)
        if concerns_probes(before, config):
            choose_watches(shared, self._command)
        shared.log("info", "settings reloaded")
        shared.reload_slot.publish(config)
        self._tell_aggregator()
        return list(PROBES) if concerns_probes(before, config) else []

    def _refuse(self, error: Exception) -> None:
        if isinstance(error, OSError):
            self._shared.board.failed("reload")
        self._shared.log("error", "settings not reloaded: the old ones stay in force", error=str(error))
        self._shared.reload_slot.publish(self._shared.config, str(error))
        self._tell_aggregator()

    def _tell_aggregator(self) -> None:
        for row in self._shared.board.rows():
            if row.name == AGGREGATOR and row.pid:
                try:
                    os.kill(row.pid, signal.SIGHUP)
                except OSError as error:
                    self._shared.board.failed("kill")
                    self._shared.log("error", "the aggregator is not told of a reload", error=error.strerror)


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
