"""`prom-probe version`."""

import click

from prom_probe import __version__


@click.command()
def version() -> None:
    """Print the version."""
    click.echo(f"prom-probe {__version__}")
