"""Samples on disk: a run is studied after its end, goes on after a restart, and outlives its aggregator."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from functools import partial
from pathlib import Path

import pytest

from prom_probe.tsdb.store import Store, StoreOptions
from tests.support.sidecar import FREE, Sidecar, command
from tests.support.waiting import DEADLINE_S, wait_for

TREE = 'proctree_processes{tree="sleep"}'


def stored_times(path: Path) -> list[float]:
    """When the tree was sampled, by `prom-probe query` over the directory."""
    done = command("query", "--json", f"--storage.tsdb.path={path}", f"{TREE}[1h]")
    assert done.returncode == 0, done.stderr
    (series,) = json.loads(done.stdout)["data"]["result"]
    return [t for t, _ in series["values"]]


def served_times(sidecar: Sidecar) -> list[float]:
    """When the tree was sampled, by the query API."""
    return [t for series in sidecar.query(f"{TREE}[1h]") for t, _ in series["values"]]


def test_a_finished_run_is_studied_afterwards(tmp_path: Path) -> None:
    """`query` in one go, `serve` for Grafana; both read-only, and in the words of the API."""
    path = tmp_path / "run"
    with Sidecar("--", "sleep", "1000", flags=["--interval=100ms", f"--storage.tsdb.path={path}"]) as sidecar:
        wait_for("samples", lambda: len(served_times(sidecar)) > 10)
        served = served_times(sidecar)
        sidecar.process.terminate()
        assert sidecar.wait() == -signal.SIGTERM
    assert stored_times(path)[: len(served)] == served
    table = command("query", f"--storage.tsdb.path={path}", f"max_over_time({TREE}[1m])")
    assert table.stdout == '{tree="sleep"}  1\n'
    before = {entry.name: entry.stat().st_mtime_ns for entry in os.scandir(path)}
    args = ["serve", "--web.listen-address=", f"--api.listen-address={FREE}", f"--storage.tsdb.path={path}"]
    args += ["--interval=100ms", "--web.enable-remote-write-receiver"]  # as a run was given
    with subprocess.Popen([sys.executable, "-m", "prom_probe", *args], stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            url = server.stderr.readline().rpartition("url=")[2].strip()
            with urllib.request.urlopen(f"{url}/api/v1/label/tree/values", timeout=DEADLINE_S) as response:
                assert json.load(response)["data"] == ["sleep"]
            with urllib.request.urlopen(
                f"{url}/api/v1/metadata?metric=proctree_processes", timeout=DEADLINE_S
            ) as response:
                assert json.load(response)["data"]["proctree_processes"][0]["type"] == "gauge"
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(f"{url}/api/v1/write", b"", timeout=DEADLINE_S)
            server.send_signal(signal.SIGTERM)
            assert server.wait(DEADLINE_S) == 0
        finally:
            server.kill()
    assert {entry.name: entry.stat().st_mtime_ns for entry in os.scandir(path)} == before


_ENDED_EARLY = """
import os, signal, sys
from prom_probe.aggregate import serving
from prom_probe.cli.main import main
number = signal.Signals[sys.argv.pop(1)]
serving.share_heap = lambda: os.kill(os.getpid(), number)  # the first that the server's loop does
main()
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_serve_can_be_ended_before_it_serves(tmp_path: Path, name: str) -> None:
    """After "listening" is logged, but before its loop waits for signals."""
    path = str(tmp_path / "run")
    Store(StoreOptions(path=path)).close()
    args = [name, "serve", "--web.listen-address=", f"--api.listen-address={FREE}", f"--storage.tsdb.path={path}"]
    done = subprocess.run(
        [sys.executable, "-c", _ENDED_EARLY, *args], capture_output=True, text=True, timeout=DEADLINE_S
    )
    assert done.returncode == 0, done.stderr
    assert [line.split(" ")[0][:3] for line in done.stderr.splitlines()] == ["ts="]


def test_serve_tells_of_what_it_heeds() -> None:
    """Its help has no flags of probes and of writing."""
    told = set(re.findall(r"^  (--[a-z.-]+)", command("serve", "--help").stdout, re.MULTILINE))
    assert {"--storage.tsdb.path", "--query.timeout", "--api.listen-address", "--log.level"} < told
    assert not {flag for flag in told if re.match("--(watch|interval|collect|scrape|expose|gpu|path|run)", flag)}
    assert not told & {"--web.enable-remote-write-receiver", "--storage.tsdb.retention.time"}


def test_a_clean_restart_loses_nothing(tmp_path: Path) -> None:
    """The second run goes on where the first one ended; both are one history."""
    path = tmp_path / "run"
    flags = ["--interval=100ms", f"--storage.tsdb.path={path}"]
    with Sidecar("--", "sleep", "1000", flags=flags) as sidecar:
        wait_for("samples", lambda: served_times(sidecar))
        sidecar.process.terminate()
        sidecar.wait()
    first = stored_times(path)
    with Sidecar("--", "sleep", "1000", flags=flags) as sidecar:
        wait_for("new samples", lambda: sidecar.value(f"timestamp({TREE}) > {first[-1] + 0.2}"))
        assert served_times(sidecar)[: len(first)] == first


def test_a_killed_aggregator_comes_back_with_its_samples(tmp_path: Path) -> None:
    """All but the last flush interval, and the rings' frames of the meantime; nothing twice."""
    flags = ["--interval=100ms", f"--storage.tsdb.path={tmp_path / 'run'}", "--storage.tsdb.wal-flush-interval=100ms"]
    with Sidecar("--", "sleep", "1000", flags=flags) as sidecar:
        wait_for("samples", lambda: len(served_times(sidecar)) > 10)
        before = served_times(sidecar)
        for _ in range(2):  # after the second flush from here on they are on disk
            flushed = sidecar.metric("prom_probe_tsdb_wal_bytes") or 0
            wait_for("a flush", partial(has_more_on_disk, sidecar, flushed))
        first = sidecar.worker("aggregator")
        killed = time.time()
        os.kill(first, signal.SIGKILL)
        wait_for("a new aggregator", lambda: sidecar.worker("aggregator") not in (0, first))
        wait_for("its answers", lambda: served_times(sidecar))
        back = time.time()
        wait_for("new samples", lambda: served_times(sidecar)[-1] > back)
        times = served_times(sidecar)
        assert times[: len(before)] == before
        assert len(set(times)) == len(times)
        assert [t for t in times if killed < t < back]
        wait_for("the disk's metrics", lambda: sidecar.metric("prom_probe_tsdb_persistent") == 1)


def has_more_on_disk(sidecar: Sidecar, bytes_before: float) -> bool:
    return (sidecar.metric("prom_probe_tsdb_wal_bytes") or 0) > bytes_before


def test_a_directory_in_use_or_unusable_is_one_clear_line(tmp_path: Path) -> None:
    """For a second run, for queries beside a run, and for a path that is no directory."""
    path = tmp_path / "run"
    with Sidecar("--", "sleep", "1000", flags=[f"--storage.tsdb.path={path}"]) as sidecar:
        wait_for("samples", lambda: sidecar.value("proctree_processes"))
        for args in (
            ["run", f"--web.listen-address={FREE}", f"--storage.tsdb.path={path}", "--", "true"],
            ["query", f"--storage.tsdb.path={path}", "up"],
        ):
            done = command(*args)
            assert done.returncode == 1
            assert done.stderr.count("\n") == 1
            assert "in use" in done.stderr
    (tmp_path / "file").write_text("")
    for args, text in (
        (["run", f"--storage.tsdb.path={tmp_path}/file", "--", "true"], f"{tmp_path}/file: "),
        (["query", f"--storage.tsdb.path={tmp_path}/none", "up"], f"{tmp_path}/none: "),
        (["serve"], "serve needs --storage.tsdb.path"),
    ):
        done = command(*args)
        assert done.returncode in (1, 2)
        assert done.stderr.startswith(f"prom-probe: {text}"), done.stderr
        assert done.stderr.count("\n") == 1
