"""`prom-probe run`."""

from __future__ import annotations

from typing import Any

import click

from prom_probe.cli.settings_flags import read_settings, settings_flags, settings_source


@click.command()
@settings_flags
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def run(command: tuple[str, ...], **flags: Any) -> None:
    """Start COMMAND and watch it, or watch what --watch names, until it ends.

    COMMAND gets every signal that prom-probe gets, and prom-probe exits with its exit status. Put -- before COMMAND:

        prom-probe run -- python train.py

    With neither COMMAND nor --watch, every container is watched in a pod with a shared process namespace; elsewhere
    only the system is.
    """
    from prom_probe.run.handover import become_sidecar

    source = settings_source(flags)
    become_sidecar(read_settings(source), source, command)
