"""The lines above and below the table, as pieces of text with their styles."""

from __future__ import annotations

import shlex
from typing import TypeAlias

from prom_probe.cli.clock import format_time
from prom_probe.cli.top.columns import cpus
from prom_probe.cli.top.process_row import ProcessRow
from prom_probe.cli.top.reading import MomentReading
from prom_probe.cli.top.sparkline import sparkline
from prom_probe.config.units import human_duration, human_size
from prom_probe.model.printable import printable
from prom_probe.model.run_event import RunEvent

# A text and rich's name of its style.
Piece: TypeAlias = tuple[str, str]
Pieces: TypeAlias = list[Piece]

_GOOD, _WAIT, _BAD, _DIM = "bold green", "bold yellow", "bold red", "dim"

# Nobody waits shorter for a sample that is late.
_LEAST_PATIENCE_S = 3.0

_EVENTS_AFTER = 2

_EVENT_WORDS = {
    "process_start": "started",
    "process_end": "ended",
    "exec": "exec",
    "oom_kill": "OOM kill",
    "throttled": "throttled",
    "gap": "gap",
    "worker_restart": "worker restart",
}


def state_of(reading: MomentReading, *, live: bool, problem: str, now_s: float) -> Piece:
    """Live, paused, ended, stale, or why there is nothing new."""
    if problem:
        return problem, _BAD
    run = reading.run
    if not live:
        return f"paused, {human_duration(max(0, round(now_s - reading.moment)))} back", _WAIT
    if reading.end is not None or run.end is not None:
        return f"ended{f', {run.how_it_ended}' if run.how_it_ended else ''}", _WAIT
    age = now_s - reading.moment if reading.totals.newest is None else now_s - reading.totals.newest
    if age > max(_LEAST_PATIENCE_S, 3 * run.interval) + 1:
        return f"stale: no samples for {human_duration(round(age))}", _BAD
    return "live", _GOOD


def title(reading: MomentReading, state: Piece) -> Pieces:
    """What is watched, where, and the moment that is shown."""
    run = reading.run
    command = printable(shlex.join(run.command)) if run.command else ""
    trees = f"tree {reading.tree}" + (
        f" ({run.trees.index(reading.tree) + 1} of {len(run.trees)})" if len(run.trees) > 1 else ""
    )
    when = format_time(reading.moment, milliseconds=False)
    about = printable(f"{' on ' if command else ''}{run.host}, {trees}")
    return [(when, "bold"), ("  ", ""), state, ("  ", ""), (command, "bold"), (about, "")]


def totals(reading: MomentReading, width: int) -> Pieces:
    """The tree's totals, and its memory during the last minute."""
    of = reading.totals
    pieces: Pieces = [("CPU ", _DIM), (cpus(of.cpu), "bold"), ("  memory ", _DIM)]
    pieces.append(("–" if of.memory is None else human_size(of.memory), "bold"))
    if of.limit is not None:
        pieces.append((f" of {human_size(of.limit)}", ""))
    pieces += [("  processes ", _DIM), ("–" if of.processes is None else f"{of.processes:.0f}", "bold")]
    cells = reading.minute.of("tree_memory")
    top = max((value for value in cells if value is not None), default=0.0)
    used = sum(len(text) for text, _ in pieces)
    room = next((size for size in (60, 30, 20) if size <= width - used - 2), 0)
    if room and top:
        pieces += [("  ", ""), (sparkline(cells, room, top), "cyan")]
    return pieces


def nothing_there(reading: MomentReading) -> str:
    """Why the table is empty."""
    if reading.span is None:
        return "no samples are stored yet"
    first, last = (format_time(each, milliseconds=False) for each in reading.span)
    return f"no process at this moment; there are samples from {first} to {last}"


def detail(row: ProcessRow) -> Pieces:
    """All of one process, its whole command line last."""
    known = [f"PID {row.pid}"]
    known += [] if row.ppid is None else [f"parent {row.ppid}"]
    known += [f"started {format_time(row.start, milliseconds=False)}"]
    known += [] if row.peak is None else [f"peak {human_size(row.peak)}"]
    known += [] if row.descriptors is None else [f"{row.descriptors:.0f} descriptors"]
    known += [row.note] if row.note else []
    return [(", ".join(known), _DIM), ("  ", ""), (printable(row.command_line or row.name), "")]


def events(reading: MomentReading, lines: int) -> list[Pieces]:
    """The last events up to the moment, those of its second bold, and the first two after it."""
    until = [event for event in reading.events if event.t <= reading.moment]
    after = reading.events[len(until) :][:_EVENTS_AFTER]
    return [_event(event, event.t - reading.moment) for event in (*until[len(after) - lines :], *after)]


def _event(event: RunEvent, seconds: float) -> Pieces:
    style = _DIM if seconds > 0 else "bold" if seconds > -1 else ""
    when = f"{format_time(event.t)[11:19]} {round(seconds):+4d} s"
    who = "" if event.pid is None else f"{event.pid} "
    return [(printable(f"{when}  {_EVENT_WORDS.get(event.type, event.type):<14} {who}{event.text}"), style)]
