"""Reads the files of a tree's processes, each as often as it is worth what it costs."""

from __future__ import annotations

from collections.abc import Callable
from time import clock_gettime_ns

from prom_probe.collectors.member import Process
from prom_probe.sources.errors import ParseError
from prom_probe.sources.proc_pid_io import parse_proc_pid_io
from prom_probe.sources.proc_pid_limits import parse_max_fds
from prom_probe.sources.proc_pid_schedstat import parse_proc_pid_schedstat
from prom_probe.sources.proc_pid_stat import parse_proc_pid_stat
from prom_probe.sources.proc_pid_statm import parse_proc_pid_statm
from prom_probe.sources.proc_pid_status import parse_proc_pid_status

_GONE = (ProcessLookupError, FileNotFoundError)

# A process whose CPU clock stands still has done nothing: its times, faults, IO and descriptors are what they were;
# only its memory can have changed, by being swapped out. All is read again after this many collections even so (a few
# more for some, so that the work is spread).
_REST = 16
_SPREAD = 16
# Where more than this many run, what costs is read in turn, but at least in one of so many collections: IO, descriptors
# and the run queue's delay; memory of one whose stat is the same; and, every second turn, all but memory of one that
# ran for less than a tenth of a tick since all of it was read.
_EACH_TIME = 12
_MOST_TURNS = 8
_LITTLE_NS = 1_000_000
# The memory of those that rest is read in turn too. To rest is not to have run for longer than that since it was read:
# the kernel gives 4 MiB in it at most.
_NEXT_TO_NOTHING_NS = 200_000
# Collections between two readings of what a running process's memory is made of: more where many run, so that no more
# than about _STATUS_AT_ONCE are read in one, also after all of them have woken up together.
_STATUS_EVERY = 8
_STATUS_AT_ONCE = 1
_STATUS_MOST = 60
# The same of its limits, in those.
_LIMITS_EVERY = 4
# What is read in turn. Where many run, one of these in a collection, of all whose turn it has been since the last time:
# the first system call of a kind takes several times as long as the second.
_KINDS = _IO, _FDS, _WAITED = 1, 2, 4
_ALL_KINDS = sum(_KINDS)
# At least so many collections from one that puts off what is read in turn to the next such one.
_SELDOM = 16
_NEVER = 1 << 40  # more than any PID


class ProcessReader:
    """Fills `Process`es. `say` is given what cannot be read for a strange reason."""

    def __init__(self, *, clocks: bool, main_thread_waits: bool, say: Callable[[str], None]) -> None:
        """`clocks`: a PID names a CPU clock here. `main_thread_waits`: whether its schedstat is wanted."""
        self._clocks = clocks
        self._main_thread_waits = main_thread_waits
        self._say = say
        self._beat = 0
        self._turns = 1  # it is a process's turn where its PID and `_turn` add up to a multiple of that
        self._little_turns = 1  # the same for all of those that ran little
        self._kinds = _ALL_KINDS  # what may be read of those whose turn it was
        self._turn = 0
        self._rest_turns = 1  # the same for the memory of those that rest
        self._resting = 0
        self._status_every = _STATUS_EVERY
        self._status_left = 1  # that may be read in this collection
        self._ran = 0
        self._put_off = -_SELDOM  # the beat at which what is read in turn last waited for the next collection

    def begin(self, *, busy: bool = False, looked: bool = False) -> None:
        """A new collection; a `busy` one has cost much already: what can wait does, where it has not just waited.

        One that has `looked` at a process that is no member has cost as much as reading a status: one less is read.
        """
        light = busy and self._beat - self._put_off >= _SELDOM
        if light:
            self._put_off = self._beat
        else:
            self._beat += 1
        self._turn, self._turns = self._beat, min(-(-self._ran // _EACH_TIME) or 1, _MOST_TURNS)
        self._rest_turns = min(-(-self._resting // _EACH_TIME) or 1, _MOST_TURNS)
        if light:
            self._turn = 1
            self._turns, self._rest_turns = (_NEVER if turns > 1 else 1 for turns in (self._turns, self._rest_turns))
        self._little_turns = 2 * self._turns if self._turns > 1 else 1
        if self._turns == 1:
            self._kinds = _ALL_KINDS
        else:
            self._kinds = 0 if light else 1 << self._beat % len(_KINDS)
        self._status_every = min(max(_STATUS_EVERY, self._ran // _STATUS_AT_ONCE), _STATUS_MOST)
        self._status_left = 0 if light else max(1, -(-self._ran // self._status_every) - looked)
        self._ran = self._resting = 0

    def read(self, process: Process) -> bool:
        """Read what is due; False where the process is gone. What cannot be read for another reason stays as it was."""
        try:
            # The clock comes first: what happens after it shows in the next reading of the clock.
            cpu_ns = clock_gettime_ns(process.clock) if self._clocks else -1
        except OSError:
            cpu_ns = -1  # it is gone, or the kernel does not have such clocks
        try:
            ran_ns = cpu_ns - process.cpu_ns
            if ran_ns:
                self._ran += 1
            known = cpu_ns != -1 and process.cpu_ns != -1 and process.rested < _REST + process.pid % _SPREAD
            # Less than nothing: its PID is another's.
            if known and (not ran_ns or (0 < ran_ns < _LITTLE_NS and (self._turn + process.pid) % self._little_turns)):
                self._rest(process, cpu_ns)
                return True
            data = process.files.stat()
            same = data == process.stat_data
            if not same:
                stat = parse_proc_pid_stat(data)
                if stat.starttime != process.start:
                    return False
                process.count(stat)
                process.stat_data = data
                process.touch()
            elif process.gained:
                process.gained = []
            process.seen += 1
            self._read_rest(process, same, cpu_ns)
            process.cpu_ns = cpu_ns
            process.rested = 0
        except _GONE:
            return False
        except (OSError, ParseError) as error:
            self._say(str(error))
        return True

    def _rest(self, process: Process, cpu_ns: int) -> None:
        """It has done little or nothing since it was read."""
        process.seen += 1
        process.rested += 1
        if process.gained:
            process.gained = []
        if process.zombie:
            return
        self._resting += 1
        if process.unread & self._kinds:
            self._read_kinds(process, process.unread & self._kinds)
        if (self._turn + process.pid) % self._rest_turns and cpu_ns - process.memory_ns < _NEXT_TO_NOTHING_NS:
            return
        self._read_statm(process, cpu_ns)

    def _read_statm(self, process: Process, cpu_ns: int) -> None:
        data = process.files.statm()
        process.memory_ns = cpu_ns
        if data != process.statm_data:
            virtual, resident, shared = parse_proc_pid_statm(data)
            process.statm_data = data
            process.virtual, process.resident, process.shared = virtual, resident, min(shared, resident)
            process.touch()

    def _read_rest(self, process: Process, same: bool, cpu_ns: int) -> None:
        """What is not in stat, which is the `same` as before."""
        all_of_it = not process.whole or process.rested >= _REST
        turn = all_of_it or (self._turn + process.pid) % self._turns == 0
        if same and not turn:
            return
        try:
            if turn:
                process.unread = _ALL_KINDS
            kinds = process.unread & (_ALL_KINDS if all_of_it or process.zombie else self._kinds)
            if process.gained:
                kinds |= _IO  # the child's IO came with it: it is counted in the same collection
            if kinds:
                self._read_kinds(process, kinds)
            if process.zombie:
                if not process.whole:
                    _empty(process)
                    process.whole = True
                return
            self._read_statm(process, cpu_ns)
            if all_of_it or (
                process.status_due <= self._beat and self._status_left > 0 and not self._puts_off(process)
            ):
                self._status_left -= 1
                self._read_status(process)
        except _GONE:
            pass  # since its stat was read: the next collection misses it

    def _puts_off(self, process: Process) -> bool:
        """Whether its memory is as large as when its status was read: then that is read every second time."""
        if process.status_of != process.statm_data:
            return False
        process.status_of = b""
        process.status_due = self._beat + self._status_every
        return True

    def _read_kinds(self, process: Process, kinds: int) -> None:
        """Read those; a zombie has no descriptors."""
        process.unread &= ~kinds
        if kinds & _IO:
            self._read_io(process)
        if kinds & _FDS and not process.zombie:
            self._read_fds(process)
        if kinds & _WAITED and self._main_thread_waits:
            self._read_waited(process)

    def _read_io(self, process: Process) -> None:
        try:
            read, write = parse_proc_pid_io(process.files.io())
        except PermissionError:  # another uid's
            readable = False
        except FileNotFoundError:
            process.files.stat()  # raises where it is the process that is gone
            readable = False  # a kernel without task IO accounting
        else:
            readable = True
            if (read, write) != (process.read, process.write):
                process.count_io(read, write)
                process.touch()
        if readable != process.io_readable:
            process.io_readable = readable
            process.touch()

    def _read_fds(self, process: Process) -> None:
        try:
            open_fds = process.files.open_fds()
        except PermissionError:
            readable = False
        else:
            readable = True
            if open_fds != process.open_fds:
                process.open_fds = open_fds
                process.fds_ratio = _ratio(process)
                process.touch()
        if readable != process.fds_readable:
            process.fds_readable = readable
            process.touch()

    def _read_waited(self, process: Process) -> None:
        try:
            waited = parse_proc_pid_schedstat(process.files.schedstat())
        except FileNotFoundError:
            process.files.stat()
            readable = False  # a kernel without CONFIG_SCHED_INFO
        else:
            readable = True
            if waited != process.waited:
                process.waited = waited
                process.touch()
        if readable != process.waited_readable:
            process.waited_readable = readable
            process.touch()

    def _read_status(self, process: Process) -> None:
        files = process.files
        try:
            peak, shmem, swap = parse_proc_pid_status(files.status())
            process.memory_readable = shmem is not None or process.resident == 0
            process.peak, process.shmem, process.swap = peak or 0, shmem or 0, swap or 0
        except FileNotFoundError:
            files.stat()  # raises where it is the process that is gone
            process.memory_readable = False
        if not process.whole or process.limits_due <= self._beat:
            self._read_limits(process)
            process.limits_due = self._beat + self._status_every * _LIMITS_EVERY
        process.status_due = self._beat + self._status_every
        process.status_of = process.statm_data
        if not process.whole:  # it has been read with others: from now on in turn
            process.status_due += process.pid % self._status_every
            process.limits_due += process.pid % _LIMITS_EVERY * self._status_every
        process.whole = True
        process.touch()

    def _read_limits(self, process: Process) -> None:
        try:
            process.max_fds = parse_max_fds(process.files.limits()) or 0
        except (FileNotFoundError, PermissionError):
            process.max_fds = 0
        process.fds_ratio = _ratio(process)


def _ratio(process: Process) -> float:
    return process.open_fds / process.max_fds if process.max_fds else -1.0


def _empty(process: Process) -> None:
    """A zombie has none of it."""
    process.threads = process.resident = process.shared = process.virtual = process.open_fds = 0
    process.shmem = process.swap = process.max_fds = 0
    process.fds_ratio = -1.0
    process.pss = process.uss = 0
    process.tasks = {}
    process.statm_data = b""
    process.touch()
