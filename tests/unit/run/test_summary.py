"""The summary after COMMAND's end: what it says, and what it leaves out."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from prom_probe.collectors.gpu.checkpoint import GpuState
from prom_probe.collectors.process.checkpoint import ProcessCheckpoint, TreeState, TreeSummary
from prom_probe.collectors.process.process import COUNTERS
from prom_probe.ring.slot import Slot
from prom_probe.run.command import CommandExit
from prom_probe.run.summary import read_used, summarize
from prom_probe.run.survivors import Survivor

MIB = 1 << 20


def slot(**checkpoints: msgspec.Struct) -> Slot:
    """A worker's slot with its collectors' checkpoints."""
    made = Slot(10_000)
    if checkpoints:
        encoded = {name: msgspec.msgpack.encode(state) for name, state in checkpoints.items()}
        made.write(msgspec.msgpack.encode(encoded))
    return made


def tree(seen: int, at_once: int, peak_bytes: int) -> ProcessCheckpoint:
    summary = TreeSummary("app", processes_seen=seen, peak_processes=at_once, peak_resident_bytes=peak_bytes)
    return ProcessCheckpoint([TreeState(summary, [0] * COUNTERS, [0] * COUNTERS)])


def summary_of(name: str, ended: CommandExit, process: Slot, gpu: Slot, **more: Any) -> str:
    return summarize(name, ended, read_used(name, ended, process), gpu, **more)


def test_without_the_probes_it_has_what_the_kernel_reports() -> None:
    """A probe that never ran costs its part of the line."""
    ended = CommandExit(0, "exit status 0", 1.234, 0, duration_s=61.04)
    assert summary_of("app", ended, slot(), slot()) == "prom-probe: app: exit status 0, ran 1m1s, CPU 1.23 s"


@pytest.mark.parametrize(
    ("duration_s", "shown"), [(0.012, "10ms"), (0.987, "990ms"), (1.04, "1s"), (3.96, "4s"), (3725.4, "1h2m5s400ms")]
)
def test_how_long_it_ran(duration_s: float, shown: str) -> None:
    """To two digits behind the point below a second, else to one."""
    line = summary_of("app", CommandExit(0, "exit status 0", 0, 0, duration_s=duration_s), slot(), slot())
    assert f", ran {shown}, " in line


@pytest.mark.parametrize(
    ("tree_peak", "command_peak", "shown"), [(300 * MIB, 100 * MIB, "300 MiB"), (100 * MIB, 300 * MIB, "300 MiB")]
)
def test_the_peak_is_the_larger_of_the_trees_and_the_commands_own(
    tree_peak: int, command_peak: int, shown: str
) -> None:
    """Either can miss what the other has seen."""
    ended = CommandExit(1, "exit status 1", 0, command_peak)
    line = summary_of("app", ended, slot(process=tree(3, 2, tree_peak)), slot())
    assert line.endswith(f"peak memory {shown}, 2 children seen (at most 2 at once)")


@pytest.mark.parametrize(
    ("seen", "children"), [(0, "0 children"), (1, "0 children"), (2, "1 child"), (3, "2 children")]
)
def test_children_are_all_processes_but_the_first(seen: int, children: str) -> None:
    """In the singular for one."""
    line = summary_of("app", CommandExit(0, "exit status 0", 0, 0), slot(process=tree(seen, 1, 0)), slot())
    assert line.endswith(f", {children} seen (at most 1 at once)")
    assert "peak memory" not in line


@pytest.mark.parametrize(("own_s", "tree_s", "shown"), [(2.0, 1.5, "2.00"), (0.01, 40.5, "40.50")])
def test_cpu_is_the_larger_of_the_trees_and_the_commands_own(own_s: float, tree_s: float, shown: str) -> None:
    """COMMAND's own misses children that it has not waited for, the tree's the time since its last collection."""
    summary = TreeSummary("app", cpu_user_s=tree_s - 0.5, cpu_system_s=0.5)
    process = slot(process=ProcessCheckpoint([TreeState(summary, [0] * COUNTERS, [0] * COUNTERS)]))
    assert f", CPU {shown} s," in summary_of("app", CommandExit(0, "exit status 0", own_s, 0), process, slot())


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "CPU 0.00 s"),
        (1, "1 process lives on: p0 (PID 100)"),
        (2, "2 processes live on: p0 (PID 100), p1 (PID 101)"),
        (7, "7 processes live on: p0 (PID 100), p1 (PID 101), p2 (PID 102), p3 (PID 103), p4 (PID 104) and 2 more"),
    ],
)
def test_what_lives_on_is_named(count: int, shown: str) -> None:
    """The first five."""
    survivors = [Survivor(100 + i, f"p{i}") for i in range(count)]
    line = summary_of("app", CommandExit(0, "exit status 0", 0, 0), slot(), slot(), survivors=survivors)
    assert line.endswith(f", {shown}")


def test_names_cannot_act_on_the_terminal() -> None:
    """Escape sequences and the like are escaped."""
    ended = CommandExit(0, "exit status 0", 0, 0)
    line = summary_of("a\x1b[31m", ended, slot(), slot(), survivors=[Survivor(1, "b\nc\x9b")])
    assert line.isprintable()
    assert line.startswith("prom-probe: a\\x1b[31m: ")


def test_demo_gpu_memory_is_called_so() -> None:
    """Nobody takes it for real."""
    gpu = slot(gpu=GpuState(tree_peaks={"app": 1.0 * (1 << 30)}))
    line = summary_of("app", CommandExit(0, "exit status 0", 0, 0), slot(), gpu, demo=True)
    assert line.endswith(", peak GPU memory 1 GiB (demo)")


def test_gpu_memory_is_there_for_a_tree_that_used_some() -> None:
    """Of this tree only."""
    ended = CommandExit(0, "exit status 0", 0, 0)
    gpu = slot(gpu=GpuState(tree_peaks={"app": 2.5 * (1 << 30), "other": 1.0}))
    assert summary_of("app", ended, slot(), gpu).endswith(", peak GPU memory 2.5 GiB")
    assert "GPU" not in summary_of("third", ended, slot(), gpu)
