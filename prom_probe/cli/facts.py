"""The facts of a run, in figures: how it ended, what it used, which processes were the largest."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import msgspec

from prom_probe.cli.answer import AnswerSeries, read_answer
from prom_probe.cli.error import ClientError
from prom_probe.cli.source import Source
from prom_probe.history.process_record import ProcessRecord
from prom_probe.history.run_info import RunInfo
from prom_probe.model.run_event import RunEvent
from prom_probe.promql.literals import quote

_MOST_PROCESSES = 5


class LargeProcess(msgspec.Struct):
    """One of the largest processes, under its names at its peak. Times are Unix seconds."""

    pid: int
    comm: str
    cmdline: str | None
    start: float
    end: float | None
    memory_peak_bytes: int
    memory_peak_time: float | None
    cpu_seconds: float
    how_it_ended: str


class RunFacts(msgspec.Struct):
    """A run; None is what is not known. Times are Unix seconds.

    CPU, memory and IO are those of the tree `tree`; `exit_status` and `signal` are COMMAND's.
    """

    source: str
    command: list[str] | None
    host: str
    version: str
    tree: str
    start: float
    end: float | None
    duration_seconds: float
    exit_status: int | None
    signal: int | None
    how_it_ended: str
    cpu_seconds: float | None
    memory_peak_bytes: int | None
    memory_peak_time: float | None
    io_read_bytes: int | None
    io_write_bytes: int | None
    processes: int
    largest_processes: list[LargeProcess]
    gaps: int
    oom_kills: int
    ended_with_oom_kill: LargeProcess | None  # the largest of the processes that ended when one was killed


def collect_facts(source: Source, text: str, tree: str | None = None) -> RunFacts:
    """The facts of `tree`, by default of COMMAND's or else the first one. `text` names the source.

    ClientError if there is no such tree, or if it is no API of prom_probe.
    """
    run = source.run()
    if tree is None and not run.trees:
        raise ClientError(f"{text}: no process tree was watched")
    name = tree if tree is not None else run.trees[0]
    if name not in run.trees:
        raise ClientError(f"{text}: no tree is called {name!r}; there are {', '.join(run.trees)}")
    figures = _Figures(source, run, name)
    processes = [process for process in source.processes() if process.tree == name]
    events = source.events(types=["gap", "oom_kill"])
    oom_kills = [event for event in events if event.type == "oom_kill"]
    peak_bytes, peak_time = figures.memory_peak()
    tree_cpu_seconds = figures.last("sum(last_over_time(proctree_cpu_seconds_total{}))")
    of_command = run.cpu_seconds if run.command is not None and name == run.trees[0] else None
    known = [each for each in (tree_cpu_seconds, of_command) if each is not None]
    return RunFacts(
        source=text,
        command=run.command,
        host=run.host,
        version=run.version,
        tree=name,
        start=run.start,
        end=run.end,
        duration_seconds=run.duration if run.duration is not None else (run.end or source.now_s()) - run.start,
        exit_status=run.exit_status,
        signal=run.signal,
        how_it_ended=run.how_it_ended or ("running" if run.end is None else "unknown"),
        cpu_seconds=max(known, default=None),
        memory_peak_bytes=_whole(peak_bytes),
        memory_peak_time=peak_time,
        io_read_bytes=_whole(figures.last("sum(last_over_time(proctree_io_read_bytes_total{}))")),
        io_write_bytes=_whole(figures.last("sum(last_over_time(proctree_io_write_bytes_total{}))")),
        processes=len(processes),
        largest_processes=[_large(process) for process in processes[:_MOST_PROCESSES]],
        gaps=len(events) - len(oom_kills),
        oom_kills=len(oom_kills),
        ended_with_oom_kill=_ended_with(oom_kills, processes, run.interval),
    )


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


def _large(process: ProcessRecord) -> LargeProcess:
    comm, cmdline = process.names_at_peak
    return LargeProcess(
        pid=process.pid,
        comm=comm,
        cmdline=cmdline,
        start=process.start,
        end=process.end,
        memory_peak_bytes=process.memory_peak_bytes,
        memory_peak_time=process.memory_peak_time,
        cpu_seconds=process.cpu_seconds,
        how_it_ended="running" if process.end is None else process.how_it_ended,
    )


def _ended_with(
    oom_kills: Sequence[RunEvent], processes: Sequence[ProcessRecord], interval_s: float
) -> LargeProcess | None:
    """The largest process that ended within a collection of an OOM kill: the kernel counts these, but names nobody."""
    for process in processes:  # the largest first
        end = process.end
        if end is not None and any(abs(end - event.t) <= interval_s for event in oom_kills):
            return _large(process)
    return None


class _Figures:
    """What the metrics of a tree say about the whole run."""

    def __init__(self, source: Source, run: RunInfo, tree: str) -> None:
        self._source = source
        self._selector = f"{{tree={quote(tree)}}}"
        span = source.stored_span()
        self._end_s = source.now_s() if span is None else span[1]
        first_s = run.start if span is None else min(span[0], run.start)
        self._range = f"[{max(1, math.ceil(self._end_s - first_s) + 1)}s]"

    def last(self, template: str) -> float | None:
        """The value of an expression in which {} stands for the tree over the whole run."""
        series = self._ask(template.replace("{}", self._selector + self._range))
        return float(series[0].points[0][1]) if series else None

    def memory_peak(self) -> tuple[float | None, float | None]:
        """The most memory that the tree had, as the last line of `run` says it, and when that was seen."""
        whole = self._ask(f"proctree_resident_memory_max_bytes{self._selector}{self._range}")
        points = [(float(value), t) for each in whole for t, value in each.points]
        if not points:
            return None, None
        peak, first_s = max(points, key=lambda point: (point[0], -point[1]))
        single = self.last("max(max_over_time(proctree_largest_process_memory_peak_bytes{}))") or 0.0
        return max(peak, single), first_s

    def _ask(self, expr: str) -> list[AnswerSeries]:
        return read_answer(self._source.query(expr, self._end_s)).series


class Fact(NamedTuple):
    """A line of a table of facts. `unit` is "text" for words, "" for a number without one."""

    name: str
    unit: Literal["text", "", "bytes", "seconds", "time"]
    read: Callable[[RunFacts], str | float | None]


def _name(process: LargeProcess | None) -> str | None:
    if process is None:
        return None
    name = f"{process.comm} (PID {process.pid})"
    return f"{name}: {process.cmdline}" if process.cmdline and process.cmdline != process.comm else name


def _mean_cpus(run: RunFacts) -> float | None:
    return run.cpu_seconds / run.duration_seconds if run.cpu_seconds is not None and run.duration_seconds > 0 else None


def _peak_after(run: RunFacts) -> float | None:
    return None if run.memory_peak_time is None else max(0.0, run.memory_peak_time - run.start)


def _of_largest(
    place: int, read: Callable[[LargeProcess], str | float | None]
) -> Callable[[RunFacts], str | float | None]:
    return lambda run: read(run.largest_processes[place]) if place < len(run.largest_processes) else None


def _largest(place: int, which: str) -> tuple[Fact, ...]:
    return (
        Fact(f"{which} process", "text", _of_largest(place, _name)),
        Fact(f"{which} process: peak memory", "bytes", _of_largest(place, lambda one: one.memory_peak_bytes)),
        Fact(f"{which} process: CPU", "seconds", _of_largest(place, lambda one: one.cpu_seconds)),
    )


FACTS: tuple[Fact, ...] = (
    Fact("command", "text", lambda run: shlex.join(run.command) if run.command else None),
    Fact("host", "text", lambda run: run.host),
    Fact("start", "time", lambda run: run.start),
    Fact("end", "text", lambda run: run.how_it_ended),
    Fact("duration", "seconds", lambda run: run.duration_seconds),
    Fact("CPU", "seconds", lambda run: run.cpu_seconds),
    Fact("mean CPUs", "", _mean_cpus),
    Fact("peak memory", "bytes", lambda run: run.memory_peak_bytes),
    Fact("peak memory after", "seconds", _peak_after),
    Fact("read from storage", "bytes", lambda run: run.io_read_bytes),
    Fact("written to storage", "bytes", lambda run: run.io_write_bytes),
    Fact("processes", "", lambda run: run.processes),
    *_largest(0, "largest"),
    *_largest(1, "second largest"),
    *_largest(2, "third largest"),
    Fact("gaps", "", lambda run: run.gaps),
    Fact("OOM kills", "", lambda run: run.oom_kills),
    Fact("largest process that ended then", "text", lambda run: _name(run.ended_with_oom_kill)),
)
