"""The real program beside a file that never answers: a FIFO without a writer, which blocks whoever opens it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from prom_probe.run.supervisor import GRACE_S
from tests.support import machines
from tests.support.fake_proc import FakeProc
from tests.support.machines import FakeMachine
from tests.support.sidecar import Sidecar
from tests.support.waiting import wait_for


def hang(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def appear(machine: FakeMachine, pid: int, name: str, hanging: Path | None = None) -> None:
    """A child of 7 that is there at once, with all its files, of which one may hang; or else another file does."""
    elsewhere = FakeProc(machine.root / "elsewhere")
    elsewhere.process(pid, 7, name.encode(), cgroup="0::/app.slice/app\n", utime=50, cmdline=f"{name} --serve")
    if hanging is not None:
        hang(elsewhere.root / str(pid) / hanging.name if hanging.parent.name == str(pid) else hanging)
    (elsewhere.root / str(pid)).rename(machine.proc.root / str(pid))


@pytest.mark.parametrize(
    ("worker", "file", "source"),
    [
        ("process", "proc/8/status", "/proc/PID/status"),
        ("process", "cgroup/app.slice/app/memory.max", "memory.max"),
        ("system", "proc/net/dev", "/proc/net/dev"),
    ],
)
def test_a_file_that_never_answers_costs_only_itself(tmp_path: Path, worker: str, file: str, source: str) -> None:
    """nhc#156: the watchdog says which file it is, all else goes on, counters do not fall."""
    machine = machines.v2(tmp_path)
    machine.proc.process(7, 1, b"app", cgroup="0::/app.slice/app\n", utime=100)
    (machine.proc.root / "net").mkdir()
    if worker == "system":
        hang(tmp_path / file)
    flags = [*machine.flags, "--interval=100ms"]
    with Sidecar("--watch=serve=cmdline:--serve", "--watch=app=pid:7", flags=flags) as sidecar:
        wait_for("the tree", lambda: sidecar.metric("proctree_processes", tree="app") == 1)
        if worker == "process":
            appear(machine, 8, "child", tmp_path / file)
        stuck = {"worker": worker, "source": source}
        wait_for("the watchdog", lambda: sidecar.metric("prom_probe_worker_stuck", **stuck) == 1)
        restarts = "prom_probe_worker_restarts_total"
        wait_for("its successor", lambda: sidecar.metric(restarts, worker=worker) == 1)
        machine.proc.process(7, 1, b"app", cgroup="0::/app.slice/app\n", utime=300)
        wait_for("the tree's CPU", lambda: cpu(sidecar) == (3 if worker == "system" else 3.5))
        assert sidecar.value("resets(proctree_cpu_seconds_total{tree='app',mode='user'}[5m])") == 0
        assert sidecar.metric("system_load1") is not None
        log = sidecar.stderr
        assert log.count("worker is stuck in a file that does not answer") == 1
        assert str(tmp_path / file) in log


@pytest.mark.parametrize("watch", ["app=pid:7", "serve=cmdline:.*--serve"])
def test_a_command_line_that_never_answers_costs_only_itself(tmp_path: Path, watch: str) -> None:
    """Whether it is to be a label or decides about a tree: no worker is replaced, and the processes beside it go on."""
    machine = machines.v2(tmp_path)
    machine.proc.process(7, 1, b"app", cgroup="0::/app.slice/app\n", cmdline="app --serve")
    flags = [*machine.flags, "--interval=100ms", "--collect.cmdline=on"]
    tree = watch.partition("=")[0]
    with Sidecar(f"--watch={watch}", flags=flags) as sidecar:
        wait_for("the tree", lambda: sidecar.metric("proctree_processes", tree=tree) == 1)
        appear(machine, 8, "child", machine.proc.root / "8/cmdline")
        kind = {"worker": "process", "source": "/proc/PID/cmdline"}
        wait_for("its kind", lambda: sidecar.metric("prom_probe_worker_stuck", **kind) == 1)
        appear(machine, 9, "late")
        wait_for("another process", lambda: sidecar.value('proctree_process_info{cmdline="late --serve"}') == 1)
        assert sidecar.metric("prom_probe_worker_restarts_total", worker="process") == 0
        assert str(machine.proc.root / "8/cmdline") in sidecar.stderr
        (named,) = sidecar.query('proctree_process_info{pid="8"}')
        assert named["metric"]["comm"] == "child" and "cmdline" not in named["metric"]


def cpu(sidecar: Sidecar) -> float | None:
    return sidecar.metric("proctree_cpu_seconds_total", tree="app", mode="user")


def test_the_end_waits_for_no_file(tmp_path: Path) -> None:
    """A worker that hangs just then is killed at once, and the aggregator still has all that came before."""
    machine = FakeMachine(tmp_path)
    machine.proc.process(7, 1)
    with Sidecar("--watch=app=pid:7", flags=[*machine.flags, "--interval=100ms"]) as sidecar:
        wait_for("the tree", lambda: sidecar.metric("proctree_processes", tree="app") == 1)
        hang(machine.proc.root / "7/status")
        failed = {"collector": "process"}
        wait_for("missed beats", lambda: sidecar.metric("prom_probe_collector_success", **failed) == 0)
        sidecar.process.send_signal(signal.SIGTERM)
        assert sidecar.wait(GRACE_S) == 0  # not even one worker's grace was waited for
        assert "worker did not end in time" in sidecar.stderr
