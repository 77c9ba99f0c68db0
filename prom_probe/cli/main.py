"""The command line: the group of commands, and how their errors end."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from prom_probe import __version__
from prom_probe.cli.check_config import check_config
from prom_probe.cli.compare import compare
from prom_probe.cli.completion import completion
from prom_probe.cli.dashboards import dashboards
from prom_probe.cli.doctor.command import doctor
from prom_probe.cli.error import ClientError, fail
from prom_probe.cli.once import once
from prom_probe.cli.query import query
from prom_probe.cli.report.command import report
from prom_probe.cli.run import run
from prom_probe.cli.runs import runs
from prom_probe.cli.serve import serve
from prom_probe.cli.storage.group import storage
from prom_probe.cli.streams import checked_streams
from prom_probe.cli.top.command import top
from prom_probe.cli.version import version
from prom_probe.config.error import ConfigError

COMMANDS = (
    *(run, once, query, top, runs, report, compare, serve),
    *(check_config, doctor, storage, completion, dashboards, version),
)

_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(context_settings=_SETTINGS)
@click.version_option(__version__, message="prom-probe %(version)s", help="Print the version.")
def cli() -> None:
    """Samples a program every second from beside it, serves /metrics to Prometheus and answers PromQL itself.

    Every flag can also be given in the environment (--web.listen-address as PROM_PROBE_WEB_LISTEN_ADDRESS) and in the
    YAML file (web.listen-address, or web: and listen-address: below it).
    """


for command in COMMANDS:
    cli.add_command(command)


def main(args: Sequence[str] | None = None) -> None:
    """The entry point. An error is one line; usage errors exit with 2, others with 1."""
    with checked_streams():
        try:
            cli.main(args, standalone_mode=False, prog_name="prom-probe")
        except click.UsageError as error:
            fail(_explain_usage(error, sys.argv if args is None else args), 2)
        except (ConfigError, ClientError) as error:
            fail(str(error), error.status)
        except click.exceptions.Exit as error:
            sys.exit(error.exit_code)
        except (click.Abort, KeyboardInterrupt):
            _die_of_interrupt()


def _explain_usage(error: click.UsageError, args: Sequence[str]) -> str:
    """The error in one line, with what to do about it."""
    text = error.format_message().replace("\n", " ")
    name = error.ctx.info_name if error.ctx and error.ctx.parent else None
    if name == run.name and isinstance(error, click.NoSuchOption) and "--" not in args:
        text = f"{text.rstrip('.')}: if it is the command's, put -- before the command"
    return f"{text} (see {error.ctx.command_path} --help)" if error.ctx and name else text


def _die_of_interrupt() -> NoReturn:
    """As a program does that leaves SIGINT alone: a shell's loop ends with it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGINT)
    sys.exit(130)


if __name__ == "__main__":
    main()
