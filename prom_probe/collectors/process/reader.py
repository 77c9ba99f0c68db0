"""Reads the files of all trees' processes: in each collection, every file of each process that ran."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import nlargest

from prom_probe.collectors.odd_rows import OddRows
from prom_probe.collectors.process.process import ZOMBIE, Image, Process
from prom_probe.sources.errors import ParseError
from prom_probe.sources.proc_pid_io import SOURCE, parse_proc_pid_io
from prom_probe.sources.proc_pid_limits import parse_max_fds
from prom_probe.sources.proc_pid_schedstat import parse_proc_pid_schedstat
from prom_probe.sources.proc_pid_stat import ProcPidStat, parse_proc_pid_stat
from prom_probe.sources.proc_pid_statm import parse_proc_pid_statm
from prom_probe.sources.proc_pid_status import parse_proc_pid_status

# Collections between two readings of a process's status (peak, swap) while its shared memory stays the same.
_STATUS_EVERY = 8
# Collections between two readings of its limits, and of all files of a process that does not run.
_ALL_EVERY = 32
# The largest processes of a tree whose status is read in each collection in which they have run.
_LARGEST = 3
# A process has changed much if its resident memory has changed by this part or by so many pages, or if it has had so
# many page faults: with huge pages, few of them are much memory.
_MUCH_PART = 10
_MUCH_PAGES = 4096
_MUCH_FAULTS = 8
_NO_CLOCK = -1
_GONE = (ProcessLookupError, FileNotFoundError)


class ProcessReader:
    """Fills `Process`es.

    A process whose CPU clock has not moved has done nothing: its times, faults, IO and descriptors are unchanged, and
    its run-queue delay is only accounted for when it gets a CPU. Its memory may be swapped out, so that is read all the
    same. A file that says what it said the last time is not parsed again: with 50 processes that were woken up and did
    nothing else, that is a fifth of a collection.
    """

    def __init__(
        self,
        *,
        read_clock: Callable[[int], int] | None,
        main_thread_waits: bool,
        say: Callable[[str], None],
        odd_rows: OddRows | None = None,
    ) -> None:
        """`read_clock` returns the CPU clock of a PID; None where PIDs are not those of our namespace.
        `main_thread_waits`: whether the main thread's schedstat is read. `say` logs unexpected errors.
        """
        self._read_clock = read_clock
        self._say = say
        self._odd_rows = odd_rows or OddRows()
        self._collection = 0
        self._zombie_files = [_read_io, _read_waited] if main_thread_waits else [_read_io]
        self._files = [*self._zombie_files, _read_fds, _read_memory]

    def read(self, processes: Iterable[Process]) -> list[Process]:
        """Read these processes, parents before their children; returns those that are gone.

        A process that cannot be read for another reason keeps its earlier readings.
        """
        self._collection += 1
        gone = []
        for process in processes:
            process.gained = []
            process.resident_before, process.risen, process.ran = process.resident, 0, False
            # The clock comes before the files, so that the next collection sees what happens meanwhile.
            cpu_ns = self._clock_ns(process.pid)
            turn = self._collection + process.pid
            ran = cpu_ns != process.cpu_ns or cpu_ns == _NO_CLOCK or turn % _ALL_EVERY == 0
            if ran:
                try:
                    _read_stat(process)
                except _GONE:
                    gone.append(process)
                    continue
                except OSError as error:
                    self._say(str(error))
                    continue
                except ParseError as error:
                    self._odd_rows.count_error(error)
                    continue
                process.cpu_ns, process.ran = cpu_ns, True
            self._read_others(process, ran, turn)
        return gone

    def _read_others(self, process: Process, ran: bool, turn: int) -> None:
        """Read the other files of a process."""
        if process.zombie:
            for read in self._zombie_files if ran else ():
                self._try(read, process)
            return
        for read in self._files if ran else (_read_memory,):
            self._try(read, process)
        if not process.whole or turn % _STATUS_EVERY == 0 or _has_changed_much(process):
            self._read_status(process)
        if not process.whole or turn % _ALL_EVERY == 0:
            self._try(_read_limits, process)
        process.whole = True

    def read_peaks(self, processes: Iterable[Process]) -> None:
        """Read the peaks of the largest processes of a tree, of those that may have one since they were read."""
        running = [process for process in processes if process.ran and not process.zombie]
        for process in nlargest(_LARGEST, running, key=_resident):
            if process.status_at != self._collection:
                self._read_status(process)

    def reread(self, process: Process) -> None:
        """Read a new process once more: it may have executed another program since it was read."""
        if process.gained:  # a second reading of what it has reaped would hide the first
            return
        process.borrow(Image.OWN)  # what was read of it may have been its parent's
        self._try(_read_stat, process)
        if not process.zombie:
            self._try(_read_memory, process)
            self._read_status(process)

    def _read_status(self, process: Process) -> None:
        self._try(_read_status, process)
        process.status_at, process.status_shared = self._collection, process.shared
        process.status_resident, process.status_faults = process.resident, process.faults

    def _clock_ns(self, pid: int) -> int:
        if self._read_clock is None:
            return _NO_CLOCK
        try:
            return self._read_clock(pid)
        except OSError:  # gone, or a kernel without such clocks
            return _NO_CLOCK

    def _try(self, read: Callable[[Process], None], process: Process) -> None:
        """Read a file; one that cannot be read does not affect the others."""
        try:
            read(process)
        except _GONE:
            pass  # after its stat was read, which may include what it reaped: the next collection finds it gone
        except OSError as error:
            self._say(str(error))
        except ParseError as error:
            self._odd_rows.count_error(error)


def _read_stat(process: Process) -> None:
    data = process.files.stat()
    if data == process.stat_text:  # it woke up and did nothing that counts
        return
    process.stat_text = b""
    stat = parse_proc_pid_stat(data)
    if stat.starttime != process.start:
        raise ProcessLookupError  # its PID has been reused
    if stat.state in ZOMBIE and stat.num_threads > 1:
        stat = _follow_thread(process, stat)
    else:
        process.stat_text = data
    process.count(stat)
    if process.zombie:
        process.empty()


def _follow_thread(process: Process, stat: ProcPidStat) -> ProcPidStat:
    """Its main thread has ended, and has neither memory nor descriptors any more: read those of a live one.

    Returns `stat` with that thread's state and stack.
    """
    files = process.files
    for tid in dict.fromkeys((files.thread, *files.tasks())):
        try:
            thread = parse_proc_pid_stat(files.task(tid, "stat")) if tid else stat
        except _GONE:
            continue
        if thread.state not in ZOMBIE:
            files.follow(tid)
            return stat._replace(state=thread.state, startstack=thread.startstack)
    return stat


def _resident(process: Process) -> int:
    return process.resident


def _has_changed_much(process: Process) -> bool:
    """Whether its status may say something else than when it was last read."""
    if process.shared != process.status_shared or process.faults - process.status_faults >= _MUCH_FAULTS:
        return True
    changed = abs(process.resident - process.status_resident)
    return changed >= _MUCH_PAGES or changed * _MUCH_PART > process.status_resident


def _read_io(process: Process) -> None:
    """After its stat, in the same collection, so that both include the same reaped children."""
    try:
        data = process.files.io()
        process.io_readable = True
        if data == process.io_text:
            return
        read, written = parse_proc_pid_io(data)
        process.count_io(process.read if read is None else read, process.write if written is None else written)
        if read is None or written is None:
            raise ParseError(SOURCE, data)
        process.io_text = data
    except PermissionError:  # of another uid
        process.io_readable = False
    except FileNotFoundError:  # a kernel without task IO accounting, or gone
        process.files.stat()
        process.io_readable = False


def _read_fds(process: Process) -> None:
    try:
        process.open_fds = process.files.open_fds()
        process.fds_readable = True
    except PermissionError:
        process.fds_readable = False


def _read_waited(process: Process) -> None:
    try:
        process.waited = parse_proc_pid_schedstat(process.files.schedstat())
        process.waited_readable = True
    except FileNotFoundError:  # a kernel without CONFIG_SCHED_INFO, or gone
        process.files.stat()
        process.waited_readable = False


def _read_memory(process: Process) -> None:
    data = process.files.statm()
    if data == process.statm_text:
        return
    process.virtual, process.resident, shared = parse_proc_pid_statm(data)
    process.statm_text = data
    process.shared = min(shared, process.resident)


def _read_status(process: Process) -> None:
    try:
        peak, shmem, swap = parse_proc_pid_status(process.files.status())
        process.memory_readable = shmem is not None or process.resident == 0
        process.shmem, process.swap = shmem or 0, swap or 0
        process.count_peak(peak or 0)
    except FileNotFoundError:
        process.files.stat()  # raises if the process is gone
        process.memory_readable = False


def _read_limits(process: Process) -> None:
    try:
        process.max_fds = parse_max_fds(process.files.limits()) or 0
    except (FileNotFoundError, PermissionError):
        process.max_fds = 0
