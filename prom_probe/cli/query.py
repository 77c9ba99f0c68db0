"""`prom-probe query`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from prom_probe.cli import source as sources
from prom_probe.cli.error import ClientError
from prom_probe.config.variables import URL
from prom_probe.model.feature import Feature
from prom_probe.model.printable import printable, printable_json

if TYPE_CHECKING:
    from prom_probe.cli.answer import AnswerStyle, QueryAnswer
    from prom_probe.cli.source import Source
    from prom_probe.cli.span import Span

_TIMES = "14:03:07, a time ago (-5m), now, RFC 3339 or Unix seconds"


@click.command()
@click.argument("expr")
@click.option("--start", metavar="TIME", help=f"Start of the range: {_TIMES}.")
@click.option("--end", metavar="TIME", help="End of the range, or the time of an instant query.  [default: now]")
@click.option("--last", metavar="DURATION", help="A range of this length, up to --end.")
@click.option("--step", metavar="DURATION", help="Step of the range.  [default: a 60th of it, at least 1s]")
@click.option("--source", "source_text", metavar=sources.METAVAR, help=f"What to ask: {sources.HELP}.")
@click.option(
    "--url",
    metavar="URL",
    envvar=URL,
    default="http://127.0.0.1:19991",
    show_default=True,
    help="Any Prometheus API: http://[USER:PASSWORD@]HOST:PORT or unix:PATH.",
)
@click.option("--storage.tsdb.path", "path", metavar="DIR", help="Query what a run has stored in DIR, not an API.")
@click.option(
    "--enable-feature",
    "features",
    type=click.Choice([feature.value for feature in Feature]),
    multiple=True,
    help="A feature of PromQL that is off by default, for what a run has stored.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json"]),
    default="table",
    show_default=True,
    help="json is the API's answer as it is.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format=json.")
@click.option("--plot", is_flag=True, help="Draw a range in the terminal (pip install 'prom-probe[plot]').")
@click.option("--raw", is_flag=True, help="Print values as they are, without units.")
@click.option("--utc", is_flag=True, help="Read and print times in UTC, not in the local zone.")
def query(
    expr: str,
    start: str | None,
    end: str | None,
    last: str | None,
    step: str | None,
    source_text: str | None,
    url: str,
    path: str | None,
    features: tuple[str, ...],
    form: str,
    as_json: bool,
    plot: bool,
    raw: bool,
    utc: bool,
) -> None:
    """Evaluate the PromQL expression EXPR on a running prom-probe (or Prometheus), or on what a run has stored.

    On a stored run, "now" is its last moment, and 14:03:07 the last time before it that a clock showed that.

    A range without --step hides no peak of a plain metric such as up{job="x"}: each row has the largest value since the
    row before. Rows of other expressions have the value of their moment alone. A line on stderr says which it is if the
    step is longer than a second.
    """
    from prom_probe.cli.answer import AnswerStyle, read_answer, render_csv, render_table
    from prom_probe.cli.expression_unit import unit_of_expression
    from prom_probe.cli.span import parse_span

    source = _source(source_text, path, url)
    _enable(source, features)
    span = parse_span(start, end, step, source.now_s(), last=last, utc=utc)
    if plot and (span.start_s is None or as_json or form != "table"):
        raise ClientError("--plot needs a range, --last or --start, and no --format", 2)
    asked = _thinned(expr, span)
    if span.start_s is None:
        body = source.query(asked, span.end_s)
    else:
        body = source.query_range(asked, span.start_s, span.end_s, span.step_s)
    if as_json or form == "json":
        click.echo(printable_json(body.decode()))
        return
    answer, style = read_answer(body), AnswerStyle(utc, raw, "" if raw else unit_of_expression(expr))
    if not answer.series:
        _explain(source, expr, utc)
    if form == "table" and not (plot and answer.series):
        click.echo(render_table(answer, style))
        return
    click.echo(_drawn(answer, style, span) if plot else render_csv(answer, style))
    for note in answer.notes:
        click.echo(printable(f"prom-probe: {note}"), err=True)


def _drawn(answer: QueryAnswer, style: AnswerStyle, span: Span) -> str:
    import shutil

    from prom_probe.cli.plot import draw

    columns, colors = shutil.get_terminal_size().columns, sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return draw(answer, style, span.step_s, columns=columns, colors=colors)


def _source(text: str | None, path: str | None, url: str) -> Source:
    if text is not None and path is not None:
        raise ClientError("--source and --storage.tsdb.path exclude each other", 2)
    if text is not None:
        return sources.open_source(text)
    if path is not None:
        from prom_probe.cli.stored import StoredSource

        return StoredSource(path)
    from prom_probe.cli.client import ApiSource

    return ApiSource(url)


def _enable(source: Source, features: Sequence[str]) -> None:
    from prom_probe.cli.stored import StoredSource

    if not features:
        return
    if not isinstance(source, StoredSource):
        raise ClientError("--enable-feature is for what a run has stored; a running one has its own", 2)
    source.features = frozenset(map(Feature, features))


def _thinned(expr: str, span: Span) -> str:
    """What to ask for: see `query`. Says on stderr what the rows are, if there is something to say."""
    if not span.default_step:
        return expr
    from prom_probe.cli.thinning import describe_rows, largest_of_each_step

    largest = largest_of_each_step(expr, span)
    if span.step_s > 1:
        click.echo(f"prom-probe: {describe_rows(span, largest is not None)}", err=True)
    return largest or expr


def _explain(source: Source, expr: str, utc: bool) -> None:
    from prom_probe.cli.no_data import explain

    for line in explain(source, expr, utc=utc):
        click.echo(printable(f"prom-probe: {line}"), err=True)
