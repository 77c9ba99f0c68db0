"""Every expression of every dashboard returns data, straight from a sidecar and through a real Prometheus."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.sidecar import Sidecar, program, wait_for
from tests.unit.test_dashboards import PANELS, filled_in

# What a healthy sidecar without limits has no data of: nothing is refused, throttled, limited or unreadable.
QUIET = {
    "Refused samples",
    "Throttled",
    "Highest memory of the limit",
    "Killed for want of memory",
    "Sources that cannot be read",
}
# Each PID is local: a central Prometheus sees it with --expose.per-process alone.
LOCAL = {"CPU of the busiest", "Memory of the largest"}


@pytest.fixture(scope="module")
def watched() -> Iterator[tuple[Sidecar, str]]:
    """A sidecar around the demo workload, and a real Prometheus that scrapes it."""
    with Sidecar("--", sys.executable, "-m", "prom_probe.demo") as sidecar:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        with tempfile.TemporaryDirectory() as data:
            target = sidecar.web.removeprefix("http://")
            config = Path(data, "prometheus.yml")
            config.write_text(
                "scrape_configs: [{job_name: sidecar, scrape_interval: 1s,"
                f" static_configs: [{{targets: ['{target}']}}]}}]\n"
            )
            argv = [program("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={data}/data"]
            process = subprocess.Popen(
                [*argv, f"--web.listen-address=127.0.0.1:{port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            try:
                ask = "count_over_time(proctree_processes[1m])"
                wait_for("samples of some seconds", lambda: _value(url, ask) >= 6 and _value(sidecar.api, ask) >= 6, 40)
                sidecar.query("1")  # so that there are requests and queries to count
                wait_for("counted", lambda: _value(sidecar.api, "sum(prom_probe_query_duration_seconds_count)") > 1)
                yield sidecar, url
            finally:
                process.kill()
                process.wait()


def _ask(url: str, expr: str) -> list[dict[str, object]]:
    with urllib.request.urlopen(f"{url}/api/v1/query?{urllib.parse.urlencode({'query': expr})}", timeout=10) as answer:
        result: list[dict[str, object]] = json.load(answer)["data"]["result"]
        return result


def _value(url: str, expr: str) -> float:
    """The only value, 0 where there is none yet."""
    for one in _ask(url, expr):
        value = one["value"]
        assert isinstance(value, list)
        return float(value[1])
    return 0.0


@pytest.mark.parametrize("way", ["straight", "through Prometheus"])
def test_every_panel_has_data(watched: tuple[Sidecar, str], way: str) -> None:
    """No panel says "No data" but those that tell of trouble."""
    sidecar, prometheus = watched
    url = sidecar.api if way == "straight" else prometheus

    def empty() -> set[str]:
        return {
            f"{board.name}: {panel.title}: {expr}"
            for board, _, panel in PANELS
            if panel.title not in (QUIET if way == "straight" else QUIET | LOCAL)
            for expr, legend in panel.targets
            if "limit" not in legend and "working set" not in legend and not _ask(url, filled_in(expr))
        }

    missing = empty()
    if missing:
        wait_for(f"data for {sorted(missing)}", lambda: not empty(), 20)
