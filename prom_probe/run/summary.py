"""The summary on stderr after COMMAND has ended."""

from __future__ import annotations

from prom_probe.config.units import format_duration, human_size
from prom_probe.ring.slot import Slot
from prom_probe.run.command import CommandExit


def summarize(name: str, ended: CommandExit, duration_s: float, process_slot: Slot, gpu_slot: Slot) -> str:
    """One line: how COMMAND ended and what it used, as its exit and the probes' slots tell."""
    from prom_probe.collectors.process.checkpoint import read_summaries

    parts = [ended.text, f"ran {format_duration(round(duration_s, 1))}", f"CPU {ended.cpu_seconds:.2f} s"]
    summary = read_summaries(process_slot.read()).get(name)
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
            parts.append(f"peak GPU memory {human_size(gpu_peak)}")
    return f"prom-probe: {name}: {', '.join(parts)}"
