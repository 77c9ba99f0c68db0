"""`prom-probe query`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from prom_probe.config.variables import URL
from prom_probe.model.printable import printable_json

if TYPE_CHECKING:
    from prom_probe.cli.span import Span


@click.command()
@click.argument("expr")
@click.option("--start", metavar="TIME", help="Start of the range: Unix seconds, RFC 3339, or a time ago (-5m).")
@click.option("--end", metavar="TIME", help="End of the range, or the time of an instant query.  [default: now]")
@click.option("--step", metavar="DURATION", help="Step of the range.  [default: a 60th of it, at least 1s]")
@click.option(
    "--url",
    metavar="URL",
    envvar=URL,
    default="http://127.0.0.1:19991",
    show_default=True,
    help="Any Prometheus API: http://[USER:PASSWORD@]HOST:PORT or unix:PATH.",
)
@click.option("--storage.tsdb.path", "path", metavar="DIR", help="Query what a run has stored in DIR, not an API.")
@click.option("--json", "as_json", is_flag=True, help="Print the API's answer as it is.")
def query(
    expr: str, start: str | None, end: str | None, step: str | None, url: str, path: str | None, as_json: bool
) -> None:
    """Evaluate the PromQL expression EXPR on a running prom-probe (or Prometheus).

    With --storage.tsdb.path it is evaluated on what a finished run has stored, and "now" is the run's last moment.

    A range without --step hides no peak of a plain metric such as up{job="x"}: each row has the largest value since the
    row before. Rows of other expressions have the value of their moment alone. A line on stderr says which it is if the
    step is longer than a second.
    """
    from prom_probe.cli.answer import render_answer
    from prom_probe.cli.span import parse_span

    if path is None:
        from prom_probe.cli.client import fetch

        span = parse_span(start, end, step, time.time())
        answer = fetch(url, _thinned(expr, span), span)
    else:
        from prom_probe.cli.stored import newest_s, open_stored, query_stored

        store = open_stored(path)
        span = parse_span(start, end, step, newest_s(store))
        answer = query_stored(store, _thinned(expr, span), span)
    click.echo(printable_json(answer.decode()) if as_json else render_answer(answer))


def _thinned(expr: str, span: Span) -> str:
    """What to ask for: see `query`. Says on stderr what the rows are, if there is something to say."""
    if not span.default_step:
        return expr
    from prom_probe.cli.thinning import describe_rows, largest_of_each_step

    largest = largest_of_each_step(expr, span)
    if span.step_s > 1:
        click.echo(f"prom-probe: {describe_rows(span, largest is not None)}", err=True)
    return largest or expr
