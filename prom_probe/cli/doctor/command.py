"""`prom-probe doctor`."""

from __future__ import annotations

import sys
from typing import Any

import click

from prom_probe.cli.settings_flags import read_settings, settings_flags, settings_source


@click.command()
@settings_flags
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(as_json: bool, **flags: Any) -> None:
    """Show what `run` with these flags can read and serve here, what it cannot, why, and what to change.

    The exit status is 1 if something is missing that the flags ask for.
    """
    config = read_settings(settings_source(flags))
    from prom_probe.cli.doctor.report import examine, render_json, render_text

    report = examine(config)
    click.echo(render_json(report) if as_json else render_text(report))
    sys.exit(report.exit_status)
