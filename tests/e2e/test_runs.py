"""Kept runs: what a wrapped run leaves, how it is found afterwards and meanwhile, and what keeps it from being kept."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from prom_probe.cli.client import ApiSource
from prom_probe.cli.source import open_source
from prom_probe.cli.stored import StoredSource
from tests.support.sidecar import FREE, Sidecar, command
from tests.support.waiting import wait_for

RUN = ("run", f"--web.listen-address={FREE}", f"--api.listen-address={FREE}", "--run.keep=3")


@pytest.fixture
def state(tmp_path: Path) -> dict[str, str]:
    """The environment of a user who has kept nothing yet."""
    return {"XDG_STATE_HOME": str(tmp_path)}


def kept(state: dict[str, str]) -> list[dict[str, Any]]:
    done = command("runs", "--format=json", **state)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def test_a_wrapped_run_is_kept_and_asked_after_its_end(state: dict[str, str]) -> None:
    """By @last, by its name, and by its directory."""
    done = command(*RUN, "--interval=100ms", "--", "sh", "-c", "sleep 3; exit 7", **state)
    assert done.returncode == 7, done.stderr
    (run,) = kept(state)
    assert run["name"].endswith("-sh") and not run["running"] and run["bytes"] > 0
    assert (run["exit_status"], run["command"]) == (7, ["sh", "-c", "sleep 3; exit 7"])
    for source in ("@last", "@1", run["name"], run["path"]):
        asked = command("query", f"--source={source}", "max_over_time(proctree_processes[1m])", **state)
        assert asked.stdout == '{tree="sh"}  2\n', asked.stderr
    table = command("runs", **state).stdout
    assert run["name"] in table and table.startswith("       NAME")


def test_what_ends_at_once_is_kept_too_and_what_never_ran_is_not(state: dict[str, str]) -> None:
    """Else @last would be another run."""
    assert command(*RUN, "--", "false", **state).returncode == 1
    assert command(*RUN, "--", "/nonexistent", **state).returncode == 127
    (run,) = kept(state)
    assert run["name"].endswith("-false") and run["how_it_ended"] == "exit status 1"
    asked = command("query", "--source=@last", "1", **state)  # on a busy machine it ends before any sample
    assert asked.stdout == "1\n", asked.stderr


def test_the_oldest_run_goes_and_the_rest_can_be_removed(state: dict[str, str]) -> None:
    """--run.keep counts the run that begins."""
    for name in ("true", "false", "true", "false"):
        command(*RUN, "--", name, **state)
    runs = kept(state)
    assert [re.sub(r"-\d$", "", run["name"]).split("-")[-1] for run in runs] == ["false", "true", "false"]
    assert command("runs", "remove", "@2", **state).returncode == 0
    assert [run["name"] for run in kept(state)] == [runs[0]["name"], runs[2]["name"]]
    assert command("runs", "remove", "@3", **state).stderr.startswith("prom-probe: no kept run is called '@3'")
    assert command("runs", "remove", "--all", **state).returncode == 0
    assert not list(Path(state["XDG_STATE_HOME"]).iterdir())
    assert command("runs", **state).stdout.startswith("no run is kept")


def test_a_run_that_goes_on_is_asked_by_its_api(state: dict[str, str], tmp_path: Path) -> None:
    """The same SOURCE works while it runs, as it does afterwards; it cannot be removed until then."""
    flags = ["--run.keep=3", "--interval=100ms"]
    with Sidecar("--", "sleep", "1000", flags=flags, env=state) as sidecar:
        wait_for("samples", lambda: sidecar.value("count_over_time(proctree_processes[1m]) > 5"))
        asked = command("query", "--source=@last", "proctree_processes", **state)
        assert asked.stdout == 'proctree_processes{tree="sleep"}  1\n', asked.stderr
        (run,) = kept(state)
        assert run["running"] and run["command"] == ["sleep", "1000"] and run["end"] is None
        live = open_source(run["path"])
        assert isinstance(live, ApiSource) and live.run().trees == ["sleep"]
        seen = [(process.pid, process.comm) for process in live.processes()]
        assert seen and {event.type for event in live.events(types=["process_start"])} == {"process_start"}
        both = json.loads(command("compare", sidecar.api, "@last", "--format=json", **state).stdout)["runs"]
        assert [(one["how_it_ended"], one["processes"]) for one in both] == [("running", 1)] * 2
        assert all(one["memory_peak_bytes"] > 0 and one["duration_seconds"] > 0 for one in both)
        refused = command("runs", "remove", "@last", **state)
        assert refused.returncode == 1 and "it still runs" in refused.stderr
        sidecar.process.terminate()
        sidecar.wait()
    (run,) = kept(state)
    assert not run["running"] and run["how_it_ended"] == "killed by SIGTERM" and run["end"] > run["start"]
    stored = open_source(run["path"])
    assert isinstance(stored, StoredSource) and stored.run().signal == signal.SIGTERM
    assert [(process.pid, process.comm) for process in stored.processes()] == seen
    assert [event.pid for event in stored.events(types=["process_end"])] == [seen[0][0]]
    assert not stored.processes(run["end"] + 60) and not stored.events(run["end"] + 60)
    assert command("runs", "remove", run["name"], **state).returncode == 0


def test_a_run_that_was_killed_is_kept(state: dict[str, str]) -> None:
    """All but its last second; how COMMAND ended, nobody can tell."""
    with Sidecar("--", "sleep", "1000", flags=["--run.keep=3", "--interval=100ms"], env=state) as sidecar:
        wait_for("samples", lambda: sidecar.metric("prom_probe_tsdb_wal_bytes"))
        sidecar.process.kill()
        sidecar.wait()
        (run,) = wait_for("the end", lambda: [run for run in kept(state) if not run["running"]])
    assert (run["command"], run["exit_status"], run["signal"]) == (["sleep", "1000"], None, None)
    asked = command("query", "--source=@last", "max_over_time(proctree_processes[1m])", **state)
    assert asked.stdout == '{tree="sleep"}  1\n', asked.stderr


def test_a_state_folder_that_cannot_be_made_costs_a_warning(tmp_path: Path) -> None:
    """The run goes on in memory alone."""
    (tmp_path / "file").write_text("")
    done = command(*RUN, "--", "sh", "-c", "exit 3", XDG_STATE_HOME=str(tmp_path / "file"))
    assert done.returncode == 3
    (line,) = [line for line in done.stderr.splitlines() if "level=info" not in line and "level=" in line]
    assert "level=warn" in line and "this run is not kept: " in line and "Not a directory" in line
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small file system")
def test_of_a_run_that_could_not_be_stored_no_report_is_promised(tmp_path: Path) -> None:
    """The disk of the state folder is full."""
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], check=True)
    try:
        with (small / "ballast").open("wb", buffering=0) as stream, pytest.raises(OSError, match="No space"):
            while True:
                stream.write(b"x" * 4096)
        done = command(*RUN, "--", "sh", "-c", "sleep 1; exit 7", XDG_STATE_HOME=str(small))
    finally:
        subprocess.run(["umount", "--lazy", str(small)], check=True)
    assert done.returncode == 7
    assert "@last" not in done.stderr


def test_a_report_that_cannot_be_stored_costs_the_report(tmp_path: Path) -> None:
    """COMMAND runs and is watched."""
    arguments = ("--run.keep=0", f"--report={tmp_path}/r.html", "--", "sh", "-c", "exit 7")
    done = command(*RUN, *arguments, TMPDIR=str(tmp_path / "none"))
    assert done.returncode == 7
    assert f"there will be no report: {tmp_path}/none: No such file or directory" in done.stderr
    assert "without being watched" not in done.stderr
    assert "prom-probe: sh: exit status 7" in done.stderr


def test_nothing_is_kept_where_it_is_not_wanted(state: dict[str, str], tmp_path: Path) -> None:
    """--run.keep=0, or a directory for the samples."""
    assert command(*RUN, "--run.keep=0", "--", "true", **state).returncode == 0
    assert command(*RUN, f"--storage.tsdb.path={tmp_path}/mine", "--", "true", **state).returncode == 0
    assert os.listdir(tmp_path) == ["mine"]
    assert kept(state) == []
