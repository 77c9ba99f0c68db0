"""`prom-probe storage repair`."""

from __future__ import annotations

import sys

import click

from prom_probe.config.error import ConfigError
from prom_probe.model.printable import printable


@click.command()
@click.argument("directory")
def repair(directory: str) -> None:
    """Repair DIRECTORY: keep what is intact, and say what is lost.

    A damaged file is kept beside as FILE.damaged. The exit status is 1 if something could not be repaired.
    """
    from prom_probe.tsdb.disk.verify import repair as repair_store
    from prom_probe.tsdb.outcome import StorageError

    said: list[str] = []

    def report(level: str, text: str) -> None:
        said.append(text.removeprefix("storage: "))

    try:
        repaired = repair_store(directory, report)
    except StorageError as error:
        raise ConfigError(str(error), 1) from None
    for text in said:
        click.echo(printable(text))
    if not repaired:
        sys.exit(1)
    click.echo(printable(f"{directory}: {'repaired' if said else 'ok: nothing to repair'}"))
