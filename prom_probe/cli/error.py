"""How a command ends with an error: one line on stderr and an exit status."""

from __future__ import annotations

import sys
from typing import NoReturn

import click

from prom_probe.model.printable import printable


class ClientError(Exception):
    """A query without an answer, or with an error as the answer. `status` is the exit status: 2 for bad input."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


def fail(message: str, status: int) -> NoReturn:
    """Print the message, if anybody can be told, and exit."""
    try:
        click.echo(printable(f"prom-probe: {message}"), err=True)
    except OSError:
        pass
    sys.exit(status)
