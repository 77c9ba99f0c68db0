"""Settings that are read anew while everything runs: by SIGHUP, and by POST /-/reload."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.sidecar import Sidecar, children, read_comm
from tests.support.waiting import DEADLINE_S, wait_for


@pytest.fixture
def sleepers() -> Iterator[tuple[int, int]]:
    """Two processes to watch."""
    both = [subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) for _ in range(2)]
    yield both[0].pid, both[1].pid
    for process in both:
        process.kill()
        process.wait()


def _post(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=DEADLINE_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def _write(file: Path, *lines: str) -> None:
    file.write_text("\n".join(lines) + "\n")


def _flags(sidecar: Sidecar) -> dict[str, str]:
    flags: dict[str, str] = json.loads(sidecar.get("/api/v1/status/flags")[1])["data"]
    return flags


def _own(sidecar: Sidecar) -> dict[str, int]:
    return {read_comm(pid): pid for pid in children(sidecar.process.pid)}


def test_sighup_applies_watches_intervals_and_limits(tmp_path: Path, sleepers: tuple[int, int]) -> None:
    """Probes begin again with the new settings; nothing that was stored is lost, and nobody counts as restarted."""
    file = tmp_path / "settings.yaml"
    _write(file, f"watch: [one=pid:{sleepers[0]}]", "interval: 200ms")
    with Sidecar(flags=[f"--config.file={file}"]) as sidecar:
        wait_for("tree one", lambda: sidecar.metric("proctree_processes", tree="one") == 1)
        before = _own(sidecar)
        stored = wait_for("samples", lambda: sidecar.query('proctree_processes{tree="one"}[1h]'))[0]["values"]
        _write(
            file,
            f"watch: [one=pid:{sleepers[0]}, two=pid:{sleepers[1]}]",
            "interval: 100ms",
            "query.max-samples: 3",
            "query.timeout: 7s",
        )
        os.kill(sidecar.process.pid, signal.SIGHUP)
        wait_for("tree two", lambda: sidecar.metric("proctree_processes", tree="two") == 1)
        wait_for("told", lambda: sidecar.metric("prom_probe_config_last_reload_successful") == 1)
        assert _flags(sidecar)["query.timeout"] == "7s"
        many = "/api/v1/query?query=count_over_time(proctree_processes[1h])"
        wait_for("more samples than a query may read", lambda: sidecar.get(many)[0] == 422)
        after = _own(sidecar)
        assert after["pp-aggregator"] == before["pp-aggregator"]
        assert after["pp-process"] != before["pp-process"]
        for worker in ("process", "system", "aggregator"):
            assert sidecar.metric("prom_probe_worker_restarts_total", worker=worker) == 0
        _write(file, f"watch: [one=pid:{sleepers[0]}]", "interval: 100ms")
        os.kill(sidecar.process.pid, signal.SIGHUP)
        wait_for("limits", lambda: _flags(sidecar)["query.timeout"] == "30s")
        (series,) = sidecar.query('proctree_processes{tree="one"}[1h]')
        assert series["values"][: len(stored)] == stored and len(series["values"]) > len(stored)


def test_a_bad_file_is_refused_whole(tmp_path: Path, sleepers: tuple[int, int]) -> None:
    """The old settings stay in force, the metric says 0, and one log line names the key."""
    file = tmp_path / "settings.yaml"
    _write(file, f"watch: [one=pid:{sleepers[0]}]", "interval: 200ms")
    with Sidecar(flags=[f"--config.file={file}", "--web.enable-lifecycle"]) as sidecar:
        wait_for("tree one", lambda: sidecar.metric("proctree_processes", tree="one") == 1)
        before = _own(sidecar)
        _write(file, f"watch: [two=pid:{sleepers[1]}]", "interval: soon")
        status, text = _post(sidecar.api + "/-/reload")
        assert status == 500 and f"{file}" in text and "interval" in text
        wait_for("told", lambda: sidecar.metric("prom_probe_config_last_reload_successful") == 0)
        assert sidecar.metric("proctree_processes", tree="one") == 1
        assert _own(sidecar) == before
        assert len(re.findall("settings not reloaded", sidecar.stderr)) == 1
        _write(file, f"watch: [two=pid:{sleepers[1]}]", "interval: 200ms")
        assert _post(sidecar.api + "/-/reload")[0] == 200
        wait_for("tree two", lambda: sidecar.metric("proctree_processes", tree="two") == 1)
        wait_for("told", lambda: sidecar.metric("prom_probe_config_last_reload_successful") == 1)


def test_what_needs_a_restart_is_said(tmp_path: Path) -> None:
    """A new address is not taken; the log names its key, the rest is in force."""
    file = tmp_path / "settings.yaml"
    _write(file, "query.timeout: 5s")
    with Sidecar(flags=[f"--config.file={file}", "--web.enable-lifecycle"]) as sidecar:
        _write(file, "query.timeout: 6s", "storage.tsdb.path: /nonexistent")
        assert _post(sidecar.api + "/-/reload")[0] == 200
        assert _flags(sidecar)["query.timeout"] == "6s"
        assert "keys=storage.tsdb.path" in sidecar.stderr


def test_reloading_by_http_is_off_unless_asked_for_and_never_beside_metrics() -> None:
    """403 as in Prometheus; 404 on the listener for scrapers."""
    with Sidecar() as sidecar:
        assert _post(sidecar.api + "/-/reload") == (
            403,
            "Lifecycle API is not enabled; --web.enable-lifecycle enables it.\n",
        )
        assert _post(sidecar.web + "/-/reload")[0] == 404


def test_a_file_that_never_ends_is_given_up(tmp_path: Path) -> None:
    """A pipe in the file's place costs a reload, not the supervisor."""
    file = tmp_path / "settings.yaml"
    _write(file, "query.timeout: 5s")
    with Sidecar(flags=[f"--config.file={file}"]) as sidecar:
        file.unlink()
        os.mkfifo(file)
        os.kill(sidecar.process.pid, signal.SIGHUP)
        wait_for("it is given up", lambda: "took longer" in sidecar.stderr)
        wait_for("told", lambda: sidecar.metric("prom_probe_config_last_reload_successful") == 0)


def test_the_end_does_not_wait_for_a_reload(tmp_path: Path) -> None:
    """Here of a file that is a pipe which nobody writes to; else the reload would have been given up first."""
    file = tmp_path / "settings.yaml"
    _write(file, "interval: 1s")
    with Sidecar(flags=[f"--config.file={file}"]) as sidecar:
        wait_for("workers", lambda: {"pp-process", "pp-system", "pp-aggregator"} <= _own(sidecar).keys())
        before = set(children(sidecar.process.pid))
        file.unlink()
        os.mkfifo(file)
        sidecar.process.send_signal(signal.SIGHUP)
        wait_for("a reload", lambda: set(children(sidecar.process.pid)) - before)
        sidecar.process.send_signal(signal.SIGTERM)
        assert sidecar.wait() == 0
        assert "reloaded" not in sidecar.stderr


def test_many_hangups_are_few_reloads(tmp_path: Path) -> None:
    """And SIGTERM comes before those that wait."""
    file = tmp_path / "settings.yaml"
    _write(file, "interval: 1s")
    with Sidecar(flags=[f"--config.file={file}"]) as sidecar:
        for _ in range(1000):
            sidecar.process.send_signal(signal.SIGHUP)
        wait_for("a reload", lambda: "settings reloaded" in sidecar.stderr)
        sidecar.process.send_signal(signal.SIGTERM)
        assert sidecar.wait() == 0
