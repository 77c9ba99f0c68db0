"""The summary on stderr after COMMAND has ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from prom_probe.config.units import format_duration, human_size
from prom_probe.model.printable import printable
from prom_probe.ring.slot import Slot
from prom_probe.run.command import CommandExit
from prom_probe.run.survivors import Survivor

if TYPE_CHECKING:
    from prom_probe.collectors.process.checkpoint import TreeSummary

# How many of those that live on are named.
_NAMED = 5


class UsedByTree(NamedTuple):
    """What COMMAND's tree used. `peak_bytes` is None if it is not known, `seen` if no probe ran."""

    cpu_seconds: float
    peak_bytes: int | None
    seen: TreeSummary | None


def read_used(name: str, ended: CommandExit, process_slot: Slot) -> UsedByTree:
    """What the tree used, as COMMAND's exit and the probe's slot tell."""
    from prom_probe.collectors.process.checkpoint import read_summaries

    seen = read_summaries(process_slot.read()).get(name)
    # Its exit knows of what it has reaped, to the microsecond; the probe also of children that it has not.
    tree_cpu_s = seen.cpu_user_s + seen.cpu_system_s if seen is not None else 0.0
    peak_bytes = max(seen.peak_resident_bytes if seen is not None else 0, ended.peak_bytes)
    return UsedByTree(max(ended.cpu_seconds, tree_cpu_s), peak_bytes or None, seen)


def summarize(
    name: str,
    ended: CommandExit,
    used: UsedByTree,
    gpu_slot: Slot,
    *,
    survivors: Sequence[Survivor] = (),
    demo: bool = False,
) -> str:
    """One line: how COMMAND ended, what its tree used, and what of it lives on, as its exit and the probes' slots tell.

    `demo`: the GPUs are made up.
    """
    ran = format_duration(round(ended.duration_s, 1 if ended.duration_s >= 1 else 2))
    parts = [ended.text, f"ran {ran}", f"CPU {used.cpu_seconds:.2f} s"]
    if used.seen is not None:
        if used.peak_bytes:
            parts.append(f"peak memory {human_size(used.peak_bytes)}")
        children = max(0, used.seen.processes_seen - 1)
        parts.append(
            f"{children} {'child' if children == 1 else 'children'} seen (at most {used.seen.peak_processes} at once)"
        )
    if gpu_state := gpu_slot.read():
        from prom_probe.collectors.gpu.checkpoint import read_gpu_peaks

        if gpu_peak := read_gpu_peaks(gpu_state).get(name):
            parts.append(f"peak GPU memory {human_size(gpu_peak)}{' (demo)' if demo else ''}")
    if survivors:
        parts.append(_describe(survivors))
    return f"prom-probe: {printable(name)}: {', '.join(parts)}"


def _describe(survivors: Sequence[Survivor]) -> str:
    count = len(survivors)
    names = ", ".join(f"{printable(each.comm)} (PID {each.pid})" for each in survivors[:_NAMED])
    more = f" and {count - _NAMED} more" if count > _NAMED else ""
    return f"{count} {'process lives' if count == 1 else 'processes live'} on: {names}{more}"
