"""`prom-probe runs`: the kept runs."""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING, NamedTuple

import click
import msgspec

from prom_probe.cli.error import ClientError, fail
from prom_probe.model.printable import printable, printable_json, shorten

if TYPE_CHECKING:
    from prom_probe.history.run_info import RunInfo
    from prom_probe.run.kept import KeptRun

_HEAD = ("", "NAME", "WHEN", "DURATION", "EXIT", "SIZE", "COMMAND")
_MOST_CHARACTERS = 60


@click.group(invoke_without_command=True)
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_context
def runs(context: click.Context, form: str) -> None:
    """List the runs of a COMMAND that were kept, newest first.

    `run` keeps the newest ten (--run.keep) under $XDG_STATE_HOME/prom-probe/runs; in a container none, unless it is
    asked to. Other commands take @last, @2 and so on, or a name, as a SOURCE.
    """
    if context.invoked_subcommand is not None:
        return
    rows = [_listed(place, run) for place, run in enumerate(_kept(), 1)]
    if form == "json":
        click.echo(printable_json(msgspec.json.format(msgspec.json.encode([row._asdict() for row in rows])).decode()))
    elif rows:
        click.echo(render_runs(rows))
    else:
        from prom_probe.run.kept import why_none

        click.echo(printable(why_none()))


@runs.command()
@click.argument("names", metavar="NAME...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Remove all of them.")
def remove(names: tuple[str, ...], everything: bool) -> None:
    """Remove kept runs; NAME may be @last, @2 and so on too. One that still runs stays."""
    from prom_probe.run import kept

    if bool(names) == everything:
        raise ClientError("name the runs to remove, or give --all", 2)
    found = _kept()
    chosen = found if everything else [_named(name, found) for name in names]
    failed = [run.name for run in dict.fromkeys(chosen) if not kept.remove(run.path)]
    for name in failed:
        click.echo(printable(f"prom-probe: {name}: not removed: it still runs, or is being read"), err=True)
    if everything and (parent := kept.runs_folder()) is not None:
        kept.remove_folders(parent)
    if failed:
        sys.exit(1)


def _kept() -> list[KeptRun]:
    from prom_probe.run.kept import list_runs, runs_folder

    folder = runs_folder()
    try:
        return list_runs(folder)
    except OSError as error:
        fail(f"{folder}: {error.strerror}", 1)


def _named(name: str, found: list[KeptRun]) -> KeptRun:
    for place, run in enumerate(found, 1):
        if name in (run.name, f"@{place}", "@last" if place == 1 else ""):
            return run
    raise ClientError(f"no kept run is called {name!r} (see prom-probe runs)", 2)


class _ListedRun(NamedTuple):
    """A row of the list, as `--format=json` has it: times are Unix seconds, what is not known is null."""

    source: str
    name: str
    path: str
    start: float
    end: float | None
    running: bool
    exit_status: int | None
    signal: int | None
    command: list[str] | None
    bytes: int
    how_it_ended: str


def _listed(place: int, run: KeptRun) -> _ListedRun:
    info = _run_info(run.path)
    return _ListedRun(
        source="@last" if place == 1 else f"@{place}",
        name=run.name,
        path=run.path,
        start=info.start or run.started_s,
        end=info.end,
        running=run.is_running(),
        exit_status=info.exit_status,
        signal=info.signal,
        command=info.command,
        bytes=run.size,
        how_it_ended=info.how_it_ended,
    )


def _run_info(path: str) -> RunInfo:
    """What is stored of the run itself, if anything is."""
    from prom_probe.history.run_info import RunInfo, maybe_run_info
    from prom_probe.tsdb.disk.folder import RUN

    try:
        with open(os.path.join(path, RUN), "rb") as stream:
            return maybe_run_info(stream.read()) or RunInfo()
    except OSError:
        return RunInfo()


def render_runs(rows: list[_ListedRun]) -> str:
    """A table for people."""
    cells = [_HEAD, *map(_cells, rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(_HEAD))]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in cells)


def _cells(run: _ListedRun) -> tuple[str, ...]:
    from prom_probe.cli.clock import format_time
    from prom_probe.config.units import human_duration, human_size

    ended = "running" if run.running else run.how_it_ended or "unknown"
    lasted = "" if run.end is None else human_duration(round(run.end - run.start, 1))
    command = shorten(printable(shlex.join(run.command or ())), _MOST_CHARACTERS)
    when = format_time(run.start, milliseconds=False)
    return tuple(map(printable, (run.source, run.name, when, lasted, ended, human_size(run.bytes), command)))
