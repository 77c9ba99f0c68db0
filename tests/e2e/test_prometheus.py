"""A real Prometheus scrapes us, and its promtool finds nothing wrong with what we expose."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.support.peers import Peer
from tests.support.programs import program
from tests.support.prometheus import scraping, value_of
from tests.support.sidecar import Sidecar, children, read_comm
from tests.support.waiting import DEADLINE_S, wait_for

TREE = os.path.basename(sys.executable)
CPU = f'sum(proctree_cpu_seconds_total{{tree="{TREE}"}})'
BUSY = "import time\nwhile True: sum(range(100_000)); time.sleep(0.002)"


def metadata(peer: Peer, metric: str) -> dict[str, str]:
    """What the scrape told of a family: type, help and, in OpenMetrics alone, unit."""
    _, body = peer.get("/api/v1/targets/metadata?" + urllib.parse.urlencode({"metric": metric}))
    (told,) = json.loads(body)["data"]
    return {key: told[key] for key in ("type", "help", "unit")}


@pytest.fixture(scope="module")
def busy() -> Iterator[Sidecar]:
    """A sidecar around a busy loop."""
    with Sidecar("--", sys.executable, "-c", BUSY, flags=["--interval=200ms"]) as sidecar:
        wait_for("samples", lambda: sidecar.value(CPU) is not None)
        yield sidecar


def cpu_seconds(sidecar: Sidecar) -> float:
    """What the busy loop has used, from the scheduler's own account."""
    (loop,) = (pid for pid in children(sidecar.process.pid) if not read_comm(pid).startswith("pp-"))
    return int(Path(f"/proc/{loop}/schedstat").read_text().split()[0]) / 1e9


def test_a_real_prometheus_sees_what_we_see(busy: Sidecar) -> None:
    """`up` is 1, and what the scheduler says of a busy loop's CPU is in our answer and in Prometheus's.

    A counter lies between what the loop had used when its value was asked for and a moment that comes later.
    """
    with scraping(busy.web.removeprefix("http://")) as peer:
        value = partial(value_of, peer)
        wait_for("three scrapes", lambda: (value("sum_over_time(up[1h])") or 0) >= 3)
        for ask in (value, busy.value):
            used = cpu_seconds(busy)
            counter = wait_for("it is counted", lambda ask=ask, used=used: (ask(CPU) or 0) > used and ask(CPU))  # type: ignore[misc]
            assert counter <= cpu_seconds(busy) + 2 / os.sysconf("SC_CLK_TCK")
        assert value('count(prom_probe_build_info{version!=""})') == 1
        # OpenMetrics was negotiated: the text format has no units. Counters are ingested under their whole names.
        told = metadata(peer, "proctree_resident_memory_bytes")
        assert (told["type"], told["unit"]) == ("gauge", "bytes")
        assert metadata(peer, "proctree_cpu_seconds")["type"] == "counter"
        assert value(f'proctree_resident_memory_bytes{{tree="{TREE}"}}') is not None


def test_promtool_finds_nothing_wrong_with_our_metrics(busy: Sidecar) -> None:
    """`promtool check metrics` prints nothing and is content."""
    status, body = busy.get("/metrics", busy.web)
    assert status == 200
    done = subprocess.run(
        [program("promtool"), "check", "metrics"], input=body, capture_output=True, timeout=DEADLINE_S
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
