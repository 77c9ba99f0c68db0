"""The account of a tree's CPU time and IO: nothing lost when a process dies, nothing counted twice when it is reaped.

A process's time is its own plus its reaped children's. When a parent in a tree reaps a child, the child's time comes
back as the parent's; when init reaps it, or nobody does because SIGCHLD is ignored, it does not. Which of the two it
was, the faults tell: `wait` adds a child's page faults to its parent's count together with its time and its IO, every
process has some hundreds of them, and they are exact where ticks are coarse.

Parents are read before their children. So a child that is gone has been reaped either before its parent was read, and
the parent's reading holds its time, or after, and the next one will: a departed child waits for two readings.
"""

from prom_probe.sources.proc_pid_stat import ProcPidStat
from prom_probe.sources.process_files import ProcessFiles


class Departed:
    """What a vanished process was counted for, and may come back as part of its reaper's readings."""

    __slots__ = ("faults", "fresh", "read", "system", "user", "write")

    def __init__(self, process: "Process") -> None:
        self.user = process.user + process.child_user
        self.system = process.system + process.child_system
        self.read = process.read
        self.write = process.write
        self.faults = process.faults + process.child_faults
        self.fresh = True


class Tree:
    """A tree's counters (ticks, bytes), and the sums over its live processes of one collection."""

    __slots__ = (
        "denied_fds",
        "denied_io",
        "floor",
        "live",
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
        self.user = self.system = self.read = self.write = 0
        self.floor: tuple[int, int, int, int] | None = None
        self.processes_seen = self.peak_processes = self.peak_resident = 0
        self.begin()

    def begin(self) -> None:
        """Start the sums of a collection."""
        self.processes = self.threads = self.resident = self.virtual = self.open_fds = 0
        self.denied_io = self.denied_fds = 0
        self.start = 0
        self.live = [0, 0, 0, 0]

    def add(self, process: "Process") -> None:
        """Add what was last read of a process to the sums."""
        self.processes += 1
        self.threads += process.threads
        self.resident += process.resident
        self.virtual += process.virtual
        self.open_fds += process.open_fds
        self.denied_io += not process.io_readable
        self.denied_fds += not process.fds_readable
        if not self.start or process.start < self.start:
            self.start = process.start
        live = self.live
        live[0] += process.user + process.child_user
        live[1] += process.system + process.child_system
        live[2] += process.read
        live[3] += process.write

    def end(self) -> None:
        """Close the sums of a collection."""
        self.peak_processes = max(self.peak_processes, self.processes)
        self.peak_resident = max(self.peak_resident, self.resident)
        if self.floor is not None:  # what the predecessor had counted of processes that died between it and us
            user, system, read, write = self.floor
            self.user, self.system = max(self.user, user), max(self.system, system)
            self.read, self.write = max(self.read, read), max(self.write, write)
            self.floor = None

    def resume(self, counters: tuple[int, int, int, int], live: tuple[int, int, int, int]) -> None:
        """Go on from a predecessor's counters: `live`, what its processes alone added up to, will be added again."""
        self.floor = counters
        self.user, self.system, self.read, self.write = (c - now for c, now in zip(counters, live, strict=True))


class Process:
    """A member of a tree: what was last read of it, in the kernel's units, and what changed with that reading."""

    __slots__ = (
        "absorbed_read",
        "absorbed_write",
        "child_faults",
        "child_system",
        "child_user",
        "comm",
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
        "seen",
        "start",
        "system",
        "threads",
        "tree",
        "tree_name",
        "user",
        "virtual",
        "write",
    )

    def __init__(self, pid: int, start: int, tree_name: str, tree: Tree, files: ProcessFiles) -> None:
        self.pid = pid
        self.start = start  # ticks since boot; with the PID, the identity
        self.tree_name = tree_name
        self.tree = tree
        self.files = files
        self.ppid = 0
        self.comm = b""
        self.seen = 0
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
        """Add to the tree what the process and its reaped children used since the last reading."""
        tree = self.tree
        self.comm = stat.comm
        self.ppid = stat.ppid
        self.threads = stat.num_threads
        self.faults = stat.minflt
        self.gained_faults = stat.cminflt - self.child_faults
        self.child_faults = stat.cminflt
        self.gained_user = stat.cutime - self.child_user
        self.gained_system = stat.cstime - self.child_system
        user = stat.utime - self.user + self.gained_user
        system = stat.stime - self.system + self.gained_system
        if user > 0:
            tree.user += user
        if system > 0:
            tree.system += system
        self.user, self.system = stat.utime, stat.stime
        self.child_user, self.child_system = stat.cutime, stat.cstime

    def count_io(self, read: int, write: int) -> None:
        """Add to the tree what was read and written since the last reading."""
        self.gained_read, self.gained_write = read - self.read, write - self.write
        if self.gained_read > 0:
            self.tree.read += self.gained_read
        if self.gained_write > 0:
            self.tree.write += self.gained_write
        self.read, self.write = read, write

    def settle(self) -> None:
        """Take back what this reading brought a second time; what no reading brings stays counted as it is."""
        waiting = []
        for child in sorted(self.departed, key=lambda child: child.faults):
            if child.faults <= self.gained_faults:
                self._absorb(child)
            elif child.fresh:
                child.fresh = False
                waiting.append(child)
        self.departed = waiting

    def _absorb(self, child: Departed) -> None:
        tree = self.tree
        self.gained_faults -= child.faults
        user, system = min(child.user, self.gained_user), min(child.system, self.gained_system)
        read, write = min(child.read, self.gained_read), min(child.write, self.gained_write)
        tree.user -= user
        tree.system -= system
        tree.read -= read
        tree.write -= write
        self.gained_user -= user
        self.gained_system -= system
        self.gained_read -= read
        self.gained_write -= write
        self.absorbed_read += read
        self.absorbed_write += write


def settle(gone: list[Process], processes: dict[int, Process], waiting: set[Process]) -> set[Process]:
    """Hand each departed process to the nearest ancestor alive, and settle with those that have any.

    `processes` are the live ones by PID, `waiting` what the last call gave; what comes back is for the next call.
    """
    by_pid = {process.pid: process for process in gone}
    heirs = waiting.difference(gone)
    for process in gone:
        heir = _find_heir(process, by_pid, processes)
        if heir is not None:
            heir.departed.append(Departed(process))
            heir.departed += process.departed
            heirs.add(heir)
    for heir in heirs:
        heir.settle()
    return {heir for heir in heirs if heir.departed}


def _find_heir(process: Process, gone: dict[int, Process], live: dict[int, Process]) -> Process | None:
    start = process.start
    ppid = process.ppid
    for _ in range(len(gone) + 1):
        heir = live.get(ppid)
        if heir is not None:
            return heir if heir.start <= start else None  # younger than its child: the PID is another's by now
        parent = gone.get(ppid)
        if parent is None:
            return None
        ppid = parent.ppid
    return None
