"""The real program on machines of plain files: one golden /metrics, each kind of cgroupfs, odd names, a crowd."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from prom_probe.collectors.base import Context
from tests.support import golden, machines
from tests.support.machines import MIB, FakeMachine
from tests.support.sidecar import Sidecar
from tests.support.waiting import wait_for

# Families that tell of this run, of the machine below it, or of the time: not in the golden file.
VOLATILE = re.compile(
    r"prom_probe_(?!source_readable)"
    r"|\w+_start_time_seconds"
    r"|cgroup_cpus_effective"
    r"|system_(cpus|cpus_effective|filesystem_|time|timex_|clock_)"
)
HOST_WATCHES = (
    "--watch=web=comm:gunicorn: maste",
    "--watch=odd=cmdline:./two\nlines --flag",
    "--watch=none=comm:nothing-like-it",
)


def settled(sidecar: Sidecar, beats: int = 5) -> None:
    """Wait until every collector has run so often."""

    def run() -> bool:
        metrics = sidecar.metrics()
        runs = [value for (name, _), value in metrics.items() if name == "prom_probe_collector_runs_total"]
        return len(runs) >= 4 and min(runs) >= beats

    wait_for("some collections", run)


def stable_metrics(text: str) -> str:
    """/metrics without what is volatile, family by family in the order of their names."""
    families = re.split(r"^(?=# HELP )", text, flags=re.MULTILINE)
    kept = [family for family in families if family and not VOLATILE.match(family.split()[2])]
    return "".join(sorted(kept))


@pytest.mark.skipif(os.sysconf("SC_PAGE_SIZE") != 4096, reason="the golden file is of a machine with 4 KiB pages")
def test_the_golden_metrics_of_a_recorded_machine(tmp_path: Path) -> None:
    """Every HELP, TYPE and sample of tests/fixtures/metrics.golden; `make golden` writes it anew."""
    machine = machines.host(tmp_path)
    with Sidecar(*HOST_WATCHES, flags=[*machine.flags, "--interval=50ms"]) as sidecar:
        settled(sidecar)
        status, body = sidecar.get("/metrics", sidecar.web)
    assert status == 200
    list(text_string_to_metric_families(body.decode()))
    golden.check("metrics.golden", stable_metrics(body.decode()))


@pytest.mark.parametrize(
    ("make", "tree", "watch", "pressure"),
    [
        (machines.v2, "app", ["--watch=app=comm:app"], 1.5),
        (machines.v1, "app", ["--watch=app=comm:app"], None),
        (machines.hybrid, "app", ["--watch=app=comm:app"], 1.5),
        (machines.kubernetes, "app", [], 1.5),
    ],
    ids=["v2", "v1", "hybrid", "kubernetes"],
)
def test_each_kind_of_cgroupfs(
    tmp_path: Path, make: Callable[[Path], FakeMachine], tree: str, watch: list[str], pressure: float | None
) -> None:
    """The same numbers in the same words; where a kind has no pressure, no series."""
    machine = make(tmp_path)
    with Sidecar(*watch, flags=[*machine.flags, "--interval=50ms"]) as sidecar:
        settled(sidecar)
        found = {
            name: sidecar.metric(f"cgroup_{name}", tree=tree)
            for name in (
                "cpu_usage_seconds_total",
                "cpu_throttled_seconds_total",
                "memory_working_set_bytes",
                "memory_limit_bytes",
                "oom_kills_total",
                "pressure_cpu_waiting_seconds_total",
            )
        }
        processes = sidecar.metric("proctree_processes", tree=tree)
        trees = {labels for name, labels in sidecar.metrics() if name == "proctree_processes"}
    assert found == {
        "cpu_usage_seconds_total": 12.5,
        "cpu_throttled_seconds_total": 0.25,
        "memory_working_set_bytes": 240 * MIB,
        "memory_limit_bytes": 512 * MIB,
        "oom_kills_total": 1,
        "pressure_cpu_waiting_seconds_total": pressure,
    }
    assert processes == (2 if make is machines.kubernetes else 1)
    assert len(trees) == 1  # neither pause nor our own container


def test_a_machine_with_pages_of_64_kib(tmp_path: Path) -> None:
    """The kernel counts resident memory in pages; their size is what the C library says."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os\nreal = os.sysconf\nos.sysconf = lambda name: 65536 if name == 'SC_PAGE_SIZE' else real(name)\n"
    )
    machine = FakeMachine(tmp_path)
    machine.proc.process(7, 1, resident=3)
    flags = [*machine.flags, "--watch=large=pid:7", "--interval=50ms"]
    with Sidecar(flags=flags, env={"PYTHONPATH": str(tmp_path)}) as sidecar:
        settled(sidecar)
        assert sidecar.metric("proctree_resident_memory_bytes", tree="large") == 3 * 65536


COMMS = (b"a b", b"(sd-pam)", b"x) R 1 (y", b") S 1 2 3", b"two\nlines", b"\xff\xfe", b'"quoted\\', b"", b"tab\there")


def test_odd_command_names(tmp_path: Path) -> None:
    """Spaces, parentheses, newlines, no UTF-8, quotes: right numbers, and /metrics and the API tell the name."""
    machine = FakeMachine(tmp_path)
    for pid, comm in enumerate(COMMS, 7):
        machine.proc.process(pid, 1, comm, threads=pid, resident=3, utime=150)
    watches = [f"--watch=odd{pid}=pid:{pid}" for pid, _ in enumerate(COMMS, 7)]
    with Sidecar(*watches, flags=[*machine.flags, "--interval=50ms", "--expose.per-process"]) as sidecar:
        settled(sidecar)
        metrics, told = sidecar.metrics(), sidecar.query("proctree_process_threads")
    by_pid = {series["metric"]["pid"]: series["metric"] for series in told}
    assert len(by_pid) == len(told) == len(COMMS)
    for pid, comm in enumerate(COMMS, 7):
        tree = {"tree": f"odd{pid}"}
        assert metrics["proctree_threads", frozenset(tree.items())] == pid
        assert metrics["proctree_cpu_seconds_total", frozenset({**tree, "mode": "user"}.items())] == 1.5
        labels = {**tree, "pid": str(pid), "comm": comm.decode("utf-8", "backslashreplace")}
        labels = {name: value for name, value in labels.items() if value}
        assert metrics["proctree_process_threads", frozenset(labels.items())] == pid
        assert by_pid[str(pid)] == {"__name__": "proctree_process_threads", **labels}


def test_a_tree_of_5_000_processes(tmp_path: Path) -> None:
    """More than may keep a descriptor: all are in the tree's sums, some have series of their own."""
    machine = machines.crowd(tmp_path, 5_000)
    with Sidecar(flags=[*machine.flags, "--watch=crowd=pid:100", "--interval=1s"]) as sidecar:
        wait_for("all of them", lambda: sidecar.metric("proctree_processes", tree="crowd") == 5_000)
        assert sidecar.metric("proctree_threads", tree="crowd") == 10_000
        page = os.sysconf("SC_PAGE_SIZE")
        assert sidecar.metric("proctree_resident_memory_bytes", tree="crowd") == 15_000 * page
        most = Context().max_processes
        wait_for("series of their own", lambda: sidecar.value("count(proctree_process_threads)") == most)
        assert len(os.listdir(f"/proc/{sidecar.worker('process')}/fd")) <= 4200
        assert sidecar.metric("prom_probe_worker_restarts_total", worker="process") == 0
