"""Hands the settings over to a fresh interpreter, which leaves the command line parser's memory behind."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from prom_probe.config.secret import without_secrets
from prom_probe.config.settings import Config
from prom_probe.config.sources import SettingsSource
from prom_probe.run.inheritance import block_signals, restore_environment
from prom_probe.run.settings_pipe import Handover, leave


def become_sidecar(config: Config, source: SettingsSource, command: tuple[str, ...]) -> NoReturn:
    """Replace this process by an interpreter that runs `prom_probe.run.main`.

    The parser and all that it imports would otherwise stay in every worker: 3 MB of 32. The PID stays; the arguments
    are repeated for `ps`, without secrets, and end with COMMAND's. Signals that come from here on wait.
    """
    blocked = block_signals()
    fd = leave(Handover(config, source, blocked, len(command)))
    if fd is not None:
        restore_environment()
        program = [sys.executable, *_options(), "-m", "prom_probe.run.main", str(fd)]
        ours = [without_secrets(argument) for argument in sys.argv[1 : len(sys.argv) - len(command)]]
        try:
            os.execv(sys.executable, [*program, *ours, *command])
        except OSError:
            os.close(fd)  # there is no such interpreter, or there are too many arguments for one more
    from prom_probe.run.main import run_or_explain

    os._exit(run_or_explain(config, source, command, blocked))


def _options() -> list[str]:
    """The interpreter's: no file of the working directory is taken for a module, unless the package itself is there."""
    home = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return [] if os.path.abspath(sys.path[0]) == home else ["-P"]
