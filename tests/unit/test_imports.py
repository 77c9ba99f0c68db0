"""What is loaded when: the supervisor, its workers before they fork, and a server without queries stay light."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

# What a fresh interpreter does; each gives the modules that are loaded then, and perhaps more.
_STEPS = {
    "supervisor": "import prom_probe.run.main",
    "probes": """
from prom_probe.run.shared import Shared
from prom_probe.run.workers import load_probes
from prom_probe.config.settings import Config
from prom_probe.log import Log
load_probes()
shared = Shared(Config(), Log("error"))
made = [any(shared.rings["scrape"][:256]), "scrape" in shared.slots, "scrape" in shared.wakes]
""",
    "server": "sys.modules['ssl'] = None\nimport prom_probe.web.http.server, prom_probe.web.app",
}

# One interpreter, which forks for each step.
_SCRIPT = """
import os, sys
for name, step in {steps!r}.items():
    if os.fork() == 0:
        made = []
        exec(step)
        print(name, made, *sys.modules, sep=";", flush=True)
        os._exit(0)
    os.wait()
"""


@pytest.fixture(scope="module")
def steps() -> dict[str, tuple[list[bool], set[str]]]:
    """By step, what it made and the modules that were loaded after it."""
    command = [sys.executable, "-c", _SCRIPT.format(steps=_STEPS)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = {}
    for line in done.stdout.splitlines():
        name, made, *modules = line.split(";")
        found[name] = (json.loads(made.lower()), set(modules))
    assert found.keys() == _STEPS.keys(), done.stderr
    return found


def test_the_supervisor_is_light(steps: dict[str, tuple[list[bool], set[str]]]) -> None:
    """What `run` imports before its forks holds no driver, loop, array or query package."""
    _, loaded = steps["supervisor"]
    heavy = {"numpy", "asyncio", "psutil", "pynvml", "promql_parser", "prometheus_client", "httptools", "yaml"}
    heavy |= {"logging", "click", "concurrent.futures", "subprocess", "tempfile"}
    assert not heavy & loaded


def test_without_targets_nothing_of_scraping_is_loaded_or_made(steps: dict[str, tuple[list[bool], set[str]]]) -> None:
    """Before the forks: no module of it, no slot, no bell, and nothing in the mapping reserved for its ring."""
    made, loaded = steps["probes"]
    assert made == [False] * 3
    wanted = re.compile("^(?!prom_probe.config).*scrape|http_page|prometheus_client|httptools")
    assert [name for name in loaded if wanted.search(name)] == []


def test_a_server_without_queries_is_light(steps: dict[str, tuple[list[bool], set[str]]]) -> None:
    """Before the first query, nothing is loaded that only queries or TLS need."""
    _, loaded = steps["server"]
    heavy = {"numpy", "promql_parser", "regex", "http", "email", "urllib.parse", "html", "json", "yaml"}
    heavy |= {"prom_probe.promql.parser", "prom_probe.promql.result", "concurrent.futures.thread"}
    assert not heavy & loaded
