"""The process collector on the real kernel: short-lived children, churn, descriptors, and what is left unread."""

from __future__ import annotations

import gc
import os
import re
import resource
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from prom_probe.collectors.base import Context
from prom_probe.collectors.process.collector import ProcessCollector
from prom_probe.collectors.process.roster import Roster
from prom_probe.collectors.process.rule import decode
from prom_probe.model.watch import Watch
from prom_probe.sources.descriptors import Descriptors, read_once
from prom_probe.sources.proc_pid_io import parse_proc_pid_io
from prom_probe.sources.proc_pid_schedstat import parse_proc_pid_schedstat
from prom_probe.sources.proc_pid_stat import parse_proc_pid_stat
from tests.support.collector_harness import values
from tests.support.processes import burn, child, collect_until, ended, running, sleep

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


def collector_of(pid: int, **settings: object) -> ProcessCollector:
    context = Context(watches=(Watch("t", "pid", str(pid)),))
    for name, value in settings.items():
        setattr(context, name, value)
    return ProcessCollector(context)


def cpu(collector: ProcessCollector) -> float:
    """The tree's CPU seconds."""
    row = values(collector)
    return sum(row.get(f'proctree_cpu_seconds_total{{mode="{mode}", tree="t"}}', 0.0) for mode in ("user", "system"))


def processes(collector: ProcessCollector) -> float:
    return values(collector)['proctree_processes{tree="t"}']


@pytest.mark.parametrize(("burn_ms", "gap_ms", "rounds"), [(50, 5, 8), (100, 20, 4), (3, 2, 60)])
def test_children_that_live_less_than_a_collection_are_counted(burn_ms: int, gap_ms: int, rounds: int) -> None:
    """Their time arrives with their parent's wait; the truth is what wait4 says in the end."""

    def work() -> None:
        for _ in range(rounds):
            os.waitpid(child(lambda: burn(burn_ms / 1e3)), 0)
            time.sleep(gap_ms / 1e3)

    with running(work) as pid:
        collector = collector_of(pid)
        collect_until(collector, lambda: ended(pid))
        collector.collect()
        _, _, usage = os.wait4(pid, 0)
        truth = usage.ru_utime + usage.ru_stime
        # A zombie's time is final; it is in ticks, of the parent's and of its children's user and system time.
        assert cpu(collector) == pytest.approx(truth, rel=0.02, abs=0.04)
        collector.collect()
        assert cpu(collector) == pytest.approx(truth, rel=0.02, abs=0.04)
        collector.close()


def test_a_fork_storm_neither_loses_nor_doubles_time() -> None:
    """Hundreds of children, several at a time, that are seen or not; the counter never steps back."""

    def work() -> None:
        for _ in range(20):
            pids = [child(lambda: burn(0.002)) for _ in range(8)]
            for pid in pids:
                os.waitpid(pid, 0)

    with running(work) as pid:
        collector = collector_of(pid)
        last = 0.0

        def step() -> bool:
            nonlocal last
            now = cpu(collector) if collector.layout.columns else 0.0
            assert now >= last
            last = now
            return ended(pid)

        collect_until(collector, step)
        collector.collect()
        _, _, usage = os.wait4(pid, 0)
        assert cpu(collector) == pytest.approx(usage.ru_utime + usage.ru_stime, rel=0.03, abs=0.04)
        collector.close()


def test_time_of_children_that_nobody_waits_for_is_held() -> None:
    """SIGCHLD ignored: the kernel reaps them, and the parent gains nothing."""
    ready, done = os.pipe()
    go, start = os.pipe()

    def burn_and_wait() -> None:
        burn(0.2)
        os.write(done, b"!")
        os.read(go, 1)

    def work() -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        child(burn_and_wait)
        sleep()

    with running(work) as pid:
        collector = collector_of(pid)
        collector.collect()
        os.read(ready, 1)
        collector.collect()
        seen = cpu(collector)
        assert seen >= 0.19
        assert processes(collector) == 2
        os.write(start, b"!")
        collect_until(collector, lambda: processes(collector) == 1)
        for _ in range(5):
            collector.collect()
            assert seen <= cpu(collector) < seen + 0.05
        collector.close()
    for fd in (ready, done, go, start):
        os.close(fd)


def test_a_child_of_a_thread_is_found() -> None:
    """The children of a process are those of all its threads; threads themselves are no processes."""
    ready, done = os.pipe()

    def work() -> None:
        import threading

        def fork() -> None:
            child(sleep)
            os.write(done, b"!")
            signal.pause()

        threading.Thread(target=fork, daemon=True).start()
        sleep()

    with running(work) as pid:
        collector = collector_of(pid)
        collector.collect()
        os.read(ready, 1)
        collect_until(collector, lambda: processes(collector) == 2)
        assert values(collector)['proctree_threads{tree="t"}'] == 3
        collector.close()
    os.close(ready)
    os.close(done)


def test_a_thread_is_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes a PID, and has its process's parent; a child is found by its PID, without listing /proc."""
    ready, done = os.pipe()
    go, start = os.pipe()

    def work() -> None:
        import threading

        os.read(go, 1)
        threading.Thread(target=signal.pause, daemon=True).start()
        child(sleep)
        os.write(done, b"!")
        sleep()

    with running(lambda: (child(work), sleep())) as pid:
        collector = collector_of(pid)
        collector.collect()
        collect_until(collector, lambda: processes(collector) == 2)
        monkeypatch.setattr(Roster, "_list", lambda roster: set())
        os.write(start, b"!")
        os.read(ready, 1)
        collect_until(collector, lambda: processes(collector) > 2)
        for _ in range(3):
            collector.collect()
        assert processes(collector) == 3
        assert values(collector)['proctree_threads{tree="t"}'] == 4
        collector.close()
    for fd in (ready, done, go, start):
        os.close(fd)


def test_an_orphan_that_sleeps_is_known_to_have_another_parent() -> None:
    """It need not run to be adopted; whose heir a dead process's time is depends on it."""
    ready, done = os.pipe()

    def middle() -> None:
        os.write(done, b"%d %d\n" % (os.getpid(), child(sleep)))
        sleep()

    def root() -> None:
        child(middle)
        os.wait()
        sleep()

    with running(root) as pid:
        middle_pid, leaf_pid = map(int, os.read(ready, 100).split())
        collector = collector_of(pid)
        for _ in range(5):
            collector.collect()
        leaf = collector._processes[leaf_pid]
        assert leaf.ppid == middle_pid
        os.kill(middle_pid, signal.SIGKILL)
        collect_until(collector, lambda: processes(collector) == 2)
        for _ in range(2):
            collector.collect()
        assert leaf.ppid != middle_pid
        collector.close()
    os.close(ready)
    os.close(done)


@contextmanager
def sleeping_tree(count: int) -> Iterator[int]:
    """A root with so many sleeping children."""
    ready, done = os.pipe()

    def work() -> None:
        for _ in range(count):
            child(lambda: (os.write(done, b"!"), sleep()))
        sleep()

    with running(work) as pid:
        seen = 0
        while seen < count:
            seen += len(os.read(ready, count))
        try:
            yield pid
        finally:
            os.close(ready)
            os.close(done)


@pytest.mark.parametrize(("limit", "kept"), [(0, 0), (10, 10), (1000, 5 * 21 + 1)])
def test_descriptors_stay_within_the_budget_and_are_given_back(limit: int, kept: int) -> None:
    """The numbers are the same with and without them."""
    gc.collect()  # what other tests have left may have descriptors
    before = len(os.listdir("/proc/self/fd"))
    with sleeping_tree(20) as pid:
        collector = collector_of(pid, descriptors=Descriptors(limit))
        for _ in range(3):
            collector.collect()
        assert len(os.listdir("/proc/self/fd")) - before <= kept + 2  # and the tree's own pipe
        row = values(collector)
        assert row['proctree_processes{tree="t"}'] == 21
        assert row['proctree_open_fds{tree="t"}'] >= 3 * 21
        assert sum("proctree_process_threads" in series for series in row) == 21
        collector.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_collector_without_descriptors_left_still_collects() -> None:
    """RLIMIT_NOFILE is nearly used up by somebody else."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with sleeping_tree(10) as pid:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 20, hard))
        try:
            collector = collector_of(pid, descriptors=Descriptors(1000))
            for _ in range(3):
                collector.collect()
            assert processes(collector) == 11
            assert values(collector)['prom_probe_source_readable{source="proc_pid_io"}'] == 1
            collector.close()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def kernel_says(pids: list[int]) -> dict[int, tuple[int, int, int, int]]:
    """Of each process: user and system ticks, ns that it waited for a CPU, bytes that it wrote."""
    numbers = {}
    for pid in pids:
        stat = parse_proc_pid_stat(read_once(f"/proc/{pid}/stat"))
        waited = parse_proc_pid_schedstat(read_once(f"/proc/{pid}/schedstat"))
        _, written = parse_proc_pid_io(read_once(f"/proc/{pid}/io"))
        assert written is not None
        numbers[pid] = stat.utime, stat.stime, waited, written
    return numbers


def test_each_second_of_many_busy_processes_is_what_the_kernel_says(tmp_path: Path) -> None:
    """Forty on two CPUs: each number lies between what was there before and after the collection; some 38 wait."""
    count, cpus = 40, sorted(os.sched_getaffinity(0))[:2]

    def write_for_ever() -> None:
        with open(tmp_path / str(os.getpid()), "wb", buffering=0) as file:
            while True:
                file.seek(0)
                file.write(bytes(1 << 16))
                burn(0.01)

    def work() -> None:
        os.sched_setaffinity(0, cpus)
        for _ in range(count - 1):
            child(write_for_ever)
        write_for_ever()

    with running(work) as pid:
        collector = collector_of(pid, local_after=1)
        collector.collect()
        collect_until(collector, lambda: processes(collector) == count)
        pids = list(collector._processes)
        hz = os.sysconf("SC_CLK_TCK")
        end = time.monotonic() + 3.5
        while time.monotonic() < end:
            time.sleep(1.0)
            before = kernel_says(pids)
            collector.collect()
            after, row = kernel_says(pids), values(collector)
            for each in pids:
                own = f'comm="{decode(collector._processes[each].comm)}", '
                name = f'pid="{each}", tree="t"'
                said = (
                    row[f'proctree_process_cpu_seconds_total{{{own}mode="user", {name}}}'] * hz,
                    row[f'proctree_process_cpu_seconds_total{{{own}mode="system", {name}}}'] * hz,
                    collector._processes[each].waited,
                    row[f"proctree_process_io_write_bytes_total{{{own}{name}}}"],
                )
                for low, number, high in zip(before[each], said, after[each], strict=True):
                    assert low - 1e-6 <= number <= high + 1e-6
            waited = row['proctree_cpu_waiting_seconds_total{tree="t"}'] * 1e9
            low, high = (sum(numbers[2] for numbers in kernel.values()) for kernel in (before, after))
            assert low - 1e3 <= waited <= high + 1e3
        assert (count - len(cpus)) * 0.75 < values(collector)['proctree_run_queue_length_max{tree="t"}'] <= count
        collector.close()


class Listings:
    """A roster that is told the newest PID and what a listing finds; `at`: the collections that have listed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, newest: int) -> None:
        self.newest = newest
        self.found: set[int] = set()
        self.at: list[int] = []
        self._beat = 0
        monkeypatch.setattr(Roster, "_read_newest_pid", lambda roster: self.newest)
        monkeypatch.setattr(Roster, "_list", lambda roster: self.listing(roster))
        monkeypatch.setattr(Roster, "_count_links", lambda roster: False)  # else this machine's processes count too
        self._roster = Roster(Context())

    def listing(self, roster: Roster) -> set[int]:
        roster._since_listing = 0
        self.at.append(self._beat)
        found, self.found = self.found, set()
        return found

    def go_on(self, collections: int) -> list[int]:
        """The gaps between listings that come, from the last one on."""
        before = len(self.at)
        for _ in range(collections):
            self._roster.refresh()
            self._beat += 1
        return [later - earlier for earlier, later in pairwise(self.at[max(before - 1, 0) :])]


def test_proc_is_listed_seldom_where_the_newest_pid_can_be_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ever more seldom while nothing is missed, always often once something was."""
    listings = Listings(monkeypatch, 10**7)
    assert listings.go_on(2000) == [10, 40, 160, 512, 512, 512]
    listings.found = {77}  # an old PID, of which nobody has told
    assert listings.go_on(1000)[:3] == [512, 10, 10]
    assert listings.go_on(1000) == [10] * 100


def test_proc_is_listed_often_where_the_newest_pid_is_older_than_we(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a kernel that says 0."""
    assert Listings(monkeypatch, 0).go_on(200) == [10] * 19


def test_what_is_forked_while_proc_is_listed_has_not_been_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is newer than what was the newest before."""
    listings = Listings(monkeypatch, 10**7)
    listings.go_on(100)

    def fork_and_list(roster: Roster) -> set[int]:
        listings.newest += 1
        listings.found = {listings.newest}
        return listings.listing(roster)

    monkeypatch.setattr(Roster, "_list", fork_and_list)
    assert listings.go_on(2000) == [160, 512, 512, 512]


def test_threads_and_pss_of_a_real_process() -> None:
    """Context switches over all threads, each thread's state, PSS that is at most what is resident."""
    ready, done = os.pipe()

    def work() -> None:
        import threading

        def nap() -> None:
            for _ in range(200):
                time.sleep(0.0001)
            os.write(done, b"!")
            signal.pause()

        threading.Thread(target=nap, daemon=True).start()
        sleep()

    with running(work) as pid:
        os.read(ready, 1)
        collector = collector_of(pid, context_switches=True, pss_interval_s=0.01)
        voluntary = 'proctree_context_switches_total{tree="t", type="voluntary"}'
        asleep = 'proctree_threads_state{state="sleeping", tree="t"}'
        parts = [f'proctree_{part}_memory_bytes{{tree="t"}}' for part in ("anonymous", "file", "shared")]
        resident = 'proctree_resident_memory_bytes{tree="t"}'

        def settled() -> bool:
            """Whether all has been read since both threads sleep for good."""
            row = values(collector)
            whole = all(part in row for part in parts) and sum(row[part] for part in parts) == row[resident]
            return whole and row.get(asleep) == 2 and row.get(voluntary) == voluntary_switches(pid)

        collect_until(collector, settled)
        row = values(collector)
        assert row['proctree_cpu_waiting_seconds_total{tree="t"}'] > 0
        uss, pss = row['proctree_uss_memory_bytes{tree="t"}'], row['proctree_pss_memory_bytes{tree="t"}']
        assert 0 < uss <= pss <= row[resident]
        assert row['proctree_largest_process_memory_peak_bytes{tree="t"}'] >= 0.9 * row[resident]
        collector.close()
    os.close(ready)
    os.close(done)


def voluntary_switches(pid: int) -> int:
    """The kernel's count, of all threads; each that has slept 200 times has some 200."""
    paths = Path(f"/proc/{pid}/task").glob("*/status")
    found = sum(int(re.findall(r"^voluntary_ctxt_switches:\s+(\d+)", path.read_text(), re.M)[0]) for path in paths)
    assert found > 100
    return found
