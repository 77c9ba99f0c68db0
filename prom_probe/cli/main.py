"""The command line: run, once, query, serve, check-config, doctor, completion, dashboards, version."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import click

from prom_probe import __version__
from prom_probe.config.error import ConfigError
from prom_probe.config.settings import OPTIONS, Config, Option
from prom_probe.config.sources import SettingsSource, find_config

F = TypeVar("F", bound=Callable[..., Any])

_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


# What `serve` heeds. It takes the other settings too, so that those of a run will do, and does not speak of them.
_SERVES = ("web.listen", "web.config", "web.cors", "api.", "query.", "storage.tsdb.path", "log.")


def _config_options(command: F, shown: tuple[str, ...] = ("",)) -> F:
    """Every setting of Config as a flag of `command`, `--config.file` first; help tells of those that begin so."""
    for option in reversed(OPTIONS):
        settings = _click_settings(option, hidden=not option.key.startswith(shown))
        command = click.option(option.flag, option.field, **settings)(command)
    return click.option("--config.file", "config_file", metavar="FILE", help="Read settings from this YAML file.")(
        command
    )


def _click_settings(option: Option, hidden: bool) -> dict[str, Any]:
    settings: dict[str, Any] = {"help": option.help, "default": None, "hidden": hidden}
    default = option.show(getattr(Config(), option.field))
    if default and default != "false":
        settings["help"] += f"  [default: {default}]"
    if option.metavar:
        settings["metavar"] = option.metavar
        settings["multiple"] = option.many
    else:
        settings["is_flag"], settings["flag_value"] = True, "true"
    return settings


def _source(flags: dict[str, Any]) -> SettingsSource:
    file = flags.pop("config_file")
    keys = {option.field: option.key for option in OPTIONS}
    given = {field: list(value) if isinstance(value, tuple) else value for field, value in flags.items() if value}
    return SettingsSource({keys[field]: value for field, value in given.items()}, file)


def _make_config(flags: dict[str, Any]) -> Config:
    return _source(flags).read()


@click.group(context_settings=_SETTINGS)
def cli() -> None:
    """Samples a program every second from beside it, serves /metrics to Prometheus, answers PromQL itself.

    Every flag can also be given in the environment (--web.listen-address as PROM_PROBE_WEB_LISTEN_ADDRESS) and in the
    YAML file (web.listen-address, or web: and listen-address: below it).
    """


@cli.command()
@_config_options
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def run(command: tuple[str, ...], **flags: Any) -> None:
    """Start COMMAND and watch it, or watch what --watch names, until it ends.

    COMMAND gets every signal that prom-probe gets; its exit status is ours. Put -- before it:

        prom-probe run -- python train.py

    With neither COMMAND nor --watch, in a pod with a shared process namespace, every container is watched; elsewhere
    only the system is.
    """
    from prom_probe.run.handover import become_sidecar

    source = _source(flags)
    become_sidecar(source.read(), source, command)


@cli.command()
@_config_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a series.")
def once(as_json: bool, **flags: Any) -> None:
    """Collect twice, an interval apart, print what was seen and what changed, and exit."""
    config = _make_config(flags)
    from prom_probe.cli.once import collect_once, render_json, render_table

    readings = collect_once(config)
    click.echo(render_json(readings) if as_json else render_table(readings))


@cli.command()
@click.argument("expr")
@click.option("--start", metavar="TIME", help="Begin of the range: Unix seconds, RFC 3339, or back from now (-5m).")
@click.option("--end", metavar="TIME", help="End of the range, or the time of an instant query.  [default: now]")
@click.option("--step", metavar="DURATION", help="Distance of the range's points.  [default: 1/60 of it, at least 1s]")
@click.option(
    "--url",
    metavar="URL",
    envvar="PROM_PROBE_URL",
    default="http://127.0.0.1:19991",
    show_default=True,
    help="Any Prometheus API; USER:PASSWORD@ before the host, or unix:PATH.",
)
@click.option("--storage.tsdb.path", "path", metavar="DIR", help="Ask what a run has stored in DIR, and no API.")
@click.option("--json", "as_json", is_flag=True, help="Print the API's answer as it is.")
def query(
    expr: str, start: str | None, end: str | None, step: str | None, url: str, path: str | None, as_json: bool
) -> None:
    """Ask a running prom-probe (or Prometheus) for the PromQL expression EXPR.

    With --storage.tsdb.path, ask what a finished run has stored; "now" is then its last moment.
    """
    from prom_probe.cli.client import ClientError, fetch, parse_span, render

    try:
        if path is None:
            answer = fetch(url, expr, parse_span(start, end, step, time.time()))
        else:
            from prom_probe.cli.stored import query_stored

            answer = query_stored(path, expr, start, end, step)
    except ClientError as error:
        _fail(str(error), error.status)
    click.echo(answer.decode() if as_json else render(answer))


@cli.command()
@partial(_config_options, shown=_SERVES)
def serve(**flags: Any) -> None:
    """Answer the query API over what a run has stored in --storage.tsdb.path, read-only and without probes."""
    from prom_probe.cli.stored import serve_stored

    serve_stored(_make_config(flags))


@cli.command("check-config")
@click.argument("file")
def check_config(file: str) -> None:
    """Say whether FILE is a configuration that `run` would take, or the line and key of each fault."""
    _, faults = find_config({}, {}, file=file)
    for fault in faults:
        click.echo(f"prom-probe: {fault}", err=True)
    if faults:
        sys.exit(2)
    click.echo(f"{file}: ok")


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what makes SHELL complete prom-probe's commands and flags.

    For bash: prom-probe completion bash > ~/.local/share/bash-completion/completions/prom-probe
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(cli, {}, "prom-probe", "_PROM_PROBE_COMPLETE").source())


@cli.group()
def dashboards() -> None:
    """Grafana dashboards for what prom-probe measures."""


@dashboards.command("export")
@click.argument("folder", metavar="DIR")
def dashboards_export(folder: str) -> None:
    """Write the dashboards into DIR, from where Grafana can be provisioned."""
    from prom_probe.cli.dashboards import export

    try:
        for path in export(folder):
            click.echo(path)
    except OSError as error:
        _fail(f"{error.filename or folder}: {error.strerror or error}", 1)


@cli.command()
@_config_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(as_json: bool, **flags: Any) -> None:
    """Say what `run` with these flags can read and serve here, what not, why, and what to change.

    The exit status is 1 where something is missing that was asked for.
    """
    config = _make_config(flags)
    from prom_probe.cli.doctor.report import examine, render_json, render_text

    report = examine(config)
    click.echo(render_json(report) if as_json else render_text(report))
    sys.exit(0 if report.ok else 1)


@cli.command()
def version() -> None:
    """Print the version."""
    click.echo(f"prom-probe {__version__}")


def _fail(message: str, status: int) -> None:
    """One line on stderr, and the end."""
    click.echo(f"prom-probe: {message}", err=True)
    sys.exit(status)


def main() -> None:
    """The entry point: usage errors exit with 2, all others with 1, each with one line."""
    try:
        cli.main(standalone_mode=False, prog_name="prom-probe")
    except click.UsageError as error:
        hint = f" (see prom-probe {error.ctx.info_name} --help)" if error.ctx and error.ctx.parent else ""
        _fail(error.format_message().replace("\n", " ") + hint, 2)
    except ConfigError as error:
        _fail(str(error), error.status)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)


if __name__ == "__main__":
    main()
