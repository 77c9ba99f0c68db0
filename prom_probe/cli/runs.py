"""`prom-probe runs`: the kept runs."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Any

import click
import msgspec

from prom_probe.cli.error import ClientError, fail
from prom_probe.model.printable import printable, printable_json

if TYPE_CHECKING:
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
    rows = [_facts(place, run) for place, run in enumerate(_kept(), 1)]
    if form == "json":
        click.echo(printable_json(msgspec.json.format(msgspec.json.encode(rows)).decode()))
    elif rows:
        click.echo(_table(rows))
    else:
        click.echo("no run is kept")


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


def _facts(place: int, run: KeptRun) -> dict[str, Any]:
    """A row as JSON: times are Unix seconds, what is not known is null."""
    from prom_probe.cli.run_record import read_run_record

    record, running = read_run_record(run.path), run.is_running()
    start, end = record.get("start") or run.started_s, record.get("end")
    return {
        "source": "@last" if place == 1 else f"@{place}",
        "name": run.name,
        "path": run.path,
        "start": start,
        "end": end,
        "running": running,
        "exit_status": record.get("exit_status"),
        "signal": record.get("signal"),
        "command": record.get("command"),
        "bytes": run.size,
    }


def _table(rows: list[dict[str, Any]]) -> str:
    cells = [_HEAD, *map(_cells, rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(_HEAD))]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in cells)


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    from prom_probe.cli.clock import format_time
    from prom_probe.cli.run_record import describe_exit
    from prom_probe.config.units import human_duration, human_size

    ended = "running" if row["running"] else describe_exit(row) or "unknown"
    lasted = "" if row["end"] is None else human_duration(round(row["end"] - row["start"], 1))
    command = printable(shlex.join(row["command"] or ()))
    if len(command) > _MOST_CHARACTERS:
        command = command[: _MOST_CHARACTERS - 1] + "…"
    when = format_time(row["start"], milliseconds=False)
    return row["source"], row["name"], when, lasted, ended, human_size(row["bytes"]), command
