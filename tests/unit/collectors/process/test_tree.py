"""The account of a tree against a made-up kernel whose processes work, fork, die and are reaped between readings."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prom_probe.collectors.process.process import NOTHING, STATES, Process, TreeSums, count_states
from prom_probe.collectors.process.tree import Tree, settle
from prom_probe.sources.descriptors import Descriptors
from prom_probe.sources.proc_pid_stat import ProcPidStat
from prom_probe.sources.process_files import ProcessFiles

INIT = 1
ROOT = 10


class Task:
    """A process as the kernel keeps it."""

    def __init__(self, pid: int, parent: int, start: int, faults: int) -> None:
        self.pid, self.parent, self.start = pid, parent, start
        self.user = self.child_user = self.child_faults = 0
        self.io = 0  # reaped children's included
        self.clock = 0  # of its CPU: moves on with whatever it does itself
        self.faults = faults
        self.zombie = False
        self.ignores_children = False


class Kernel:
    """Does what Linux does at fork, exit and wait, and knows the truth."""

    def __init__(self) -> None:
        self.tasks = {ROOT: Task(ROOT, INIT, 1, 500)}
        self.clock = 1
        self.worked = self.wrote = 0
        self.lost: list[Task] = []  # whom nobody waited for

    def work(self, pid: int, ticks: int) -> None:
        self.tasks[pid].user += ticks
        self.tasks[pid].io += ticks * 10
        self.tasks[pid].clock += 1
        self.worked += ticks
        self.wrote += ticks * 10

    def fork(self, pid: int) -> int:
        self.clock += 1
        self.tasks[pid].clock += 1
        child = ROOT + self.clock
        # TreeSums of different processes' faults are never the same by chance.
        self.tasks[child] = Task(child, pid, self.clock, 100 + 2 ** (self.clock % 12))
        return child

    def exit(self, pid: int) -> None:
        task = self.tasks[pid]
        task.zombie = True
        task.clock += 1
        for other in list(self.tasks.values()):
            if other.parent == pid:
                other.parent = INIT
                if other.zombie:
                    self._lose(other)
        parent = self.tasks.get(task.parent)
        if parent is None or parent.ignores_children:
            self._lose(task)

    def wait(self, pid: int) -> None:
        parent = self.tasks[pid]
        parent.clock += 1
        for task in list(self.tasks.values()):
            if task.parent == pid and task.zombie:
                parent.child_user += task.user + task.child_user
                parent.child_faults += task.faults + task.child_faults
                parent.io += task.io
                del self.tasks[task.pid]

    def _lose(self, task: Task) -> None:
        self.lost.append(task)
        del self.tasks[task.pid]


class Sampler:
    """Reads the kernel as the process collector does; `between` runs before each single reading.

    `lazy`: a process whose clock stands still is not read.
    """

    def __init__(self, kernel: Kernel, *, lazy: bool = False) -> None:
        self.kernel = kernel
        self.lazy = lazy
        self.tree = Tree()
        self.processes: dict[int, Process] = {}
        self.heirs: set[Process] = set()
        self.last_total: dict[int, int] = {}

    def collect(self, between: Iterator[None] | None = None) -> None:
        for task in sorted(self.kernel.tasks.values(), key=lambda each: each.start):
            if task.pid not in self.processes:
                files = ProcessFiles("/nowhere", task.pid, Descriptors(0), fd_size=False)
                self.processes[task.pid] = Process(task.pid, task.start, 0.0, "t", self.tree, files)
                self.tree.join(self.processes[task.pid])
        gone: list[Process] = []
        for process in self.processes.values():
            if between is not None:
                next(between, None)
            process.gained = []
            if process.pid not in self.kernel.tasks:
                gone.append(process)
                continue
            task = self.kernel.tasks[process.pid]
            clock = task.clock
            if self.lazy and clock == process.cpu_ns:
                continue
            if between is not None:  # between its clock and its files
                next(between, None)
                if process.pid not in self.kernel.tasks:
                    gone.append(process)
                    continue
            state = b"Z" if task.zombie else b"S"
            numbers = task.faults, task.child_faults, 0, 0, task.user, 0, task.child_user, 0
            process.count(ProcPidStat(b"t", state, task.parent, *numbers, 1, task.start, 0))
            process.count_io(task.io, 0)
            process.cpu_ns = clock
            self.last_total[process.pid] = task.user + task.child_user
        for process in gone:
            del self.processes[process.pid]
            self.tree.leave(process)
        parents = {process.pid for process in gone}
        self.heirs = settle(gone, self.processes, self.heirs)
        for process in self.processes.values():
            if process.ppid in parents:
                process.cpu_ns = -1
        self.tree.end()
        rows = [process.numbers for process in self.processes.values()]
        assert self.tree.sums == (TreeSums(*map(sum, zip(*rows, strict=True))) if rows else NOTHING)
        assert self.tree.states == count_states([process.state for process in self.processes.values()])

    @property
    def user(self) -> int:
        return self.tree.counters[0]

    @property
    def read(self) -> int:
        return self.tree.counters[4]


def start() -> tuple[Kernel, Sampler, int]:
    """A root that has one child, both sampled with 10 and 20 ticks."""
    kernel = Kernel()
    sampler = Sampler(kernel)
    child = kernel.fork(ROOT)
    kernel.work(ROOT, 10)
    kernel.work(child, 20)
    sampler.collect()
    assert (sampler.user, sampler.read) == (30, 300)
    return kernel, sampler, child


def test_a_reaped_child_is_counted_once() -> None:
    """Its time comes back as its parent's, with what it used since it was last seen."""
    kernel, sampler, child = start()
    kernel.work(child, 5)
    kernel.exit(child)
    sampler.collect()
    assert (sampler.user, sampler.read) == (35, 350)
    kernel.wait(ROOT)
    for _ in range(3):
        sampler.collect()
        assert (sampler.user, sampler.read) == (35, 350)


@pytest.mark.parametrize("ignored", [True, False])
def test_a_child_that_no_member_waits_for_stays_counted(ignored: bool) -> None:
    """SIGCHLD ignored, or reaped by init: what it was last seen with is held."""
    kernel, sampler, child = start()
    if ignored:
        kernel.tasks[ROOT].ignores_children = True
    else:
        kernel.tasks[child].parent = INIT
    kernel.exit(child)
    kernel.work(ROOT, 1)
    sampler.collect()
    kernel.work(ROOT, 1)
    sampler.collect()
    assert (sampler.user, sampler.read) == (32, 320)


def test_a_child_that_was_never_seen_is_counted_by_its_parent() -> None:
    """It was born and reaped between two collections."""
    kernel, sampler, _ = start()
    child = kernel.fork(ROOT)
    kernel.work(child, 7)
    kernel.exit(child)
    kernel.wait(ROOT)
    sampler.collect()
    assert (sampler.user, sampler.read) == (37, 370)


@pytest.mark.parametrize("moment", range(4))
@pytest.mark.parametrize("lazy", [False, True])
def test_a_child_reaped_while_its_tree_is_read_is_counted_once(moment: int, lazy: bool) -> None:
    """Before or after its parent was read, whose next reading has its time then, or between a clock and the files."""
    kernel, sampler, child = start()
    sampler.lazy = lazy

    def between() -> Iterator[None]:
        for _ in range(moment):
            yield
        kernel.exit(child)
        kernel.wait(ROOT)
        yield

    sampler.collect(between())
    assert sampler.user == 30
    sampler.collect()
    assert sampler.user == 30
    kernel.work(ROOT, 3)
    sampler.collect()
    assert sampler.user == 33


def test_a_grandchild_that_comes_back_by_way_of_its_parent_is_counted_once() -> None:
    """Reaped by the child, which the root reaped, all between two collections."""
    kernel, sampler, child = start()
    grandchild = kernel.fork(child)
    kernel.work(grandchild, 40)
    sampler.collect()
    kernel.exit(grandchild)
    kernel.wait(child)
    kernel.exit(child)
    kernel.wait(ROOT)
    sampler.collect()
    assert (sampler.user, sampler.read) == (70, 700)


def test_an_orphan_that_dies_with_its_parent_is_held() -> None:
    """The root reaped the child; init had the grandchild, whose faults the root did not gain."""
    kernel, sampler, child = start()
    grandchild = kernel.fork(child)
    kernel.work(grandchild, 40)
    sampler.collect()
    kernel.work(child, 15)
    kernel.exit(child)
    kernel.exit(grandchild)
    kernel.wait(ROOT)
    for _ in range(3):
        sampler.collect()
        assert (sampler.user, sampler.read) == (85, 850)


def test_of_several_grandchildren_only_the_reaped_ones_come_back() -> None:
    """The faults that one of them explains do not stand for another, which init had, when a child was never seen."""
    kernel, sampler, child = start()
    reaped, orphan = kernel.fork(child), kernel.fork(child)
    kernel.tasks[reaped].faults, kernel.tasks[orphan].faults = 1000, 300
    kernel.work(reaped, 40)
    kernel.work(orphan, 60)
    sampler.collect()
    kernel.exit(reaped)
    kernel.wait(child)
    kernel.exit(child)
    kernel.exit(orphan)
    unseen = kernel.fork(ROOT)
    kernel.tasks[unseen].faults = 100
    kernel.work(unseen, 50)
    kernel.exit(unseen)
    kernel.wait(ROOT)
    for _ in range(3):
        sampler.collect()
        assert (sampler.user, sampler.read) == (180, 1800)


def test_the_whole_tree_may_vanish() -> None:
    """Its counters stay."""
    kernel, sampler, child = start()
    kernel.exit(ROOT)
    kernel.exit(child)
    sampler.collect()
    assert (sampler.user, sampler.tree.processes) == (30, 0)


def test_a_parent_of_the_same_pid_that_is_younger_is_no_heir() -> None:
    """The PID of a parent that is gone has been used again, by a member of a tree."""
    kernel, sampler, child = start()
    kernel.exit(ROOT)
    sampler.collect()
    kernel.tasks[child].parent = ROOT  # as it was last read
    sampler.processes[child].ppid = ROOT
    kernel.clock += 100
    kernel.tasks[ROOT] = Task(ROOT, INIT, kernel.clock, 500)
    kernel.tasks[ROOT].child_user, kernel.tasks[ROOT].child_faults = 90, 9000
    kernel._lose(kernel.tasks[child])
    sampler.collect()
    assert sampler.user == 30 + 90


def test_who_could_not_be_read_yet_is_a_member_too() -> None:
    """Of which nothing is known."""
    tree = Tree()
    tree.join(Process(7, 1, 0.0, "t", tree, ProcessFiles("/nowhere", 7, Descriptors(0), fd_size=False)))
    tree.end()
    assert (tree.processes, tree.sums.without_pss, tree.sums.unscanned, tree.sums.threads) == (1, 1, 1, 0)


def test_a_number_that_no_kernel_means_spoils_no_other() -> None:
    """A damaged file's is the nearest that there is, until the next reading."""
    _, sampler, child = start()
    before = sampler.tree.sums
    process = sampler.processes[child]
    good = process.read, process.shared
    process.read, process.shared = -5, 1 << 70
    sampler.tree.end()
    assert sampler.tree.sums == before._replace(read=100, shared=(1 << 64) - 1)
    process.read, process.shared = good
    sampler.tree.end()
    assert sampler.tree.sums == before


def test_states_are_the_kernels_letters() -> None:
    """Those that have no name are none of them."""
    assert dict(zip(STATES, count_states([b"S", b"I", b"R", b"Z", b"t", b"?", b"S"]), strict=True)) == {
        "running": 1,
        "sleeping": 3,
        "disk_sleep": 0,
        "stopped": 1,
        "zombie": 1,
    }


def test_a_successor_goes_on_where_the_counters_stood() -> None:
    """It adds what live processes used meanwhile, and never steps back."""
    kernel, sampler, child = start()
    kernel.work(ROOT, 1)
    successor = Sampler(kernel)
    successor.tree.resume(sampler.tree.counters, sampler.tree.live)
    kernel.exit(ROOT)
    kernel.exit(child)
    successor.collect()
    assert successor.user == 30
    successor = Sampler(Kernel())
    successor.tree.resume([100, *[0] * 8], [40, *[0] * 8])
    successor.kernel.work(ROOT, 50)
    successor.collect()
    assert successor.user == 110


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["work", "work", "fork", "exit", "wait", "ignore", "collect", "collect", "race"]),
        st.integers(0, 50),
    ),
    max_size=60,
)


def apply(kernel: Kernel, operation: str, number: int) -> None:
    """One thing that happens in the kernel, to one of its processes."""
    alive = [task.pid for task in kernel.tasks.values() if not task.zombie]
    if not alive:
        return
    pid = alive[number % len(alive)]
    if operation == "work":
        kernel.work(pid, number)
    elif operation == "fork" and len(alive) < 10:
        kernel.fork(pid)
    elif operation == "exit" and pid != ROOT:
        kernel.exit(pid)
    elif operation == "wait":
        kernel.wait(pid)
    elif operation == "ignore":
        kernel.tasks[pid].ignores_children = number % 3 == 0


@given(OPERATIONS, st.booleans())
@settings(max_examples=250)
def test_the_counters_never_step_back_and_never_exceed_the_truth(operations: list[tuple[str, int]], lazy: bool) -> None:
    """Whatever happens between two collections, between two readings of one, and whether those that rest are read."""
    kernel = Kernel()
    sampler = Sampler(kernel, lazy=lazy)
    last = (0, 0)
    pending = iter(operations)
    for operation, number in pending:
        if operation in ("collect", "race"):

            def between() -> Iterator[None]:
                for inner, count in pending:
                    if inner in ("collect", "race"):
                        return
                    apply(kernel, inner, count)
                    yield

            sampler.collect(between() if operation == "race" else None)
            assert sampler.user >= last[0]
            assert sampler.read >= last[1]
            last = sampler.user, sampler.read
        else:
            apply(kernel, operation, number)
    for _ in range(3):
        sampler.collect()
    assert sampler.user <= kernel.worked
    assert sampler.read <= kernel.wrote


@given(OPERATIONS, st.booleans())
@settings(max_examples=150)
def test_only_what_nobody_could_see_is_missing(operations: list[tuple[str, int]], lazy: bool) -> None:
    """With a collection after each thing that happens, all is counted but what a lost process did unseen."""
    kernel = Kernel()
    sampler = Sampler(kernel, lazy=lazy)
    for operation, number in operations:
        apply(kernel, operation, number)
        sampler.collect()
    for _ in range(2):
        sampler.collect()
    unseen = sum(task.user + task.child_user - sampler.last_total.get(task.pid, 0) for task in kernel.lost)
    assert kernel.worked - unseen <= sampler.user <= kernel.worked
