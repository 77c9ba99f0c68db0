"""`prom-probe query`."""

from __future__ import annotations

import time

import click

from prom_probe.config.variables import URL


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
    """
    from prom_probe.cli.answer import render_answer
    from prom_probe.cli.span import parse_span

    if path is None:
        from prom_probe.cli.client import fetch

        answer = fetch(url, expr, parse_span(start, end, step, time.time()))
    else:
        from prom_probe.cli.stored import query_stored

        answer = query_stored(path, expr, start, end, step)
    click.echo(answer.decode() if as_json else render_answer(answer))
