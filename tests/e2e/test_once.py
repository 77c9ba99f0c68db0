"""`prom-probe once` beside `prom-probe run` with the same flags."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.http_peer import Peer
from tests.support.sidecar import Sidecar, command
from tests.support.waiting import wait_for

PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: 6\r\n\r\napp 1\n"


@pytest.fixture
def flags() -> Iterator[list[str]]:
    """One that concerns each collector."""
    peer = Peer(PAGE)
    with subprocess.Popen(["sleep", "600"]) as process:
        yield [f"--watch=one=pid:{process.pid}", "--gpu=demo", f"--scrape=app={peer.url}"]
        process.kill()
    peer.close()


def _served(sidecar: Sidecar) -> set[tuple[tuple[str, str], ...]]:
    series = sidecar.query("{__name__=~'.+',__name__!~'prom_probe_.*'}")
    return {tuple(sorted(each["metric"].items())) for each in series}


def test_once_shows_what_run_serves(flags: list[str]) -> None:
    """Series by series, all but those about itself: trees, processes, cgroups, the system, GPUs and scraped targets."""
    done = command("once", "--json", *flags)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    shown = {tuple(sorted({"__name__": row["name"], **row["labels"]}.items())) for row in rows}
    shown = {labels for labels in shown if not dict(labels)["__name__"].startswith("prom_probe_")}
    names = {dict(labels)["__name__"] for labels in shown}
    for name in ("proctree_processes", "proctree_process_threads", "system_load1", "gpu_temperature_celsius", "app"):
        assert name in names
    assert any(name.startswith("cgroup_") for name in names)
    with Sidecar(flags=flags) as sidecar:
        wait_for("all of them", lambda: shown <= _served(sidecar))
        assert _served(sidecar) ^ shown == set()


def test_the_table_has_a_row_for_each_series(flags: list[str]) -> None:
    """What --json shows, as text."""
    done = command("once", *flags)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["SERIES", "VALUE", "PER", "SECOND"]
    for name in ("proctree_processes{", "cgroup_", "system_load1 ", "gpu_temperature_celsius{", "app{"):
        assert any(line.startswith(name) for line in lines), name


def test_an_unknown_variable_is_a_warning_and_the_file_may_be_named_by_one(tmp_path: Path) -> None:
    """One line in the format that the file asks for, and one for a watch that matches nothing."""
    file = tmp_path / "settings.yaml"
    file.write_text("log.format: json\ninterval: 10ms\nwatch: [job=comm:none-such]\n")
    done = command("once", PROM_PROBE_CONFIG_FILE=str(file), PROM_PROBE_INTERVALL="1h")
    assert done.returncode == 0
    assert [json.loads(line)["msg"] for line in done.stderr.splitlines()] == [
        "unknown variable PROM_PROBE_INTERVALL: did you mean PROM_PROBE_INTERVAL?",
        "no process matches the watch job=comm:none-such so far",
    ]
