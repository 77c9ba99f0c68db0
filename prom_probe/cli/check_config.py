"""`prom-probe check-config`."""

from __future__ import annotations

import sys

import click

from prom_probe.config.sources import find_config
from prom_probe.model.printable import printable


@click.command("check-config")
@click.argument("file")
def check_config(file: str) -> None:
    """Check whether `run` would accept the configuration FILE; print the line and key of each fault."""
    _, faults = find_config({}, {}, file=file)
    for fault in faults:
        click.echo(printable(f"prom-probe: {fault}"), err=True)
    if faults:
        sys.exit(2)
    click.echo(printable(f"{file}: ok"))
