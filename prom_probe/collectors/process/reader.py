"""Reads the files of a tree's processes, each as often as it is worth what it costs."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection
from operator import ne
from time import clock_gettime_ns

from prom_probe.collectors.process.process import Process
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
# more for some, so that the work is spread, and of one part in so many of them in a collection).
_REST = 17
_SPREAD = 16
_REST_PART = 12
# Where more than this many run, what costs is read in turn, but at least in one of so many collections: IO, descriptors
# and the run queue's delay; and memory of one whose stat is the same.
_EACH_TIME = 12
_MOST_TURNS = 8
# Of one that ran for less than a tenth of a tick since its stat was read, all but memory is read in turns of its own.
_LITTLE_NS = 1_000_000
_LITTLE_EACH_TIME = 3
_MOST_LITTLE_TURNS = 16
# The memory of those that rest is read in turn too. To rest is not to have run for longer than that since it was read:
# the kernel gives 4 MiB in it at most.
_NEXT_TO_NOTHING_NS = 200_000
# Collections between two readings of what a running process's memory is made of: as many as there are of those that
# run, so that one is read in each collection, but no more than the second number; then it is more than one.
_STATUS_EVERY = 8
_STATUS_MOST = 60
# The same of its limits, in those.
_LIMITS_EVERY = 4
# What is read in turn. Where many run, one of these in a collection, of all whose turn it has been since the last time:
# the first system call of a kind takes several times as long as the second.
_KINDS = _IO, _FDS, _WAITED = 1, 2, 4
_ALL_KINDS = sum(_KINDS)
# Besides those: whether it is a zombie, of which nothing else is read; whether it has had a member as its child: then
# its IO, which may have a reaped child's in it, is read with its stat, which tells of that.
_ZOMBIE, _PARENT = 8, 16
# At least so many collections from one that puts off what is read in turn to the next such one.
_SELDOM = 16
_NEVER = 1 << 40  # more than any PID


class ProcessReader:
    """Fills `Process`es: parents before their children, in the order in which they have joined.

    What each beat looks at is in columns, side by side: after a second of others' work no cache has any of it, and what
    a beat touches has to be fetched.
    """

    def __init__(self, *, clocks: bool, main_thread_waits: bool, say: Callable[[str], None]) -> None:
        """`clocks`: a PID names a CPU clock here. `main_thread_waits`: whether its schedstat is wanted. `say` is given
        what cannot be read for a strange reason."""
        self._clocks = clocks
        self._main_thread_waits = main_thread_waits
        self._say = say
        self._processes: list[Process] = []
        # The columns, by place in that list.
        self._pids = array("i")
        self._clock_ids = array("i")  # its CPU clock (clock_getcpuclockid(3)), in our PID namespace
        self._cpu_ns = array("q")  # what that said before stat was read; -1: it is read whatever the clock says
        self._memory_ns = array("q")  # what it said before statm was read
        self._due = array("q")  # the beat from which on all of it is read in any case
        self._flags = bytearray()  # the kinds that it has not had since its turn, and what it is
        self._gainers: list[Process] = []  # with `gained`
        self._beat = 0
        self._turns = 1  # it is a process's turn where its PID and `_turn` add up to a multiple of that
        self._little_turns = 1  # the same for all of those that ran little
        self._kinds = _ALL_KINDS  # what may be read of those whose turn it was
        self._turn = 0
        self._rest_turns = 1  # the same for the memory of those that rest
        self._resting = 0
        self._again_left = 0  # that are read although they rest, in this collection
        self._status_every = _STATUS_EVERY
        self._status_left = 1  # that may be read in this collection
        self._put_off = -_SELDOM  # the beat at which what is read in turn last waited for the next collection

    def join(self, process: Process) -> None:
        """It is read from now on."""
        self._processes.append(process)
        self._pids.append(process.pid)
        self._clock_ids.append((~process.pid << 3) | 2)
        for column in (self._cpu_ns, self._memory_ns, self._due):
            column.append(-1)
        self._flags.append(0)

    def leave(self, process: Process) -> None:
        """It is read no more."""
        place = self._processes.index(process)
        del self._processes[place], self._flags[place]
        for column in self._columns:
            del column[place]

    def arrange(self, processes: Collection[Process]) -> None:
        """Read the same ones in this order from now on."""
        places = {process: place for place, process in enumerate(self._processes)}
        order = [places[process] for process in processes]
        self._processes = list(processes)
        for column in self._columns:
            column[:] = array(column.typecode, [column[place] for place in order])
        self._flags[:] = bytes([self._flags[place] for place in order])
        for process in processes:  # who has joined late may have children here
            self._mark_parent(process.ppid)

    def renew(self, process: Process) -> None:
        """The next collection reads its stat, whether it has run or not."""
        self._cpu_ns[self._processes.index(process)] = process.cpu_ns = -1

    def _mark_parent(self, pid: int) -> None:
        if pid in self._pids:
            self._flags[self._pids.index(pid)] |= _PARENT

    @property
    def _columns(self) -> tuple[array[int], ...]:
        return self._pids, self._clock_ids, self._cpu_ns, self._memory_ns, self._due

    def read(self, *, busy: bool = False, looked: bool = False) -> list[Process]:
        """Read what is due; those that are gone. What cannot be read for another reason stays as it was.

        A `busy` collection has cost much already: what can wait does, where it has not just waited. One that has
        `looked` at a process that is no member has cost as much as reading a status: one less is read.
        """
        readings = self._read_clocks()
        self._plan(sum(map(ne, readings, self._cpu_ns)), busy, looked)
        for process in self._gainers:
            process.gained = []
        self._gainers.clear()
        beat, turn, kinds = self._beat, self._turn, self._kinds
        little_turns, rest_turns = self._little_turns, self._rest_turns
        gone: list[Process] = []
        resting, again_left = 0, self._again_left
        rows = zip(readings, self._cpu_ns, self._memory_ns, self._due, self._pids, self._flags, strict=True)
        for place, (cpu_ns, before_ns, memory_ns, due, pid, flags) in enumerate(rows):
            ran_ns = cpu_ns - before_ns
            again = due <= beat and again_left > 0
            # Less than nothing: its PID is another's, or there is no clock.
            much = ran_ns and (not 0 < ran_ns < _LITTLE_NS or not (turn + pid) % little_turns)
            if much or again or before_ns < 0:
                again_left -= again
                there = self._read_stat(place, cpu_ns)
            elif flags & _ZOMBIE:
                continue
            else:
                resting += 1
                memory = not (turn + pid) % rest_turns or cpu_ns - memory_ns >= _NEXT_TO_NOTHING_NS
                if not memory and not flags & kinds:
                    continue
                there = self._read_resting(place, cpu_ns, flags & kinds, memory)
            if not there:
                gone.append(self._processes[place])
                readings[place] = -1
        self._resting = resting
        if self._gainers and self._clocks:
            gone += self._find_reaped(readings)
        return gone

    def _find_reaped(self, readings: list[int]) -> list[Process]:
        """Those that are gone since their clock was read: who has reaped them may have brought their time already."""
        gone = []
        for place, (before_ns, cpu_ns) in enumerate(zip(readings, self._read_clocks(), strict=True)):
            if cpu_ns == -1 != before_ns and not self._read_stat(place, cpu_ns):
                gone.append(self._processes[place])
        return gone

    def _plan(self, ran: int, busy: bool, looked: bool) -> None:
        """How much of what is due is read in this collection, of which so many have `ran` since their stat was read."""
        light = busy and self._beat - self._put_off >= _SELDOM
        if light:
            self._put_off = self._beat
        else:
            self._beat += 1
        self._turn = 1 if light else self._beat
        self._turns = min(-(-ran // _EACH_TIME) or 1, _MOST_TURNS)
        self._rest_turns = min(-(-self._resting // _EACH_TIME) or 1, _MOST_TURNS)
        self._little_turns, self._kinds = 1, _ALL_KINDS
        if self._turns > 1:
            self._little_turns = min(ran // _LITTLE_EACH_TIME, _MOST_LITTLE_TURNS)
            self._kinds = 1 << self._beat % len(_KINDS)
        self._again_left = 0 if light else 1 + len(self._processes) // _REST_PART
        if light and self._turns > 1:
            self._turns = self._little_turns = _NEVER
            self._kinds = 0
        if light and self._rest_turns > 1:
            self._rest_turns = _NEVER
        self._status_every = min(max(_STATUS_EVERY, ran), _STATUS_MOST)
        self._status_left = 0 if light else max(1, -(-ran // self._status_every) - looked)

    def _read_clocks(self) -> list[int]:
        """What they say, -1 where that is nothing: before all else, so that what happens later shows the next time."""
        count = len(self._processes)
        if not self._clocks:
            return [-1] * count
        readings: list[int] = []
        clocks = iter(self._clock_ids)
        while len(readings) < count:
            try:
                readings.extend(map(clock_gettime_ns, clocks))
            except OSError:  # it is gone, or the kernel does not have such clocks
                readings.append(-1)
        return readings

    def _read_stat(self, place: int, cpu_ns: int) -> bool:
        """Its stat, and what is due besides; False where the process is gone."""
        process = self._processes[place]
        try:
            data = process.files.stat()
            same = data == process.stat_data
            if not same:
                stat = parse_proc_pid_stat(data)
                if stat.starttime != process.start:
                    return False
                if stat.ppid != process.ppid:
                    self._mark_parent(stat.ppid)
                process.count(stat)
                process.stat_data = data
                process.touch()
                if process.gained:
                    self._gainers.append(process)
            self._read_rest(process, place, same, cpu_ns)
            self._cpu_ns[place] = process.cpu_ns = cpu_ns
            self._due[place] = self._beat + _REST + process.pid % _SPREAD
        except _GONE:
            return False
        except (OSError, ParseError) as error:
            self._say(str(error))
        return True

    def _read_resting(self, place: int, cpu_ns: int, kinds: int, memory: bool) -> bool:
        """That of one which has done little or nothing since its stat was read; False where it is gone."""
        process = self._processes[place]
        try:
            if kinds:
                self._read_kinds(process, place, kinds)
            if memory:
                self._read_statm(process, place, cpu_ns)
        except _GONE:
            return False
        except (OSError, ParseError) as error:
            self._say(str(error))
        return True

    def _read_statm(self, process: Process, place: int, cpu_ns: int) -> None:
        data = process.files.statm()
        self._memory_ns[place] = cpu_ns
        if data != process.statm_data:
            virtual, resident, shared = parse_proc_pid_statm(data)
            process.statm_data = data
            process.virtual, process.resident, process.shared = virtual, resident, min(shared, resident)
            process.touch()

    def _read_rest(self, process: Process, place: int, same: bool, cpu_ns: int) -> None:
        """What is not in stat, which is the `same` as before."""
        all_of_it = not process.whole or self._due[place] <= self._beat
        little = cpu_ns - self._cpu_ns[place] < _LITTLE_NS  # it is read because it is its turn
        turn = all_of_it or little or (self._turn + process.pid) % self._turns == 0
        if same and not turn:
            return
        parent = self._flags[place] & _PARENT
        unread = _ALL_KINDS if turn else self._flags[place] & _ALL_KINDS
        self._flags[place] = unread | _ZOMBIE * process.zombie | parent
        kinds = unread & (_ALL_KINDS if all_of_it or process.zombie else self._kinds)
        if parent:
            kinds |= unread & _IO
        if process.gained:
            kinds |= _IO  # the child's IO came with it: it is counted in the same collection
        try:
            if kinds:
                self._read_kinds(process, place, kinds)
            if process.zombie:
                if not process.whole:
                    _empty(process)
                    process.whole = True
                return
            self._read_statm(process, place, cpu_ns)
            if all_of_it:
                self._read_status(process)
                if not process.whole or process.limits_due <= self._beat:
                    self._read_limits(process)
                if not process.whole:  # it has been read with others: from now on in turn
                    process.status_due += process.pid % self._status_every
                    process.limits_due += process.pid % _LIMITS_EVERY * self._status_every
                    process.whole = True
            elif process.status_due <= self._beat and self._status_left > 0:
                self._status_left -= self._read_slow(process)
        except _GONE:
            pass  # since its stat was read: the next collection misses it

    def _read_slow(self, process: Process) -> bool:
        """Its status, every second time where its memory is as large as when that was read; else its limits, if they
        are due by about the next time. False where that is neither."""
        if process.status_of != process.statm_data:
            self._read_status(process)
            if process.limits_due <= self._beat:
                self._read_limits(process)
            return True
        process.status_of = b""
        process.status_due = self._beat + self._status_every
        if process.limits_due > process.status_due + self._status_every // 2:
            return False
        self._read_limits(process)
        return True

    def _read_kinds(self, process: Process, place: int, kinds: int) -> None:
        """Read those; a zombie has no descriptors."""
        self._flags[place] &= ~kinds
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
        process.status_due = self._beat + self._status_every
        process.status_of = process.statm_data
        process.touch()

    def _read_limits(self, process: Process) -> None:
        try:
            max_fds = parse_max_fds(process.files.limits()) or 0
        except (FileNotFoundError, PermissionError):
            max_fds = 0
        if max_fds != process.max_fds:
            process.max_fds = max_fds
            process.fds_ratio = _ratio(process)
            process.touch()
        process.limits_due = self._beat + self._status_every * _LIMITS_EVERY


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
