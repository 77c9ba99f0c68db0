"""The group of commands `prom-probe storage`."""

from __future__ import annotations

import click

from prom_probe.cli.storage.repair import repair
from prom_probe.cli.storage.verify import verify


@click.group()
def storage() -> None:
    """Verify and repair the directory of a stored run (--storage.tsdb.path), while no process writes to it."""


for command in (verify, repair):
    storage.add_command(command)
