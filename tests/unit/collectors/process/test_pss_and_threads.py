"""The process collector's costlier readings and what follows from several collections: PSS, threads, maxima, bounds."""

from __future__ import annotations

from pathlib import Path

import pytest

from prom_probe.collectors.process import pss_and_threads as costly
from prom_probe.collectors.process.collector import ProcessCollector
from prom_probe.model.watch import Watch
from tests.support.collector_harness import Machine

PID = Watch("job", "pid", "100")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path)
    machine.proc.process(1, 0, b"init")
    return machine


def of(row: dict[str, float], name: str, labels: str = "") -> float | None:
    """A value of the tree's, None where it is absent."""
    return row.get(f'proctree_{name}{{{labels}tree="job"}}')


def switches(row: dict[str, float], kind: str) -> float | None:
    return row.get(f'proctree_context_switches_total{{tree="job", type="{kind}"}}')


def test_pss_is_read_when_asked_for_and_not_of_large_processes(machine: Machine) -> None:
    """What is too large is counted, and what is left is the sum; a process alone shows its own."""
    machine.proc.process(100, pss=400, resident=10)
    machine.proc.process(101, 100, pss=200, resident=10)
    machine.proc.process(102, 100, pss=999, resident=1000)
    collector = machine.make(ProcessCollector, PID, pss_interval_s=10.0, pss_max_rss_bytes=100 * 4096)
    row = machine.collect(collector, 3)
    assert of(row, "pss_memory_bytes") == 600 << 10
    assert of(row, "uss_memory_bytes") == 300 << 10
    assert of(row, "processes_without_pss") == 1
    assert row['proctree_process_pss_memory_bytes{comm="app", pid="101", tree="job"}'] == 200 << 10
    assert 'proctree_process_pss_memory_bytes{comm="app", pid="102", tree="job"}' not in row
    assert row['prom_probe_source_readable{source="proc_pid_smaps_rollup"}'] == 1
    machine.proc.process(100, pss=40, resident=10)
    assert of(machine.collect(collector), "pss_memory_bytes") == 600 << 10  # it is not due yet
    assert of(machine.collect(collector, 10), "pss_memory_bytes") == 240 << 10


def test_pss_is_that_of_the_program_that_runs(machine: Machine) -> None:
    """Read anew after an exec, although it is not due; not of a vforked child, which has its parent's memory."""
    machine.proc.process(100, pss=400, resident=1000, state="D", stack=77)
    machine.proc.process(101, 100, b"app", pss=400, resident=1000, start=200, stack=77)
    machine.proc.process(102, 100, b"sh", pss=300, resident=990, start=200, stack=5)
    collector = machine.make(ProcessCollector, PID, pss_interval_s=60.0, pss_max_rss_bytes=1 << 30)
    row = machine.collect(collector)
    assert of(row, "pss_memory_bytes") == 700 << 10
    assert of(row, "processes_without_pss") == 0
    machine.proc.process(101, 100, b"true", pss=30, resident=10, start=200, stack=78)
    machine.proc.process(102, 100, b"small", pss=20, resident=10, start=200, stack=6)
    row = machine.collect(collector)
    assert of(row, "pss_memory_bytes") == 450 << 10
    assert row['proctree_process_pss_memory_bytes{comm="small", pid="102", tree="job"}'] == 20 << 10


def test_without_the_flags_there_are_no_such_series(machine: Machine) -> None:
    """PSS, USS and switches cost too much to be read unasked."""
    machine.proc.process(100)
    row = machine.collect(machine.make(ProcessCollector, PID), 3)
    assert not any(word in series for series in row for word in ("pss", "uss", "context_switches", "threads_state"))


def test_pss_that_is_denied_is_no_series(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another uid's."""
    machine.proc.process(100, pss=400)

    def denied(files: object) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("prom_probe.sources.process_files.ProcessFiles.smaps_rollup", denied)
    row = machine.collect(machine.make(ProcessCollector, PID, pss_interval_s=1.0), 3)
    assert of(row, "pss_memory_bytes") is None
    assert of(row, "processes_without_pss") == 1
    assert row['prom_probe_source_readable{source="proc_pid_smaps_rollup"}'] == 0


def test_one_collection_reads_only_so_much_pss(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no time at all one process a collection, in turn; all of them in the end."""
    monkeypatch.setattr(costly, "_PSS_S", 0.0)
    for pid in range(100, 105):
        machine.proc.process(pid, 100 if pid > 100 else 1, pss=100, stack=pid)
    collector = machine.make(ProcessCollector, PID, pss_interval_s=60.0)
    assert [of(machine.collect(collector), "processes_without_pss") for _ in range(6)] == [4, 3, 2, 1, 0, 0]


def test_context_switches_are_those_of_all_threads(machine: Machine) -> None:
    """Of threads and processes that have ended too, as far as they were seen; so is the run queue's delay."""
    machine.proc.process(100, tasks={100: ("S", 10, 1, 10**9), 105: ("R", 20, 2, 10**9)})
    machine.proc.process(101, 100, tasks={101: ("D", 100, 50, 0)})
    collector = machine.make(ProcessCollector, PID, context_switches=True)
    row = machine.collect(collector)
    assert (switches(row, "voluntary"), switches(row, "nonvoluntary")) == (130, 53)
    assert of(row, "cpu_waiting_seconds_total") == 2
    assert [of(row, "threads_state", f'state="{state}", ') for state in ("running", "sleeping", "disk_sleep")] == [
        1,
        1,
        1,
    ]
    # A thread has ended, its ID has come again, another is new.
    machine.proc.process(100, tasks={100: ("S", 15, 1, 10**9), 105: ("S", 3, 0, 0), 106: ("S", 1, 0, 5 * 10**8)})
    row = machine.collect(collector)
    assert (switches(row, "voluntary"), switches(row, "nonvoluntary")) == (139, 53)
    assert of(row, "cpu_waiting_seconds_total") == 2.5
    machine.proc.end(101)
    assert switches(machine.collect(collector), "voluntary") == 139


def test_all_threads_are_looked_at_in_each_collection(machine: Machine) -> None:
    """However many there are: else those that come later would look like a burst."""

    def second(number: int) -> None:
        for pid in range(100, 103):
            tasks = {pid + 1000 * thread: ("S", number, 0, number * 10**8) for thread in range(100)}
            machine.proc.process(pid, 100 if pid > 100 else 1, threads=100, tasks=tasks)

    collector = machine.make(ProcessCollector, PID, context_switches=True)
    for number in range(1, 4):
        second(number)
        row = machine.collect(collector)
        assert switches(row, "voluntary") == 300 * number
        assert of(row, "cpu_waiting_seconds_total") == 30 * number
    assert of(row, "run_queue_length_max") == 30


def test_maxima_tell_of_a_spike_between_two_scrapes(machine: Machine) -> None:
    """Memory, processes, descriptors, CPU use and the run queue; a spike is over after the window."""
    machine.proc.process(100, resident=10, fds=3)
    collector = machine.make(ProcessCollector, PID)
    machine.collect(collector, 2)
    machine.proc.process(100, resident=900, shared=100, fds=50, utime=150, waited=3 * 10**8, threads=7)
    machine.collect(collector)
    machine.proc.process(100, resident=10, fds=3, utime=160, waited=3 * 10**8)
    names = (
        "resident_memory_max_bytes",
        "anonymous_memory_max_bytes",
        "open_fds_max",
        "threads_max",
        "cpus_used_max",
        "run_queue_length_max",
    )
    spike = [900 * 4096, 800 * 4096, 50, 7, 1.5, 0.3]
    for seconds in (1, 60, 57):
        row = machine.collect(collector, seconds)
        assert [of(row, name) for name in names] == spike
    row = machine.collect(collector, 10)
    assert [of(row, name) for name in names] == [10 * 4096, 5 * 4096, 3, 1, 0, 0]


def test_no_more_can_wait_than_there_are(machine: Machine) -> None:
    """The kernel counts a wait when it ends: of five seconds all are in the last one."""
    machine.proc.process(100)
    machine.proc.process(101, 100)
    collector = machine.make(ProcessCollector, PID)
    machine.collect(collector, 2)
    machine.proc.process(100, waited=5 * 10**9)
    row = machine.collect(collector)
    assert of(row, "run_queue_length_max") == 2
    assert of(row, "cpu_waiting_seconds_total") == 5


def test_a_collection_that_is_held_up_makes_no_rate_larger(machine: Machine) -> None:
    """What was read late in one counts less in the next than what was read early."""
    slow = [0.0]

    def clock(pid: int) -> int:
        machine.now += slow[0]
        return round(machine.now * 1e9)

    machine.proc.process(100)
    collector = machine.make(ProcessCollector, PID, process_clock=clock)
    slow[0] = 0.4
    machine.collect(collector, 2)  # the next begins a second after this one ends
    machine.proc.process(100, utime=140, waited=7 * 10**8)
    slow[0] = 0.0
    row = machine.collect(collector)
    assert of(row, "cpus_used_max") == pytest.approx(1)
    assert of(row, "run_queue_length_max") == pytest.approx(0.5)


def test_maxima_survive_their_worker(machine: Machine) -> None:
    """They are in the checkpoint, and so are the counters, the peak and what is unattributed."""
    machine.proc.process(100, resident=900, waited=10**9, minflt=70, majflt=3, peak=5000)
    collector = machine.make(ProcessCollector, PID)
    machine.collect(collector, 2)
    machine.proc.process(100, resident=10, waited=10**9, minflt=70, majflt=3, peak=5000)
    before = machine.collect(collector)
    successor = machine.make(ProcessCollector, PID)
    successor.restore(collector.checkpoint())
    row = machine.collect(successor)
    assert of(row, "resident_memory_max_bytes") == 900 * 4096
    assert of(row, "cpus_used_max") == 0  # a successor's first sight is no use of CPU
    assert row == before


def test_what_a_process_had_used_before_it_joined_is_no_cpu_use(machine: Machine) -> None:
    """A watch by name finds a server that has run for a day."""
    machine.proc.process(100, 1, b"server")
    collector = machine.make(ProcessCollector, Watch("job", "comm", "server"))
    machine.collect(collector, 2)
    machine.proc.process(200, 1, b"server", utime=8_640_000, waited=10**12, start=900)
    row = machine.collect(collector)
    assert of(row, "cpus_used_max") == 0
    assert of(row, "run_queue_length_max") == 0
    assert row['proctree_cpu_seconds_total{mode="user", tree="job"}'] == 86400
    machine.proc.process(200, 1, b"server", utime=8_640_050, waited=10**12, start=900)
    assert of(machine.collect(collector), "cpus_used_max") == 0.5


def test_processes_without_series_are_counted(machine: Machine) -> None:
    """Those beyond the bound."""
    for pid in range(100, 110):
        machine.proc.process(pid, 100 if pid > 100 else 1)
    collector = machine.make(ProcessCollector, PID, max_processes=4)
    assert [of(machine.collect(collector), "processes_without_series") for _ in range(4)] == [6, 6, 6, 6]


def test_a_kernel_without_schedstat_and_old_status(machine: Machine) -> None:
    """No series, and the source is said to be unreadable; the rest is there."""
    machine.proc.process(100)
    directory = machine.proc.root / "100"
    (directory / "schedstat").unlink()
    (directory / "status").write_text("Name:\tapp\nVmHWM:\t     400 kB\nThreads:\t1\n")
    (directory / "limits").unlink()
    row = machine.collect(machine.make(ProcessCollector, PID), 3)
    assert row['prom_probe_source_readable{source="proc_pid_schedstat"}'] == 0
    absent = (
        "cpu_waiting_seconds_total",
        "shared_memory_bytes",
        "file_memory_bytes",
        "swap_memory_bytes",
        "open_fds_ratio",
    )
    assert [of(row, name) for name in absent] == [None] * 5
    assert of(row, "anonymous_memory_bytes") == 5 * 4096
    assert of(row, "largest_process_memory_peak_bytes") == 400 << 10
    assert of(row, "processes") == 1
