"""A process of a tree: its last readings, in the kernel's units."""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from prom_probe.sources.proc_pid_stat import ProcPidStat
from prom_probe.sources.process_files import ProcessFiles

if TYPE_CHECKING:
    from prom_probe.collectors.process.tree import Tree
    from prom_probe.model.layout import Group

ZOMBIE = (b"Z", b"X")
# The states of processes and threads, and the kernel's letters for each.
STATES = {"running": b"R", "sleeping": b"SI", "disk_sleep": b"D", "stopped": b"Tt", "zombie": b"ZX"}
_PLACE = {letter.to_bytes(1, "little"): i for i, letters in enumerate(STATES.values()) for letter in letters}


def count_states(letters: Collection[bytes]) -> list[int]:
    """The number of letters in each of STATES, in that order."""
    counts = [0] * len(STATES)
    for letter in letters:
        if letter in _PLACE:
            counts[_PLACE[letter]] += 1
    return counts


class TreeSums(NamedTuple):
    """What is added up over a tree's processes. The first ABSORBED numbers of a process pass to its parent when that
    reaps it; the first COUNTERS never fall."""

    user: int  # ticks, reaped children's included
    system: int
    minor_faults: int  # reaped children's included
    major_faults: int
    read: int  # bytes, reaped children's included
    write: int
    waited: int  # ns
    voluntary: int  # context switches
    nonvoluntary: int
    threads: int
    resident: int  # pages
    shared: int  # pages, of files and of shared memory
    virtual: int  # pages
    shmem: int  # KiB
    swap: int  # KiB
    open_fds: int
    pss: int  # KiB
    uss: int  # KiB
    # Numbers of processes of which something is not known.
    without_pss: int
    denied_io: int
    denied_fds: int
    denied_waited: int
    denied_memory: int
    unscanned: int  # its threads have not been read


ABSORBED = 6
COUNTERS = 9
NOTHING = TreeSums(*[0] * len(TreeSums._fields))
LARGEST = (1 << 64) - 1  # that the kernel can write


class Image(Enum):
    """Whose memory a process has: between fork and exec it need not be its own."""

    OWN = 0
    PARENTS = 1  # shared with the parent since a vfork (or posix_spawn); it counts once, as the parent's
    OURS = 2  # a copy of our supervisor's, in the child that becomes COMMAND


class Departed:
    """What is held of a process that is gone, and may come back with a reading of the process that reaped it."""

    __slots__ = ("direct", "faults", "fresh", "numbers")

    def __init__(self, process: Process) -> None:
        self.numbers = list(process.numbers[:ABSORBED])
        self.faults = process.faults + process.child_faults
        self.direct = True  # whether it is a child of that process
        self.fresh = True  # has waited for at most one reading


class Process:
    """A member of a tree: its last readings, and what changed with the newest."""

    __slots__ = (
        "absorbed_read",
        "absorbed_write",
        "child_faults",
        "child_major",
        "child_system",
        "child_user",
        "cmdline",
        "cmdline_age",
        "cmdline_due",
        "comm",
        "cpu_ns",
        "departed",
        "executed",
        "faults",
        "fds_readable",
        "files",
        "gained",
        "group",
        "image",
        "image_due",
        "info",
        "info_group",
        "io_readable",
        "io_text",
        "label",
        "lasting",
        "major",
        "max_fds",
        "memory_readable",
        "nonvoluntary",
        "open_fds",
        "peak",
        "peak_known",
        "pid",
        "ppid",
        "pss",
        "pss_at",
        "ran",
        "read",
        "recent",
        "resident",
        "resident_before",
        "risen",
        "scanned_ns",
        "seen",
        "shared",
        "shmem",
        "stack",
        "start",
        "stat_text",
        "state",
        "statm_text",
        "status_at",
        "status_faults",
        "status_resident",
        "status_shared",
        "swap",
        "system",
        "tasks",
        "threads",
        "tree",
        "tree_name",
        "user",
        "uss",
        "virtual",
        "voluntary",
        "waited",
        "waited_readable",
        "wall",
        "whole",
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
        self.group: Group | None = None  # its series
        self.label = b""  # the name in its series' labels
        self.lasting = False  # whether its name and memory are to be remembered for longer than that of others
        self.info_group: Group | None = None  # its proctree_process_info
        self.info = 0, ""  # the parent and the command line in its labels
        self.cmdline = ""
        self.cmdline_due = True  # whether to read it, after its start or an exec
        self.cmdline_age = 0  # collections since then
        self.stat_text = self.statm_text = self.io_text = b""  # as they were last read
        self.stack = 0  # where its stack begins: another place after each exec; 0 for not known
        self.executed = False  # another program, not yet told
        self.image = Image.OWN
        self.image_due = True  # whether to find out whose memory it has
        self.whole = False  # whether everything has been read since its start, last exec or end
        # When its status was last read: the collection's number, `shared`, `resident` and `faults`.
        self.status_at = self.status_shared = self.status_resident = self.status_faults = 0
        self.ppid = 0
        self.comm = b""
        self.state = b""  # empty until the first reading
        self.zombie = False
        self.cpu_ns = -1  # its CPU clock before its stat was last read
        self.seen = 0  # collections that have read it, until it has series
        self.user = self.system = self.child_user = self.child_system = 0  # ticks
        self.faults = self.child_faults = self.major = self.child_major = 0
        self.read = self.write = 0  # bytes, reaped children's included
        self.absorbed_read = self.absorbed_write = (
            0  # the part of `read` and `write` that came from reaped children with readings of their own
        )
        self.gained: list[int] = []  # from reaped children, in the newest reading; empty for nothing
        self.departed: list[Departed] = []
        self.waited = 0  # ns
        self.voluntary = self.nonvoluntary = 0
        self.tasks: dict[str, tuple[bytes, int, int, int]] = {}  # threads: state, switches (both kinds), waited ns
        self.scanned_ns = -2  # its CPU clock when its threads were last read; -2 for never
        self.threads = self.resident = self.shared = self.virtual = self.open_fds = 0
        self.ran = False  # between the last two collections
        self.resident_before = 0  # pages, in the collection before the newest
        self.shmem = self.swap = self.peak = 0  # KiB
        self.peak_known = False  # whether `peak` has been read since its start or last exec
        self.recent = True  # whether its image began so recently that its peak is recent too
        self.risen = 0  # KiB: what `peak` has risen to in the newest collection; 0 where it has not
        self.pss = self.uss = -1  # KiB
        self.pss_at = 0.0  # monotonic time from which they are due again
        self.max_fds = 0  # 0 for no limit
        self.io_readable = self.fds_readable = self.waited_readable = self.memory_readable = True

    def count(self, stat: ProcPidStat) -> None:
        """Take a reading of its stat file."""
        zombie = stat.state in ZOMBIE and stat.num_threads <= 1
        if stat.startstack != self.stack and stat.state not in ZOMBIE:  # of those it is not known
            if self.stack:
                self.peak_known, self.recent = False, True
                self.executed = stat.startstack != 0
                self.pss, self.uss, self.pss_at = -1, -1, 0.0
            self.stack = stat.startstack
            self.whole, self.image_due, self.cmdline_due = False, True, True  # it has executed another program
        if zombie != self.zombie or stat.comm != self.comm:
            self.whole = False  # it has ended, or has another name
        self.comm = stat.comm
        self.state = b"Z" if zombie else stat.state
        self.zombie = zombie
        self.ppid = stat.ppid
        self.threads = 0 if zombie else stat.num_threads
        self.user = stat.utime
        self.system = stat.stime
        self.faults = stat.minflt
        self.major = stat.majflt
        if stat.cminflt != self.child_faults or stat.cutime != self.child_user or stat.cstime != self.child_system:
            self.gained = [
                stat.cutime - self.child_user,
                stat.cstime - self.child_system,
                stat.cminflt - self.child_faults,
                stat.cmajflt - self.child_major,
                0,
                0,
            ]
            self.child_user, self.child_system = stat.cutime, stat.cstime
            self.child_faults, self.child_major = stat.cminflt, stat.cmajflt
        else:
            self.gained = []

    def wants_cmdline(self) -> bool:
        """Whether to read its command line in this collection, which is counted.

        After its start, an exec and another name; and then ever more rarely, as it may write a title over it that the
        kernel does not tell of (`postgres: writer`).
        """
        self.cmdline_age = 0 if self.cmdline_due else self.cmdline_age + 1
        return self.cmdline_age & (self.cmdline_age - 1) == 0

    def count_io(self, read: int, write: int) -> None:
        """Take a reading of its IO; after it has reaped children, in the same collection as `count`."""
        if self.gained:
            self.gained[4], self.gained[5] = read - self.read, write - self.write
        self.read, self.write = read, write

    def absorb(self, read: int, write: int) -> None:
        """So many of its bytes are those of reaped children that had readings of their own."""
        self.absorbed_read += read
        self.absorbed_write += write

    def count_peak(self, peak: int) -> None:
        """Take a reading of the most resident memory that it has had since its start or last exec, KiB."""
        if peak > self.peak if self.peak_known else self.recent:
            self.risen = peak
        self.peak, self.peak_known = peak, True

    def borrow(self, image: Image) -> None:
        """Its memory is not its own: leave it out of all sums."""
        self.image = image
        self.statm_text = b""
        self.resident = self.shared = self.virtual = self.shmem = self.swap = self.peak = self.risen = 0
        self.pss = self.uss = 0
        self.whole = self.peak_known = False

    def empty(self) -> None:
        """Reset what a zombie does not have."""
        self.statm_text = b""
        self.threads = self.resident = self.shared = self.virtual = self.open_fds = 0
        self.shmem = self.swap = self.max_fds = 0
        self.pss = self.uss = 0
        self.tasks = {}

    @property
    def fds_ratio(self) -> float:
        """Open descriptors divided by their limit; -1 where there is none."""
        return self.open_fds / self.max_fds if self.max_fds else -1.0

    @property
    def ticks(self) -> int:
        """CPU ticks, including those of reaped children."""
        return self.user + self.child_user + self.system + self.child_system

    @property
    def numbers(self) -> tuple[int, ...]:
        """In the order of `TreeSums`."""
        return (
            self.user + self.child_user,
            self.system + self.child_system,
            self.faults + self.child_faults,
            self.major + self.child_major,
            self.read,
            self.write,
            self.waited,
            self.voluntary,
            self.nonvoluntary,
            self.threads,
            self.resident,
            self.shared,
            self.virtual,
            self.shmem,
            self.swap,
            self.open_fds,
            self.pss if self.pss >= 0 else 0,
            self.uss if self.uss >= 0 else 0,
            self.pss < 0,
            not self.io_readable,
            not self.fds_readable,
            not self.waited_readable,
            not self.memory_readable,
            self.scanned_ns == -2,
        )
