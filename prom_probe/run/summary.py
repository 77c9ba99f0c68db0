"""The summary on stderr after COMMAND has ended."""

from __future__ import annotations

from collections.abc import Sequence

from prom_probe.config.units import format_duration, human_size
from prom_probe.model.printable import printable
from prom_probe.ring.slot import Slot
from prom_probe.run.command import CommandExit
from prom_probe.run.survivors import Survivor

# How many of those that live on are named.
_NAMED = 5


def summarize(
    name: str,
    ended: CommandExit,
    process_slot: Slot,
    gpu_slot: Slot,
    *,
    survivors: Sequence[Survivor] = (),
    demo: bool = False,
) -> str:
    """One line: how COMMAND ended, what its tree used, and what of it lives on, as its exit and the probes' slots tell.

    `demo`: the GPUs are made up.
    """
    from prom_probe.collectors.process.checkpoint import read_summaries

    parts = [ended.text, f"ran {format_duration(round(ended.duration_s, 1))}"]
    summary = read_summaries(process_slot.read()).get(name)
    # Its exit knows of what it has reaped, to the microsecond; the probe also of children that it has not.
    tree_cpu_s = summary.cpu_user_s + summary.cpu_system_s if summary is not None else 0.0
    parts.append(f"CPU {max(ended.cpu_seconds, tree_cpu_s):.2f} s")
    if summary is not None:
        if peak := max(summary.peak_resident_bytes, ended.peak_bytes):
            parts.append(f"peak memory {human_size(peak)}")
        children = max(0, summary.processes_seen - 1)
        parts.append(
            f"{children} {'child' if children == 1 else 'children'} seen (at most {summary.peak_processes} at once)"
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
