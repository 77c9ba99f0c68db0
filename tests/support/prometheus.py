"""A real Prometheus that scrapes us, and questions to any Prometheus API."""

from __future__ import annotations

import json
import time
import urllib.parse
import urllib.request
from typing import Any

from tests.support.peers import Peer, prometheus
from tests.support.programs import program
from tests.support.waiting import DEADLINE_S

REMOTE_WRITE = "--web.enable-remote-write-receiver"


def scraping(target: str, interval: str = "1s") -> Peer:
    """A real Prometheus that scrapes one host:port once in an interval, which is its timeout too."""
    program("prometheus")
    return prometheus(
        f"global: {{scrape_interval: {interval}, scrape_timeout: {interval}}}\n"
        f"scrape_configs: [{{job_name: sidecar, static_configs: [{{targets: ['{target}']}}]}}]\n"
    )


def value_of(peer: Peer, expr: str) -> float | None:
    """The one value of an instant query."""
    _, body = peer.get("/api/v1/query?" + urllib.parse.urlencode({"query": expr}))
    result: list[Any] = json.loads(body)["data"]["result"]
    return float(result[0]["value"][1]) if len(result) == 1 else None


def matrix(url: str, expr: str, at_s: float) -> dict[tuple[tuple[str, str], ...], list[tuple[float, str]]]:
    """A range selector's samples, from any Prometheus API; values as Python writes them, so that NaN equals NaN."""
    form = urllib.parse.urlencode({"query": expr, "time": at_s})
    with urllib.request.urlopen(f"{url}/api/v1/query?{form}", timeout=DEADLINE_S) as response:
        result: list[Any] = json.load(response)["data"]["result"]
    return {
        tuple(sorted(one["metric"].items())): [(t_s, repr(float(value))) for t_s, value in one["values"]]
        for one in result
    }


def newest_s(url: str, expr: str) -> float:
    """The timestamp of the newest sample of one series, 0 if there is none."""
    times = [t_s for samples in matrix(url, expr, time.time()).values() for t_s, _ in samples]
    return max(times, default=0.0)
