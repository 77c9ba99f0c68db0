"""Hands the settings over to a fresh interpreter, which leaves the command line parser's memory behind."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import msgspec

from prom_probe.config.settings import Config
from prom_probe.config.sources import SettingsSource

# What any pipe holds.
_PIPE_BYTES = 65536


def become_sidecar(config: Config, source: SettingsSource, command: tuple[str, ...]) -> NoReturn:
    """Replace this process by an interpreter that runs `prom_probe.run.main`.

    The parser and all that it imports would otherwise stay in every worker: 3 MB of 32. The PID stays; the arguments
    are repeated for `ps`, and end with COMMAND's.
    """
    settings = msgspec.msgpack.encode((config, source, len(command)))
    if len(settings) > _PIPE_BYTES:
        from prom_probe.run.main import run_or_explain

        sys.exit(run_or_explain(config, source, command))
    read_fd, write_fd = os.pipe()
    os.write(write_fd, settings)
    os.close(write_fd)
    os.set_inheritable(read_fd, True)
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "prom_probe.run.main", str(read_fd), *sys.argv[1:]])
