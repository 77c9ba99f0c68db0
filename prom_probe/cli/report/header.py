"""The facts at the top of a report, in words."""

from __future__ import annotations

import shlex

from prom_probe.cli.clock import format_time
from prom_probe.cli.facts import LargeProcess, RunFacts
from prom_probe.config.units import human_duration, human_size
from prom_probe.model.printable import printable, shorten

_PLACES = ("Largest process", "Second largest", "Third largest")
_MOST_CHARACTERS = 60


def header_facts(run: RunFacts) -> list[tuple[str, str]]:
    """Names and what they are; what is not known is left out."""
    command = shlex.join(run.command) if run.command else None
    facts = (
        ("Command", command),
        ("Host", run.host),
        ("Tree", run.tree),
        ("Start", format_time(run.start, milliseconds=False)),
        ("Duration", human_duration(run.duration_seconds)),
        ("End", run.how_it_ended),
        ("CPU", _cpu(run)),
        ("Peak memory", _peak(run, run.memory_peak_bytes, run.memory_peak_time)),
        ("Storage", _storage(run)),
        ("Processes", f"{run.processes}"),
        ("Gaps", f"{run.gaps}"),
        ("OOM kills", f"{run.oom_kills}" if run.oom_kills else None),
        ("Largest that ended then", _large(run, run.ended_with_oom_kill) if run.ended_with_oom_kill else None),
        *zip(_PLACES, (_large(run, process) for process in run.largest_processes), strict=False),
    )
    return [(name, printable(value)) for name, value in facts if value]


def _cpu(run: RunFacts) -> str | None:
    if run.cpu_seconds is None:
        return None
    mean = f", {run.cpu_seconds / run.duration_seconds:.2f} CPUs" if run.duration_seconds > 0 else ""
    return f"{human_duration(run.cpu_seconds)}{mean}"


def _peak(run: RunFacts, size: int | None, t: float | None) -> str | None:
    if size is None:
        return None
    return human_size(size) if t is None else f"{human_size(size)} after {human_duration(max(0.0, t - run.start))}"


def _storage(run: RunFacts) -> str | None:
    parts = [
        f"{human_size(size)} {word}"
        for size, word in ((run.io_read_bytes, "read"), (run.io_write_bytes, "written"))
        if size is not None
    ]
    return ", ".join(parts) or None


def _large(run: RunFacts, process: LargeProcess) -> str:
    peak = _peak(run, process.memory_peak_bytes, process.memory_peak_time)
    cmdline = f" ({shorten(process.cmdline, _MOST_CHARACTERS)})" if process.cmdline else ""
    cpu = human_duration(process.cpu_seconds)
    return f"{process.comm} {process.pid}: {peak}, CPU {cpu}, {process.how_it_ended}{cmdline}"
