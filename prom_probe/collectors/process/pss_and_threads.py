"""Expensive readings that are only made on request: each thread's files, and PSS."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable

from prom_probe.collectors.base import Context
from prom_probe.collectors.odd_rows import OddRows
from prom_probe.collectors.process.process import Image, Process
from prom_probe.sources.errors import ParseError
from prom_probe.sources.proc_pid_schedstat import parse_proc_pid_schedstat
from prom_probe.sources.proc_pid_smaps_rollup import parse_smaps_rollup
from prom_probe.sources.proc_pid_status import parse_task_status

# Seconds of a collection after which no further PSS is read.
_PSS_S = 0.005
# The CPU clock of a process whose clock cannot be read.
_UNKNOWN = -1

_GONE = (ProcessLookupError, FileNotFoundError)


class Threads:
    """Adds up the context switches and the run-queue delay of each process's threads.

    A thread that is gone is counted up to its last reading; one with a reused ID is counted from 0.
    """

    def __init__(self, say: Callable[[str], None], odd_rows: OddRows | None = None) -> None:
        self._say = say
        self._odd_rows = odd_rows or OddRows()
        self._odd = self._odd_rows.of("proc_pid_status")

    def read(self, processes: Iterable[Process]) -> None:
        """Read the threads of the processes that have run since the last time."""
        for process in processes:
            if process.cpu_ns == process.scanned_ns and process.cpu_ns != _UNKNOWN:
                continue
            if not process.zombie:
                try:
                    self._scan(process)
                except _GONE:
                    continue
                except OSError as error:
                    self._say(str(error))
                    continue
                except ParseError as error:
                    self._odd_rows.count_error(error)
                    continue
            process.scanned_ns = process.cpu_ns

    def _scan(self, process: Process) -> None:
        files, before = process.files, process.tasks
        tasks: dict[str, tuple[bytes, int, int, int]] = {}
        waits = True
        for tid in files.tasks():
            try:
                state, *switches = parse_task_status(files.task(tid, "status"), self._odd)
            except _GONE:
                continue
            seen = before.get(tid, (b"", 0, 0, 0))[1:3]
            voluntary, nonvoluntary = (old if new is None else new for old, new in zip(seen, switches, strict=True))
            try:
                waited = parse_proc_pid_schedstat(files.task(tid, "schedstat"))
            except _GONE:
                waited, waits = 0, False
            tasks[tid] = task = state, voluntary, nonvoluntary, waited
            last = before.get(tid)
            if last is None or task[1:] < (last[1], 0, 0):
                last = state, 0, 0, 0
            process.voluntary += max(0, voluntary - last[1])
            process.nonvoluntary += max(0, nonvoluntary - last[2])
            process.waited += max(0, waited - last[3])
        process.tasks = tasks
        process.waited_readable = waits or bool(process.waited)


class Pss:
    """Reads each process's PSS and USS again once they are older than the interval."""

    def __init__(self, context: Context, say: Callable[[str], None]) -> None:
        self._context = context
        self._say = say
        self._odd = context.odd_rows.of("proc_pid_smaps_rollup")
        self._queue: deque[Process] = deque()
        self.readable = True  # whether every process allowed it

    def read(self, processes: Collection[Process]) -> None:
        """Read the processes that are due, at least one and as many as there is time for."""
        now_s = self._context.monotonic()
        if not self._queue:
            self._queue.extend(process for process in processes if process.pss_at <= now_s and not process.zombie)
            self.readable = True
        end_s = self._context.monotonic() + _PSS_S
        while self._queue:
            process = self._queue.popleft()
            if process.image is not Image.OWN:
                continue
            process.pss_at = now_s + self._context.pss_interval_s
            self._take(process)
            if self._context.monotonic() >= end_s:
                break

    def _take(self, process: Process) -> None:
        process.pss = process.uss = -1
        if process.resident * self._context.page_bytes > self._context.pss_max_rss_bytes:
            return
        try:
            data = process.files.smaps_rollup()
            pss, uss = parse_smaps_rollup(data, self._odd) if data else (0, 0)
            process.pss, process.uss = -1 if pss is None else pss, -1 if uss is None else uss
        except _GONE:
            return
        except PermissionError:  # another uid's
            self.readable = False
        except OSError as error:
            self._say(str(error))
        except ParseError as error:
            self._context.odd_rows.count_error(error)
