"""`prom-probe top`."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

import click

from prom_probe.cli import source as sources
from prom_probe.cli.error import ClientError

PACKAGE = "textual"


@click.command()
@click.argument("source", metavar=f"[{sources.METAVAR}]", required=False)
@click.option("--at", metavar="TIME", help="Begin at this time: 14:03:07, -5m, RFC 3339 or Unix seconds.")
@click.option("--tree", metavar="NAME", help="Begin with this process tree.  [default: COMMAND's, or else the first]")
def top(source: str | None, at: str | None, tree: str | None) -> None:
    """Show the processes of a tree in the terminal, live or at any second of the past.

    SOURCE is a URL, a directory of a stored run, @last, @2 and so on, or the name of a kept run. Without it, that is
    the API at PROM_PROBE_URL, else the newest run of a COMMAND that still goes on, else the API at http://127.0.0.1:19991.

    The arrow keys left and right go back and forth in time, ? lists all keys.
    """
    if find_spec(PACKAGE) is None:
        raise ClientError(f"top needs the package {PACKAGE}: pip install 'prom-probe[top]'", 2)
    if not all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):
        raise ClientError("top needs a terminal; prom-probe query prints what can be piped", 2)
    from prom_probe.cli.clock import parse_time
    from prom_probe.cli.top.app import TopApp
    from prom_probe.cli.top.default_source import default_source
    from prom_probe.cli.top.lasting import LastingSource
    from prom_probe.cli.top.reader import MomentReader

    reader = MomentReader(LastingSource(default_source(os.environ) if source is None else source))
    trees = reader.run().trees
    if tree is not None and tree not in trees:
        raise ClientError(f"no tree is called {tree!r}; there are {', '.join(trees)}")
    moment = None if at is None else parse_time(at, reader.now_s(), "--at")
    TopApp(reader, moment, tree).run()
