"""`prom-probe dashboards`: Grafana dashboards, which `grafana/` makes and the package contains."""

from __future__ import annotations

import os
import shutil

import click

from prom_probe.cli.error import fail
from prom_probe.model.printable import printable

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# A wheel has them in the package, a checkout beside it.
_PLACES = (os.path.join(_PACKAGE, "_dashboards"), os.path.join(os.path.dirname(_PACKAGE), "grafana", "dashboards"))


@click.group()
def dashboards() -> None:
    """Grafana dashboards for prom-probe's metrics."""


@dashboards.command("export")
@click.argument("folder", metavar="DIR")
def export_command(folder: str) -> None:
    """Write the dashboards to DIR, from where Grafana can be provisioned."""
    try:
        for path in export(folder):
            click.echo(printable(path))
    except OSError as error:
        fail(f"{error.filename or folder}: {error.strerror or error}", 1)


def export(folder: str) -> list[str]:
    """Copy the dashboards to `folder`, making it if needed. Returns the files. Raises OSError."""
    source = next((place for place in _PLACES if os.path.isdir(place)), None)
    if source is None:
        raise FileNotFoundError(f"this installation has no dashboards: {_PLACES[0]} is missing")
    os.makedirs(folder, exist_ok=True)
    names = sorted(name for name in os.listdir(source) if name.endswith(".json"))
    return [shutil.copyfile(os.path.join(source, name), os.path.join(folder, name)) for name in names]
