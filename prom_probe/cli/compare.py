"""`prom-probe compare`: the facts of two runs, and their ratios."""

from __future__ import annotations

import click

from prom_probe.cli import source as sources


@click.command()
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.option("--tree", metavar="NAME", help="Of this process tree.  [default: COMMAND's, or else the first]")
@click.option("--format", "form", type=click.Choice(["table", "json", "csv", "md"]), default="table", show_default=True)
def compare(first: str, second: str, tree: str | None, form: str) -> None:
    """Compare the runs A and B: how they ended, what they used, their largest processes, and the ratios B to A.

    A and B are sources: a URL, a directory of a stored run, @last, @2 and so on, or the name of a kept run.
    """
    from prom_probe.cli.facts import collect_facts
    from prom_probe.cli.facts_table import render_facts

    runs = [collect_facts(sources.open_source(text), text, tree) for text in (first, second)]
    click.echo(render_facts(runs, form))
