"""`prom-probe storage verify`."""

from __future__ import annotations

import os
import sys

import click

from prom_probe.config.error import ConfigError
from prom_probe.model.printable import printable


@click.command()
@click.argument("directory")
def verify(directory: str) -> None:
    """Read every file and every record in DIRECTORY, and change nothing.

    Each fault is a line: the file, the offset in it, and what is wrong. The exit status is 1 if there is one.
    """
    from prom_probe.tsdb.disk.verify import verify as verify_store
    from prom_probe.tsdb.outcome import StorageError

    try:
        found = verify_store(directory)
    except StorageError as error:
        raise ConfigError(str(error), 1) from None
    for fault in found.faults:
        click.echo(printable(f"{os.path.join(directory, fault.name)}:{fault.offset}: {fault.text}"))
    if found.faults:
        sys.exit(1)
    counts = f"block files {found.blocks}, log segments {found.segments}, samples {found.samples}"
    click.echo(printable(f"{directory}: ok: {counts}"))
