"""Processes, events and the run: a real run's, compared with what its processes say of themselves."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prom_probe.history.history import parse_history
from prom_probe.tsdb.disk.record_file import parse_records
from tests.support.shards import SHARDS, shards_command, told_by_children
from tests.support.sidecar import Sidecar, alive, command
from tests.support.waiting import wait_for

FLAGS = ("--interval=500ms",)


def data(sidecar: Sidecar, path: str) -> Any:
    status, body = sidecar.get(f"/api/v1/{path}")
    assert status == 200, body
    return json.loads(body)["data"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("history")


@pytest.fixture(scope="module")
def answers(folder: Path) -> Iterator[dict[str, Any]]:
    """What the API said when COMMAND had ended, and what `serve` says of the stored run."""
    store = f"--storage.tsdb.path={folder / 'store'}"
    flags = [*FLAGS, store, "--run.linger=60s"]
    with Sidecar("--", sys.executable, *shards_command(folder), flags=flags) as sidecar:
        wait_for("COMMAND's end", lambda: data(sidecar, "run")["end"])
        wait_for("the others' end", lambda: all(one["end"] for one in data(sidecar, "processes")))
        live = {path: data(sidecar, path) for path in ("processes", "events", "run")}
    with Sidecar(flags=[store], serve=True) as sidecar:
        stored = {path: data(sidecar, path) for path in ("processes", "events", "run")}
        now_living = sidecar.query("proctree_process_threads")
    yield {"live": live, "stored": stored, "now_living": now_living}


def by_name(answers: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["comm"][-1]: one for one in answers["live"]["processes"]}


def test_each_child_is_as_it_says(answers: dict[str, Any], folder: Path) -> None:
    """PID, names, peak within 5 %, end, how it ended, CPU time."""
    told, found = told_by_children(folder), by_name(answers)
    assert told.keys() == {shard.name for shard in SHARDS}
    for shard in SHARDS:
        record, own = found[shard.name], told[shard.name]
        assert record["pid"] == own["pid"]
        assert record["memory_peak_bytes"] == pytest.approx(own["peak"], rel=0.05)
        assert record["end"] == pytest.approx(own["end"], abs=0.5)
        assert record["cpu_seconds"] == pytest.approx(own["cpu"], abs=0.1)
        assert (record["exit_status"], record["signal"]) == ((shard.ends, None) if shard.ends >= 0 else (None, 9))
        assert record["start"] <= record["first"] <= record["memory_peak_time"] <= record["last"] <= record["end"]
        assert shard.name in record["cmdline"]


def test_the_largest_comes_first(answers: dict[str, Any]) -> None:
    """By its peak."""
    peaks = [one["memory_peak_bytes"] for one in answers["live"]["processes"]]
    assert peaks == sorted(peaks, reverse=True)
    assert answers["live"]["processes"][0]["comm"][-1] == "large"


def test_a_shell_that_becomes_another_program_is_one_process(answers: dict[str, Any]) -> None:
    """With both names, and an event."""
    (shell,) = [one for one in answers["live"]["processes"] if one["comm"] == ["sh", "sleep"]]
    assert shell["exit_status"] is None  # COMMAND reaped it
    assert shell["cmdline"] == "sleep 1.5"
    (event,) = [one for one in answers["live"]["events"] if one["type"] == "exec" and one["pid"] == shell["pid"]]
    assert (event["tree"], event["text"]) == (shell["tree"], "sleep 1.5")
    (start,) = [one for one in answers["live"]["events"] if one["t"] == shell["start"] and one["pid"] == shell["pid"]]
    assert start["text"] == shell["first_cmdline"]
    assert start["text"].startswith("sh -c")
    assert shell["memory_peak_comm"] in (None, "sh")  # which of them has more is the system's business


def test_events_tell_starts_and_ends(answers: dict[str, Any]) -> None:
    """In order of time, with how each ended."""
    events, found = answers["live"]["events"], by_name(answers)
    assert [one["t"] for one in events] == sorted(one["t"] for one in events)
    ends = {one["pid"]: one["text"] for one in events if one["type"] == "process_end"}
    assert ends[found["small"]["pid"]] == f"{found['small']['comm'][-1]} exited with status 0"
    assert ends[found["large"]["pid"]] == f"{found['large']['comm'][-1]} exited with status 7"
    assert ends[found["killed"]["pid"]] == f"{found['killed']['comm'][-1]} killed by SIGKILL"
    assert {one["pid"] for one in events if one["type"] == "process_start"} == {
        one["pid"] for one in answers["live"]["processes"]
    }


def test_the_run(answers: dict[str, Any], folder: Path) -> None:
    """COMMAND, its end and its status."""
    run = answers["live"]["run"]
    assert run["command"][1] == str(folder / "shards.py")
    assert (run["exit_status"], run["signal"], run["interval"]) == (3, None, 0.5)
    assert run["trees"] == [Path(sys.executable).name]
    (command_record,) = [one for one in answers["live"]["processes"] if one["exit_status"] == 3]
    assert command_record["end"] == pytest.approx(run["end"])
    assert run["start"] < run["end"]


def test_a_stored_run_says_the_same(answers: dict[str, Any]) -> None:
    """`serve` answers as the run did, and shows nobody as living."""
    assert answers["stored"] == answers["live"]
    assert answers["now_living"] == []


@pytest.mark.parametrize("disk", [True, False], ids=["disk", "memory"])
def test_when_the_aggregator_is_killed(tmp_path: Path, disk: bool) -> None:
    """With a path, what ended before is known afterwards; without one, the living alone, with what they have used.
    Either way the restart is told."""
    flags = [*FLAGS, *([f"--storage.tsdb.path={tmp_path / 'store'}"] if disk else [])]
    script = "import subprocess,time; subprocess.run(['sleep', '1.3']); time.sleep(600)"
    with Sidecar("--", sys.executable, "-c", script, flags=flags) as sidecar:
        wait_for("a process that ended", lambda: any(one["end"] for one in data(sidecar, "processes")))
        before = {one["comm"][-1]: one for one in data(sidecar, "processes")}
        if disk:
            wait_for("its end on the disk", lambda: _stored_end(tmp_path / "store" / "history", "sleep"))
        os.kill(sidecar.worker("aggregator"), signal.SIGKILL)
        wait_for("the restart", lambda: _maybe_events(sidecar, "worker_restart"))
        after = wait_for("the living", lambda: {one["comm"][-1]: one for one in data(sidecar, "processes")})
    name = next(one for one in before if one != "sleep")
    assert (after[name]["pid"], after[name]["start"]) == (before[name]["pid"], before[name]["start"])
    assert after[name]["memory_peak_bytes"] >= before[name]["memory_peak_bytes"]
    assert after[name]["end"] is None
    if disk:
        assert after["sleep"] == before["sleep"]
        assert after[name]["first"] == before[name]["first"]
    else:
        assert "sleep" not in after


def _stored_end(history: Path, name: str) -> bool:
    """Whether the file has the end of the process of this name."""
    payloads, _ = parse_records(history.read_bytes() if history.exists() else b"")
    processes, _ = parse_history(payloads)
    return any(one.comm[-1] == name and one.end is not None for one in processes)


def _is_stored(history: Path, text: bytes) -> bool:
    return history.exists() and text in history.read_bytes()


def _maybe_events(sidecar: Sidecar, kind: str) -> list[dict[str, Any]]:
    try:
        return list(data(sidecar, f"events?type={kind}"))
    except OSError:  # nobody listens for a moment
        return []


def test_of_a_run_that_is_killed_nobody_lives_on(tmp_path: Path) -> None:
    """Supervisor and aggregator end with SIGKILL: what is stored ended with its last sample."""
    store = f"--storage.tsdb.path={tmp_path / 'store'}"
    with Sidecar("--", "sleep", "600", flags=[*FLAGS, store]) as sidecar:
        wait_for("a process", lambda: data(sidecar, "processes"))
        pids = [sidecar.worker(name) for name in ("aggregator", "process", "system")]
        wait_for("it on the disk", lambda: _is_stored(tmp_path / "store" / "history", b"sleep 600"))
        sidecar.process.send_signal(signal.SIGSTOP)  # it starts no other aggregator
        os.kill(pids[0], signal.SIGKILL)
        sidecar.process.kill()
        sidecar.process.wait()
        wait_for("its end", lambda: not any(alive(pid) for pid in pids))
    with Sidecar(flags=[store], serve=True) as sidecar:
        (record,), run = data(sidecar, "processes"), data(sidecar, "run")
        head = data(sidecar, "status/tsdb")["headStats"]
        assert record["end"] == run["end"] == head["maxTime"] / 1000
        assert (run["exit_status"], run["signal"], run["command"]) == (None, None, ["sleep", "600"])
        assert sidecar.query("proctree_process_threads") == []
        assert sidecar.query("proctree_process_threads", time=run["end"])
    verified = command("storage", "verify", str(tmp_path / "store"))
    assert verified.returncode == 0, verified.stdout
