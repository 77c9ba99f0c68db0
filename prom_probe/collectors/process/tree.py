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

from collections.abc import Sequence
from operator import add

from prom_probe.collectors.process.process import COUNTERS, LARGEST, NOTHING, Departed, Process, Sums, count_states

_FAULTS, _READ, _WRITE = (Sums._fields.index(name) for name in ("minor_faults", "read", "write"))


class Tree:
    """The counters of a tree: what its live processes add up to, and what is held of those that are gone.

    `counters` and `held` are in the order of `Sums`, of which counters are the first. The other numbers are those of
    the last `end`.
    """

    __slots__ = (
        "brought",
        "brought_waited",
        "counters",
        "fds_ratio",
        "held",
        "members",
        "oldest",
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
        self.states = count_states(())  # how many processes are in each of STATES
        self.processes = self.processes_seen = 0
        self.peak_processes = self.peak_resident = 0  # resident: pages
        self.peak_process = 0  # KiB that one process had at most
        self.fds_ratio = -1.0  # of the process that is nearest to its limit of descriptors; -1 where none has one
        self.start, self.oldest = 0.0, 0  # of the oldest process, its start (unix seconds) and its PID
        # What processes had used before they joined: CPU ticks, ns. Whoever uses these sets them to 0.
        self.brought = self.brought_waited = 0
        self.scanned = False  # whether the threads of all processes have been looked at

    def join(self, process: Process) -> None:
        self.members[process.pid] = process

    def leave(self, process: Process) -> None:
        """The process is gone; what it was last seen with is for `settle` to hold."""
        del self.members[process.pid]

    def hold(self, numbers: Sequence[int], sign: int = 1) -> None:
        """Count these from now on although no live process has them; `sign` -1: a live process has them too."""
        for i, number in enumerate(numbers):
            self.held[i] += sign * number

    def end(self) -> None:
        """Add up what was last read of the members: of all of them, so that no change can be missed."""
        members = self.members.values()
        self.processes = len(members)
        self.sums, self.start, self.oldest = NOTHING, 0.0, 0
        if members:
            self.sums = Sums._make(map(_add_up, zip(*[process.numbers for process in members], strict=True)))
            oldest = min(members, key=_start)
            self.start, self.oldest = oldest.wall, oldest.pid
            self.peak_processes = max(self.peak_processes, self.processes)
            self.peak_resident = max(self.peak_resident, self.sums.resident)
            self.peak_process = max(self.peak_process, *[process.peak for process in members])
            self.scanned = self.scanned or not self.sums.unscanned
        self.states = count_states([process.state for process in members])
        self.fds_ratio = max([process.fds_ratio for process in members], default=-1.0)
        self.counters = list(map(max, self.counters, map(add, self.sums, self.held)))

    @property
    def live(self) -> list[int]:
        """What the live processes alone add up to."""
        return list(self.sums[:COUNTERS])

    def resume(self, counters: Sequence[int], live: Sequence[int]) -> None:
        """Go on from a predecessor's counters and from what its live processes added up to."""
        self.counters = list(counters)
        self.held = [total - now for total, now in zip(counters, live, strict=True)]


def _start(process: Process) -> int:
    return process.start


def _add_up(numbers: Sequence[int]) -> int:
    """Their sum, where what the kernel cannot mean is the nearest that it can."""
    if min(numbers) < 0 or max(numbers) > LARGEST:
        numbers = [min(max(number, 0), LARGEST) for number in numbers]
    return sum(numbers)


def settle(gone: list[Process], processes: dict[int, Process], waiting: set[Process]) -> set[Process]:
    """Hand each departed process to the nearest ancestor alive, and settle with those that have any.

    `processes` are the live ones by PID, `waiting` what the last call gave; what comes back is for the next call.
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
    """No longer hold what the newest reading brought back, and give up on what the second did not."""
    if heir.gained:  # else it has reaped nobody
        indirect = heir.gained[_FAULTS] - sum(child.faults for child in heir.departed if child.direct)
        # The direct ones first; of the others the largest first, which only their own faults can account for.
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
