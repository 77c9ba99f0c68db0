"""Which source is meant if none is named."""

from __future__ import annotations

from collections.abc import Mapping

from prom_probe.cli.client import ask
from prom_probe.cli.error import ClientError
from prom_probe.config.variables import URL
from prom_probe.run.kept import list_runs, runs_folder
from prom_probe.tsdb.disk import api_file

DEFAULT_URL = "http://127.0.0.1:19991"


def default_source(environ: Mapping[str, str], url: str = DEFAULT_URL) -> str:
    """What PROM_PROBE_URL says; else the newest kept run that still runs, whatever its port; else the default API.

    ClientError if there is none of them.
    """
    if environ.get(URL):
        return environ[URL]
    for run in list_runs(runs_folder(environ)):
        if run.is_running() and api_file.read(run.path):
            return run.path
    try:
        ask(url, "/-/healthy")
    except ClientError as error:
        raise ClientError(f"{error}, and no run is going on; prom-probe top @last shows the last one") from None
    return url
