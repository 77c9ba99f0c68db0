"""The account of a tree's CPU time and IO: nothing lost when a process dies, nothing counted twice when it is reaped.

A process's time is its own plus its reaped children's. When it is gone, what it was last seen with is held. If a parent
in a tree reaped it, its time comes back as the parent's, and is held no longer; if init did, or nobody because SIGCHLD
is ignored, it does not come back.

Parents are read before their children. So a child that is gone has been reaped either before its parent was read, and
the parent's reading holds its time, or after, and the next one will: a departed child waits for two readings. Who
ignores SIGCHLD gains nothing in either. Where parent and child are both gone, the grandparent gains the child's time
only if the parent had reaped it. The page faults tell that: `wait` adds them up just as it does time and IO, every
process has some hundreds, and they are exact where ticks are coarse.
"""

from prom_probe.sources.proc_pid_stat import ProcPidStat
from prom_probe.sources.process_files import ProcessFiles

_ZOMBIE = (b"Z", b"X")


class Departed:
    """What is held of a vanished process and may come back with its reaper's readings."""

    __slots__ = ("direct", "faults", "fresh", "read", "system", "user", "write")

    def __init__(self, process: "Process") -> None:
        self.user = process.user + process.child_user
        self.system = process.system + process.child_system
        self.read = process.read
        self.write = process.write
        self.faults = process.faults + process.child_faults
        self.direct = True  # a child of the process that it may come back with
        self.fresh = True  # has waited for one reading at most


class Tree:
    """The counters of a tree: what its live processes add up to, and what is held of those that are gone.

    `counters` and `held` are user and system ticks, read and written bytes. The other numbers are of the collection
    between `begin` and `end`.
    """

    __slots__ = (
        "counters",
        "denied_fds",
        "denied_io",
        "held",
        "oldest",
        "open_fds",
        "peak_processes",
        "peak_resident",
        "processes",
        "processes_seen",
        "read",
        "resident",
        "start",
        "system",
        "threads",
        "user",
        "virtual",
        "write",
    )

    def __init__(self) -> None:
        self.held = [0, 0, 0, 0]
        self.counters = (0, 0, 0, 0)
        self.processes_seen = self.peak_processes = self.peak_resident = 0
        self.begin()

    def begin(self) -> None:
        self.processes = self.threads = self.resident = self.virtual = self.open_fds = 0
        self.user = self.system = self.read = self.write = 0
        self.denied_io = self.denied_fds = 0
        self.start = self.oldest = 0

    def add(self, process: "Process") -> None:
        """Add what was last read of a process."""
        self.processes += 1
        self.threads += process.threads
        self.resident += process.resident
        self.virtual += process.virtual
        self.open_fds += process.open_fds
        self.user += process.user + process.child_user
        self.system += process.system + process.child_system
        self.read += process.read
        self.write += process.write
        if not process.io_readable:
            self.denied_io += 1
        if not process.fds_readable:
            self.denied_fds += 1
        if process.start < self.start or not self.start:
            self.start, self.oldest = process.start, process.pid

    def hold(self, user: int, system: int, read: int, write: int) -> None:
        """Count this from now on although no live process has it; negative: a live process has it too."""
        held = self.held
        held[0] += user
        held[1] += system
        held[2] += read
        held[3] += write

    def end(self) -> None:
        self.peak_processes = max(self.peak_processes, self.processes)
        self.peak_resident = max(self.peak_resident, self.resident)
        user, system, read, write = self.counters
        held = self.held
        self.counters = (
            max(user, self.user + held[0]),
            max(system, self.system + held[1]),
            max(read, self.read + held[2]),
            max(write, self.write + held[3]),
        )

    @property
    def live(self) -> tuple[int, int, int, int]:
        """What the live processes alone add up to."""
        return self.user, self.system, self.read, self.write

    def resume(self, counters: tuple[int, int, int, int], live: tuple[int, int, int, int]) -> None:
        """Go on from a predecessor's counters and from what its live processes added up to."""
        self.counters = counters
        self.held = [total - now for total, now in zip(counters, live, strict=True)]


class Process:
    """A member of a tree: what was last read of it, in the kernel's units, and what changed with that reading."""

    __slots__ = (
        "absorbed_read",
        "absorbed_write",
        "child_faults",
        "child_system",
        "child_user",
        "clock",
        "comm",
        "cpu_ns",
        "departed",
        "faults",
        "fds_readable",
        "files",
        "gained_faults",
        "gained_read",
        "gained_system",
        "gained_user",
        "gained_write",
        "io_readable",
        "open_fds",
        "pid",
        "ppid",
        "read",
        "resident",
        "rested",
        "seen",
        "start",
        "system",
        "threads",
        "tree",
        "tree_name",
        "user",
        "virtual",
        "wall",
        "write",
        "zombie",
    )

    def __init__(self, pid: int, start: int, wall: float, tree_name: str, tree: Tree, files: ProcessFiles) -> None:
        self.pid = pid
        self.start = start  # ticks since boot; with the PID, the identity
        self.wall = wall  # the same in unix time
        self.tree_name = tree_name
        self.tree = tree
        self.files = files
        self.ppid = 0
        self.comm = b""
        self.zombie = False
        self.clock = (~pid << 3) | 2  # the CPU clock of the process (clock_getcpuclockid(3)), in our PID namespace
        self.cpu_ns = -1  # what that clock said before the last reading
        self.rested = 0  # collections since all of it was read
        self.seen = 0  # collections
        self.user = self.system = self.child_user = self.child_system = 0  # ticks
        self.faults = self.child_faults = 0
        self.read = self.write = 0  # bytes, reaped children's included
        self.absorbed_read = self.absorbed_write = 0  # bytes of `read` and `write` that sampled children brought
        self.gained_user = self.gained_system = self.gained_faults = 0  # of children, with the newest reading
        self.gained_read = self.gained_write = 0
        self.departed: list[Departed] = []
        self.threads = self.resident = self.virtual = self.open_fds = 0
        self.io_readable = self.fds_readable = True

    def count(self, stat: ProcPidStat) -> None:
        """Take over a reading."""
        self.seen += 1
        self.rested = 0
        self.comm = stat.comm
        self.zombie = stat.state in _ZOMBIE and stat.num_threads <= 1
        self.ppid = stat.ppid
        self.threads = stat.num_threads
        self.faults = stat.minflt
        self.user = stat.utime
        self.system = stat.stime
        self.gained_faults = stat.cminflt - self.child_faults
        self.child_faults = stat.cminflt
        self.gained_user = stat.cutime - self.child_user
        self.child_user = stat.cutime
        self.gained_system = stat.cstime - self.child_system
        self.child_system = stat.cstime

    def rest(self) -> None:
        """Nothing has changed since the last reading."""
        self.seen += 1
        self.rested += 1

    def settle(self) -> None:
        """No longer hold what the newest reading brought back, and give up on what the second did not."""
        if self.rested:
            self.gained_user = self.gained_system = self.gained_faults = self.gained_read = self.gained_write = 0
        if self.gained_faults or self.gained_user or self.gained_system:  # else it has reaped nobody
            indirect = self.gained_faults - sum(child.faults for child in self.departed if child.direct)
            # The direct ones first; of the others the largest first, which only their own faults can account for.
            for child in sorted(self.departed, key=lambda child: (not child.direct, -child.faults)):
                if child.direct:
                    self._absorb(child)
                elif child.faults <= indirect:
                    indirect -= child.faults
                    self._absorb(child)
        waiting = [child for child in self.departed if child.fresh]
        for child in waiting:
            child.fresh = False
        self.departed = waiting

    def _absorb(self, child: Departed) -> None:
        user, system = min(child.user, self.gained_user), min(child.system, self.gained_system)
        read, write = min(child.read, self.gained_read), min(child.write, self.gained_write)
        child.user -= user
        child.system -= system
        child.read -= read
        child.write -= write
        self.gained_user -= user
        self.gained_system -= system
        self.gained_read -= read
        self.gained_write -= write
        self.absorbed_read += read
        self.absorbed_write += write
        self.tree.hold(-user, -system, -read, -write)


def settle(gone: list[Process], processes: dict[int, Process], waiting: set[Process]) -> set[Process]:
    """Hand each departed process to the nearest ancestor alive, and settle with those that have any.

    `processes` are the live ones by PID, `waiting` what the last call gave; what comes back is for the next call.
    """
    by_pid = {process.pid: process for process in gone}
    heirs = waiting.difference(gone)
    for process in gone:
        departed = Departed(process)
        process.tree.hold(departed.user, departed.system, departed.read, departed.write)
        heir, departed.direct = _find_heir(process, by_pid, processes)
        if heir is not None:
            for child in process.departed:
                child.direct, child.fresh = False, True
            heir.departed += [departed, *process.departed]
            heirs.add(heir)
    for heir in heirs:
        heir.settle()
    return {heir for heir in heirs if heir.departed}


def _find_heir(process: Process, gone: dict[int, Process], live: dict[int, Process]) -> tuple[Process | None, bool]:
    """The nearest ancestor that is alive, and whether it is the parent."""
    ppid = process.ppid
    for generation in range(len(gone) + 1):
        heir = live.get(ppid)
        if heir is not None:
            # A parent that is younger than its child is none: the PID is another's by now.
            return (heir, generation == 0) if heir.start <= process.start else (None, False)
        parent = gone.get(ppid)
        if parent is None:
            break
        ppid = parent.ppid
    return None, False
