"""The verdict of a soak: for each promise what was seen, the bound, and whether it held."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from statistics import fmean
from typing import NamedTuple

from tests.support.soak.record import Event, Record


class Row(NamedTuple):
    """One line of the table."""

    what: str
    seen: str
    bound: str
    good: bool


class Bound(NamedTuple):
    """The last third's mean may be `factor` times that of the first, and `more`; shown in units of `unit`."""

    factor: float
    more: float
    unit: float = 1
    name: str = ""

    def holds(self, first: float, last: float) -> bool:
        return last <= self.factor * first + self.more

    def __str__(self) -> str:
        factor = f"first x {self.factor:g} + " if self.factor != 1 else "first + "
        return f"{factor}{self.more / self.unit:g}{self.name}"


# By quantity of a process. The memory's allowance is what the allocator's holes vary by from one minute to the next.
BOUNDS = {
    "PSS": Bound(1.1, 2e6, 1e6, " MB"),
    "descriptors": Bound(1, 4),
    "threads": Bound(1, 1),
}

# The first tenth is left out: the store fills up, modules are imported.
WARM_UP = 0.1

# How long what was done to a worker explains that something is missing, before it (what was not yet written) and after.
BEFORE_S, AFTER_S = 2.0, 10.0

# What a collector's missing ticks may come from, beside the aggregator.
WORKERS = {"process": "process", "system": "system", "scrape": "scrape"}

# Log lines for everything that was done to the sidecar, and for its start and end.
LINES_PER_EVENT, LINES_ALWAYS = 6, 20


def judge(record: Record) -> list[Row]:
    """All rows; the soak has passed if all are good."""
    return [
        *_flat(record),
        *_complete(record),
        *_answered(record),
        *_logged(record),
        *_recovered(record),
    ]


def _flat(record: Record) -> Iterator[Row]:
    span = record.ended_s - record.begun_s
    first_from, first_to = record.begun_s + WARM_UP * span, record.begun_s + span / 3
    last_from = record.ended_s - span / 3
    values: dict[tuple[str, str], tuple[list[float], list[float]]] = {}
    for t_s, process, quantity, value in record.readings:
        first, last = values.setdefault((quantity, process), ([], []))
        if first_from <= t_s < first_to:
            first.append(value)
        elif t_s >= last_from:
            last.append(value)
    for quantity, bound in BOUNDS.items():
        for (found, process), (first, last) in sorted(values.items()):
            if found != quantity:
                continue
            if not first or not last:
                yield Row(f"{quantity}, {process}", "not there in the first or last third", str(bound), False)
                continue
            before, after = fmean(first), fmean(last)
            seen = f"{before / bound.unit:.1f} -> {after / bound.unit:.1f}{bound.name}"
            yield Row(f"{quantity}, {process}", seen, str(bound), bound.holds(before, after))


def _excused(events: list[Event], workers: set[str], t_s: float) -> bool:
    """Whether something befell one of these workers about this time."""
    return any(event.worker in workers and event.t_s - BEFORE_S <= t_s <= event.t_s + AFTER_S for event in events)


def _complete(record: Record) -> Iterator[Row]:
    for collector, times in sorted(record.ticks.items()):
        workers = {WORKERS[collector], "aggregator", "all"}
        expected = missing = unexplained = 0
        for before, after in pairwise([record.begun_s, *sorted(times), record.ended_s]):
            beats = round((after - before) / record.interval_s)
            expected += beats
            lost = [before + beat * record.interval_s for beat in range(1, beats)]
            missing += len(lost)
            unexplained += sum(not _excused(record.events, workers, t_s) for t_s in lost)
        counted = record.increase(f"overruns {collector}")
        seen = f"{unexplained} of {expected} ({missing - unexplained} more beside kills and reloads)"
        bound = f"{counted:g}, those counted as overrun"
        yield Row(f"ticks missing, {collector}", seen, bound, bool(times) and unexplained <= counted)


def _answered(record: Record) -> Iterator[Row]:
    for kind, asked in sorted(record.requests.items()):
        failed = [failure for failure in record.failures if failure.kind == kind]
        bad = [one for one in failed if not _excused(record.events, {"aggregator", "all"}, one.t_s)]
        seen = f"{len(bad)} of {asked:,} ({len(failed) - len(bad)} more as the aggregator was killed)"
        if bad:
            seen += f": {bad[0].text}"
        yield Row(f"failed, {kind}", seen, "0", asked > 0 and not bad)


def _logged(record: Record) -> Iterator[Row]:
    most = LINES_ALWAYS + LINES_PER_EVENT * len(record.events)
    lines = record.log.splitlines()
    yield Row("log lines", f"{len(lines)}", f"{most} for {len(record.events)} events", len(lines) <= most)
    kinds: Counter[str] = Counter()
    for line in lines:
        found = re.search(r' level=(\w+) .*?msg=("[^"]*"|\S+)', line)
        kinds[f"{found[1]}: {found[2].strip(chr(34))}" if found else f"no log line: {line[:60]}"] += 1
    for kind, count in kinds.most_common():
        rare = kind.startswith("no log line")
        bound = 0 if rare else most // 2
        yield Row(f"log, {kind}", f"{count}", f"{bound}", count <= bound)


def _recovered(record: Record) -> Iterator[Row]:
    """What was done was really done, and is over."""
    kills = len(record.happened("kill"))
    restarts = record.increase("restarts")
    yield Row("workers restarted", f"{restarts:g}", f"{kills}, as many as killed", restarts == kills)
    if record.happened("disk full"):
        errors = record.increase("disk errors")
        yield Row("writes refused by the full disk", f"{errors:g}", "at least 1", errors >= 1)
    for counter, what in (("ring drops", "frames dropped or damaged in rings"), ("log drops", "log lines dropped")):
        yield Row(what, f"{record.increase(counter):g}", "0", record.increase(counter) == 0)
    persistent = record.counters.get("persistent", [0])[-1]
    yield Row("written to disk at the end", f"{persistent:g}", "1", persistent == 1)
    yield Row("exit status", f"{record.status}", "0", record.status == 0)
    yield Row("processes left", ", ".join(record.left) or "none", "none", not record.left)
    yield Row("what is stored is intact", record.stored or "yes", "yes", not record.stored)


def table(rows: list[Row]) -> str:
    """As Markdown."""
    lines = [f"| {row.what} | {row.seen} | {row.bound} | {'ok' if row.good else 'FAIL'} |" for row in rows]
    return "\n".join(["| what | seen | bound | |", "|---|---|---|---|", *lines])
