"""The account of a tree's CPU time and IO: nothing lost when a process dies, nothing counted twice when it is reaped.

A process's time includes that of the children it reaped. When a process is gone, the time of its last reading is
held. If its parent, a member of a tree, reaped it, that time comes back with the parent's and is no longer held. If
init reaped it, or no process did because SIGCHLD is ignored, it does not come back.

Parents are read before their children. A child that is gone was reaped either before its parent was read, and that
reading has its time, or afterwards, and the parent's next reading has it: a departed child waits for two readings. A
parent that ignores SIGCHLD gains nothing in either. Where parent and child are both gone, the grandparent gains the
child's time only if the parent had reaped the child. Page faults show whether it did: `wait` adds them up just as it
does time and IO, every process has some hundreds, and they are exact where ticks are coarse.
"""

from collections.abc import Sequence
from operator import add

from prom_probe.collectors.process.process import COUNTERS, LARGEST, NOTHING, Departed, Process, TreeSums, count_states

_ZOMBIE = b"Z"
_FAULTS, _READ, _WRITE = (TreeSums._fields.index(name) for name in ("minor_faults", "read", "write"))


class Tree:
    """The counters of a tree: the sums over its live processes, and what is held of processes that are gone.

    `counters` and `held` are in the order of `TreeSums`, which begins with the counters. The other numbers are those of
    the last `end`.
    """

    __slots__ = (
        "brought",
        "brought_waited",
        "counters",
        "earliest",
        "fds_ratio",
        "held",
        "members",
        "oldest",
        "peak_between",
        "peak_process",
        "peak_processes",
        "peak_resident",
        "processes",
        "processes_seen",
        "scanned",
        "start",
        "states",
        "sums",
        "with_series",
    )

    def __init__(self) -> None:
        self.members: dict[int, Process] = {}
        self.held = [0] * COUNTERS
        self.counters = [0] * COUNTERS
        self.sums = NOTHING
        self.with_series = 0  # how many of the members have series
        self.states = count_states(())  # number of processes in each of STATES
        self.processes = self.processes_seen = 0
        self.peak_processes = self.peak_resident = 0  # resident: pages
        self.peak_between = 0  # pages, since the last collection (see `peaks.py`)
        self.peak_process = 0  # KiB, the largest of any one process
        self.fds_ratio = -1.0  # of the process nearest to its limit of descriptors; -1 where none has a limit
        self.start = 0.0  # of the oldest process, unix seconds
        self.oldest = 0  # PID of the oldest that is no zombie, by which the tree's cgroup is found
        self.earliest = 0  # the smallest start of all members so far, ticks since boot; 0 before the first
        # What processes had used before they joined: CPU ticks, ns of waiting. `Maxima` sets them to 0.
        self.brought = self.brought_waited = 0
        self.scanned = False  # whether the threads of all processes have been read

    def join(self, process: Process) -> None:
        self.members[process.pid] = process
        self.earliest = min(self.earliest or process.start, process.start)

    def leave(self, process: Process) -> None:
        """The process is gone; `settle` holds what its last reading had."""
        del self.members[process.pid]

    def hold(self, numbers: Sequence[int], sign: int = 1) -> None:
        """Count these numbers although no live process has them; with `sign` -1 stop, as a live process has them."""
        for i, number in enumerate(numbers):
            self.held[i] += sign * number

    def end(self, peak_between: int = 0) -> None:
        """Add up the last readings of all members, so that no change can be missed.

        `peak_between`: resident pages that the tree had at a moment since the last call.
        """
        members = self.members.values()
        self.peak_between = peak_between
        self.processes = len(members)
        self.sums, self.start, self.oldest = NOTHING, 0.0, 0
        if members:
            self.sums = TreeSums._make(map(_add_up, zip(*[process.numbers for process in members], strict=True)))
            oldest = min(members, key=_start)
            self.start = oldest.wall
            if oldest.state == _ZOMBIE:
                oldest = min(members, key=_start_if_alive)
            self.oldest = oldest.pid
            self.peak_processes = max(self.peak_processes, self.processes)
            self.peak_resident = max(self.peak_resident, self.sums.resident, peak_between)
            self.peak_process = max(self.peak_process, *[process.peak for process in members])
            self.scanned = self.scanned or not self.sums.unscanned
        self.states = count_states([process.state for process in members])
        self.fds_ratio = max([process.fds_ratio for process in members], default=-1.0)
        self.counters = list(map(max, self.counters, map(add, self.sums, self.held)))

    @property
    def live(self) -> list[int]:
        """The counters of the live processes alone."""
        return list(self.sums[:COUNTERS])

    def resume(self, counters: Sequence[int], live: Sequence[int]) -> None:
        """Continue from a predecessor's counters, and from those of its live processes alone."""
        self.counters = list(counters)
        self.held = [total - now for total, now in zip(counters, live, strict=True)]


def _start(process: Process) -> int:
    return process.start


def _start_if_alive(process: Process) -> tuple[bool, int]:
    """The others first: of a zombie, the kernel tells neither mounts nor root."""
    return process.state == _ZOMBIE, process.start


def _add_up(numbers: Sequence[int]) -> int:
    """Their sum, where each number is first brought into the range of the kernel's counters."""
    if min(numbers) < 0 or max(numbers) > LARGEST:
        numbers = [min(max(number, 0), LARGEST) for number in numbers]
    return sum(numbers)


def settle(gone: list[Process], processes: dict[int, Process], waiting: set[Process]) -> set[Process]:
    """Hand each departed process to its nearest live ancestor, and settle with the ancestors that have any.

    `processes` are the live ones by PID. `waiting` is the result of the previous call.
    """
    by_pid = {process.pid: process for process in gone}
    heirs = waiting.difference(gone)
    for process in gone:
        departed = Departed(process)
        process.tree.hold(process.numbers[:COUNTERS])
        heir, departed.direct = _find_heir(process, by_pid, processes)
        if heir is not None:
            for child in process.departed:
                child.direct, child.fresh = False, True
            heir.departed += [departed, *process.departed]
            heirs.add(heir)
    for heir in heirs:
        _settle(heir)
    return {heir for heir in heirs if heir.departed}


def _settle(heir: Process) -> None:
    """Stop holding what the newest reading brought back, and stop waiting for what a second reading did not bring."""
    if heir.gained:  # otherwise it has reaped nothing
        indirect = heir.gained[_FAULTS] - sum(child.faults for child in heir.departed if child.direct)
        # Direct children first; then the others, largest first, as only their own faults can explain large gains.
        for child in sorted(heir.departed, key=lambda child: (not child.direct, -child.faults)):
            if child.direct:
                _absorb(heir, child)
            elif child.faults <= indirect:
                indirect -= child.faults
                _absorb(heir, child)
    waiting = [child for child in heir.departed if child.fresh]
    for child in waiting:
        child.fresh = False
    heir.departed = waiting


def _absorb(heir: Process, child: Departed) -> None:
    back = [min(numbers) for numbers in zip(child.numbers, heir.gained, strict=True)]
    child.numbers = [number - part for number, part in zip(child.numbers, back, strict=True)]
    heir.gained = [number - part for number, part in zip(heir.gained, back, strict=True)]
    heir.absorb(back[_READ], back[_WRITE])
    heir.tree.hold(back, -1)


def _find_heir(process: Process, gone: dict[int, Process], live: dict[int, Process]) -> tuple[Process | None, bool]:
    """The nearest live ancestor, and whether it is the parent."""
    ppid = process.ppid
    for generation in range(len(gone) + 1):
        heir = live.get(ppid)
        if heir is not None:
            # A process younger than its supposed child is not its parent: the PID has been reused.
            return (heir, generation == 0) if heir.start <= process.start else (None, False)
        parent = gone.get(ppid)
        if parent is None:
            break
        ppid = parent.ppid
    return None, False
