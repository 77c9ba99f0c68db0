"""`prom-probe report`: a run as one HTML file, or its facts as JSON, CSV or Markdown."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from prom_probe.cli import source as sources
from prom_probe.cli.error import ClientError
from prom_probe.model.printable import printable

if TYPE_CHECKING:
    from prom_probe.cli.facts import RunFacts

_TO_STDOUT = "-"


@click.command()
@click.argument("source", metavar="[SOURCE]", default="@last")
@click.option("-o", "--output", metavar="FILE", help="Write to FILE, - for stdout.  [default: by the source's name]")
@click.option("--tree", metavar="NAME", help="Facts of this process tree.  [default: COMMAND's, or else the first]")
@click.option("--format", "form", type=click.Choice(["html", "json", "csv", "md"]), default="html", show_default=True)
def report(source: str, output: str | None, tree: str | None, form: str) -> None:
    """Write a report of a run: one HTML file with its graphs, its processes at each second, and its facts.

    The file needs no network and no prom-probe to be opened. With another --format there are only the facts, on stdout
    unless --output says where to.

    SOURCE is a URL, a directory of a stored run, @last (the default), @2 and so on, or the name of a kept run.
    """
    from prom_probe.cli.facts import collect_facts
    from prom_probe.cli.facts_table import render_facts

    opened = sources.open_source(source)
    facts = collect_facts(opened, source, tree)
    if form != "html":
        _write(output or _TO_STDOUT, [f"{render_facts([facts], form)}\n".encode()])
        return
    path = output or f"{_name(source, facts)}.html"
    _write(path, _document(opened, facts))
    if path != _TO_STDOUT:
        click.echo(printable(f"prom-probe: wrote {path} ({os.path.getsize(path) / 1000:.0f} kB)"), err=True)


def _document(source: sources.Source, facts: RunFacts) -> Iterable[bytes]:
    from prom_probe.cli.report.data import pack_report
    from prom_probe.cli.report.document import write_document
    from prom_probe.cli.report.header import header_facts

    what = printable(" ".join(facts.command)) if facts.command else f"trees on {facts.host}"
    return write_document(f"{what[:60]} – prom_probe", header_facts(facts), pack_report(source))


def _name(source: str, facts: RunFacts) -> str:
    """The file's name without its end: a kept run's or a directory's own, of an API its host and the run's start."""
    if re.match(r"https?://|unix:", source):
        started = time.strftime("%Y-%m-%dT%H-%M-%S", time.localtime(facts.start))
        return f"{facts.host or 'prom-probe'}-{started}"
    return os.path.basename(os.path.abspath(sources.directory_of(source)))


def _write(path: str, pieces: Iterable[bytes]) -> None:
    """Whole or not at all."""
    if path == _TO_STDOUT:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        return
    whole = b"".join(pieces)
    partial = f"{path}.partial"
    try:
        try:
            with open(partial, "wb") as file:
                file.write(whole)
            os.replace(partial, path)
        except OSError:
            with suppress(OSError):
                os.unlink(partial)
            raise
    except OSError as error:
        raise ClientError(f"{path}: {error.strerror}") from None
