"""The process collector on made-up machines: what it counts, how it labels it, and what it never does."""

from __future__ import annotations

from pathlib import Path

import pytest

from prom_probe.collectors.process.checkpoint import read_summaries
from prom_probe.collectors.process.collector import ProcessCollector
from prom_probe.model.watch import Watch
from prom_probe.sources.process_files import ProcessFiles
from tests.support.collector_harness import Machine, values

PID = Watch("job", "pid", "100")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path)
    machine.proc.process(1, 0, b"init")
    machine.proc.process(50, 1, b"other", utime=999, minflt=1)
    return machine


def test_a_tree_is_the_sum_of_its_processes_in_base_units(machine: Machine) -> None:
    """Ticks become seconds, pages bytes; lineage decides who is in."""
    machine.proc.process(
        100, 1, b"root", utime=100, stime=50, cutime=10, cstime=5, start=2000, threads=2, resident=10, virtual=100,
        read=4096, write=100, fds=4, shared=6, shmem=8, swap=3, peak=70, minflt=9, cminflt=1, majflt=2, cmajflt=3,
        waited=1_500_000_000, max_fds=40,
    )  # fmt: skip
    machine.proc.process(
        101, 100, b"child", utime=7, start=2100, threads=3, resident=5, virtual=50, read=1, fds=2, shared=1, swap=4,
        peak=90, waited=20_000_000, max_fds=5, minflt=1,
    )  # fmt: skip
    machine.proc.process(
        102,
        101,
        b"grandchild",
        stime=1,
        start=2200,
        resident=1,
        virtual=1,
        fds=0,
        state="R",
        shared=0,
        max_fds="unlimited",
    )
    collector = machine.make(ProcessCollector, PID)
    row = machine.collect(collector)
    assert {series: value for series, value in row.items() if "proctree_process_" not in series} == {
        'prom_probe_source_readable{source="proc_pid_io"}': 1,
        'prom_probe_source_readable{source="proc_pid_fd"}': 1,
        'prom_probe_source_readable{source="proc_pid_schedstat"}': 1,
        'proctree_processes{tree="job"}': 3,
        'proctree_page_faults_total{tree="job", type="minor"}': 11,
        'proctree_page_faults_total{tree="job", type="major"}': 5,
        'proctree_cpu_waiting_seconds_total{tree="job"}': pytest.approx(1.52),
        'proctree_largest_process_memory_peak_bytes{tree="job"}': 90 << 10,
        'proctree_anonymous_memory_bytes{tree="job"}': 9 * 4096,
        'proctree_file_memory_bytes{tree="job"}': 7 * 4096 - (8 << 10),
        'proctree_shared_memory_bytes{tree="job"}': 8 << 10,
        'proctree_swap_memory_bytes{tree="job"}': 7 << 10,
        'proctree_open_fds_ratio{tree="job"}': 0.4,
        'proctree_processes_state{state="running", tree="job"}': 1,
        'proctree_processes_state{state="sleeping", tree="job"}': 2,
        'proctree_processes_state{state="disk_sleep", tree="job"}': 0,
        'proctree_processes_state{state="stopped", tree="job"}': 0,
        'proctree_processes_state{state="zombie", tree="job"}': 0,
        'proctree_processes_without_series{tree="job"}': 0,
        'proctree_resident_memory_max_bytes{tree="job"}': 16 * 4096,
        'proctree_anonymous_memory_max_bytes{tree="job"}': 9 * 4096,
        'proctree_processes_max{tree="job"}': 3,
        'proctree_threads_max{tree="job"}': 6,
        'proctree_open_fds_max{tree="job"}': 6,
        'proctree_cpu_seconds_total{mode="user", tree="job"}': pytest.approx(1.17),
        'proctree_cpu_seconds_total{mode="system", tree="job"}': pytest.approx(0.56),
        'proctree_io_read_bytes_total{tree="job"}': 4097,
        'proctree_io_write_bytes_total{tree="job"}': 100,
        'proctree_threads{tree="job"}': 6,
        'proctree_resident_memory_bytes{tree="job"}': 16 * 4096,
        'proctree_virtual_memory_bytes{tree="job"}': 151 * 4096,
        'proctree_open_fds{tree="job"}': 6,
        'proctree_start_time_seconds{tree="job"}': 1_000_020,
        'proctree_counters_start_time_seconds{tree="job"}': 1_000_020,
    }


def test_a_page_is_as_large_as_the_machine_says(machine: Machine) -> None:
    """64 KiB pages."""
    machine.proc.process(100, resident=3)
    collector = machine.make(ProcessCollector, PID, page_bytes=65536)
    assert machine.collect(collector)['proctree_resident_memory_bytes{tree="job"}'] == 3 * 65536


@pytest.mark.parametrize(
    ("comm", "label"),
    [
        (b"a b", "a b"),
        (b"a) S 1 (b", "a) S 1 (b"),
        (b"two\nlines", "two\\nlines"),
        (b'quo"te\\', 'quo\\"te\\\\'),
        (b"\xff\xfe", "\\\\xff\\\\xfe"),
        ("größe".encode(), "größe"),
    ],
)
def test_a_command_name_of_any_bytes_becomes_a_label(machine: Machine, comm: bytes, label: str) -> None:
    """What is no UTF-8 is written as \\xNN."""
    machine.proc.process(100, 1, comm, threads=5)
    collector = machine.make(ProcessCollector, PID)
    row = machine.collect(collector, 3)
    assert row[f'proctree_process_threads{{comm="{label}", pid="100", tree="job"}}'] == 5


def test_a_process_has_series_from_the_first_collection(machine: Machine) -> None:
    """They are local unless asked for, its own time without its children's, and end with it."""
    machine.proc.process(100, utime=100, cutime=900, start=500)
    collector = machine.make(ProcessCollector, PID)
    name = 'proctree_process_cpu_seconds_total{comm="app", mode="user", pid="100", tree="job"}'
    row = machine.collect(collector)
    assert row[name] == 1
    assert row['proctree_process_start_time_seconds{comm="app", pid="100", tree="job"}'] == 1_000_005
    local = [column for column in collector.layout.columns if not column.exposed]
    assert len(local) == 18
    names = {column.family.name for column in local if not column.family.name.startswith("proctree_process_")}
    assert names == {"proctree_counters_start_time_seconds"}
    machine.proc.end(100)
    assert not any(series.startswith("proctree_process_") for series in machine.collect(collector))


def test_per_process_series_may_be_exposed(machine: Machine) -> None:
    """--expose.per-process."""
    machine.proc.process(100)
    collector = machine.make(ProcessCollector, PID, expose_per_process=True)
    machine.collect(collector, 3)
    local = [column.family.name for column in collector.layout.columns if not column.exposed]
    assert local == ["proctree_counters_start_time_seconds"]


def test_only_so_many_processes_get_series(machine: Machine) -> None:
    """The rest is in the tree's sums; who is gone makes room."""
    for pid in range(100, 110):
        machine.proc.process(pid, 100 if pid > 100 else 1)
    collector = machine.make(ProcessCollector, PID, max_processes=4)
    row = machine.collect(collector, 3)
    assert sum("proctree_process_threads" in series for series in row) == 4
    assert row['proctree_threads{tree="job"}'] == 10
    machine.proc.end(101)
    row = machine.collect(collector)
    assert sum("proctree_process_threads" in series for series in row) == 4


def test_an_exec_gives_a_process_series_of_its_new_name(machine: Machine) -> None:
    """The old ones end."""
    machine.proc.process(100, 1, b"sh")
    collector = machine.make(ProcessCollector, PID)
    machine.collect(collector, 3)
    machine.proc.process(100, 1, b"python")
    row = machine.collect(collector)
    assert 'proctree_process_threads{comm="python", pid="100", tree="job"}' in row
    assert 'proctree_process_threads{comm="sh", pid="100", tree="job"}' not in row


def test_a_gone_tree_keeps_its_counters_and_loses_its_gauges(machine: Machine) -> None:
    """Zero processes are a number; no memory is none."""
    machine.proc.process(100, utime=100, read=5, peak=50)
    collector = machine.make(ProcessCollector, PID)
    machine.collect(collector)
    machine.proc.end(100)
    kept = {
        'prom_probe_source_readable{source="proc_pid_io"}': 1,
        'prom_probe_source_readable{source="proc_pid_fd"}': 1,
        'prom_probe_source_readable{source="proc_pid_schedstat"}': 1,
        'proctree_processes{tree="job"}': 0,
        'proctree_cpu_seconds_total{mode="user", tree="job"}': 1,
        'proctree_cpu_seconds_total{mode="system", tree="job"}': 0,
        'proctree_io_read_bytes_total{tree="job"}': 5,
        'proctree_io_write_bytes_total{tree="job"}': 0,
        'proctree_page_faults_total{tree="job", type="minor"}': 0,
        'proctree_page_faults_total{tree="job", type="major"}': 0,
        'proctree_cpu_waiting_seconds_total{tree="job"}': 0,
        'proctree_largest_process_memory_peak_bytes{tree="job"}': 50 << 10,
        'proctree_counters_start_time_seconds{tree="job"}': 1_000_001,
    }
    maxima = {
        'proctree_resident_memory_max_bytes{tree="job"}': 10 * 4096,
        'proctree_anonymous_memory_max_bytes{tree="job"}': 5 * 4096,
        'proctree_processes_max{tree="job"}': 1,
        'proctree_threads_max{tree="job"}': 1,
        'proctree_open_fds_max{tree="job"}': 3,
    }
    assert machine.collect(collector) == kept | maxima
    assert machine.collect(collector, 118) == kept | maxima  # its maxima stay for one window
    assert machine.collect(collector, 10) == kept


def test_a_tree_that_was_never_seen_has_no_counters(machine: Machine) -> None:
    """A counter that begins at 0 would make a long-lived process's first reading a jump."""
    collector = machine.make(ProcessCollector, Watch("job", "comm", "later"))
    assert "proctree_cpu_seconds_total" not in str(machine.collect(collector))
    assert values(collector)['proctree_processes{tree="job"}'] == 0


def test_counters_survive_the_restart_of_a_process(machine: Machine) -> None:
    """A watch by name goes on with the next process of that name."""
    machine.proc.process(100, 1, b"server", utime=300)
    collector = machine.make(ProcessCollector, Watch("job", "comm", "server"))
    machine.collect(collector)
    machine.proc.end(100)
    machine.collect(collector)
    machine.proc.process(200, 1, b"server", utime=50, start=900)
    row = machine.collect(collector)
    assert row['proctree_cpu_seconds_total{mode="user", tree="job"}'] == pytest.approx(3.5)


def test_a_reused_pid_is_another_process(machine: Machine) -> None:
    """Neither a pid watch nor a tree mistakes it for the one that was there."""
    machine.proc.process(100, utime=300, start=500)
    machine.proc.process(101, 100, utime=100, start=600)
    collector = machine.make(ProcessCollector, PID)
    machine.collect(collector)
    machine.proc.process(100, utime=7, start=9000)
    machine.proc.process(101, 1, utime=9, start=9000)
    row = machine.collect(collector, 3)
    assert row['proctree_processes{tree="job"}'] == 0
    assert row['proctree_cpu_seconds_total{mode="user", tree="job"}'] == 4


def test_a_zombie_counts_for_time_and_for_nothing_else(machine: Machine) -> None:
    """It is a process until it is reaped."""
    machine.proc.process(100, utime=100, resident=10)
    machine.proc.process(101, 100, utime=50, state="Z", resident=10, start=200)
    collector = machine.make(ProcessCollector, PID)
    row = machine.collect(collector)
    assert row['proctree_processes{tree="job"}'] == 2
    assert row['proctree_threads{tree="job"}'] == 1
    assert row['proctree_resident_memory_bytes{tree="job"}'] == 10 * 4096
    assert row['proctree_open_fds{tree="job"}'] == 3
    assert row['proctree_cpu_seconds_total{mode="user", tree="job"}'] == 1.5


@pytest.mark.parametrize(
    ("method", "source", "missing"),
    [
        ("io", "proc_pid_io", ["proctree_io_read_bytes_total", "proctree_process_io_write_bytes_total"]),
        ("open_fds", "proc_pid_fd", ["proctree_open_fds", "proctree_process_open_fds"]),
    ],
)
def test_what_is_denied_is_no_series_and_never_zero(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, method: str, source: str, missing: list[str]
) -> None:
    """One denied process is enough: a sum without it would be wrong. It comes back when it can be read."""
    machine.proc.process(100, read=5)
    collector = machine.make(ProcessCollector, PID)

    def denied(files: ProcessFiles) -> bytes:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(ProcessFiles, method, denied)
        row = machine.collect(collector, 3)
    assert row[f'prom_probe_source_readable{{source="{source}"}}'] == 0
    assert not any(series.startswith(tuple(missing)) for series in row)
    assert row['proctree_cpu_seconds_total{mode="user", tree="job"}'] == 0
    row = machine.collect(collector)
    assert row[f'prom_probe_source_readable{{source="{source}"}}'] == 1
    assert all(any(series.startswith(name) for series in row) for name in missing)


def test_a_kernel_without_io_accounting_is_not_a_gone_process(machine: Machine) -> None:
    """There is no /proc/PID/io, but the process is there."""
    machine.proc.process(100)
    (machine.proc.root / "100" / "io").unlink()
    row = machine.collect(machine.make(ProcessCollector, PID))
    assert row['prom_probe_source_readable{source="proc_pid_io"}'] == 0
    assert row['proctree_processes{tree="job"}'] == 1
    assert 'proctree_io_read_bytes_total{tree="job"}' not in row


def test_a_damaged_file_is_logged_once_and_changes_nothing(machine: Machine) -> None:
    """The last good reading stands until there is another."""
    machine.proc.process(100, utime=100)
    collector = machine.make(ProcessCollector, PID)
    before = machine.collect(collector, 3)
    (machine.proc.root / "100" / "stat").write_bytes(b"100 (app) S 1\n")
    assert machine.collect(collector, 3) == before
    ((level, message),) = machine.log
    assert level == "warn"
    assert message.startswith("proc_pid_stat: cannot parse")
    assert message.endswith(r"100 (app) S 1\n")


def test_a_successor_goes_on(machine: Machine) -> None:
    """Counters, peaks, orphans that no lineage shows, and local series without a gap."""
    machine.proc.process(100, utime=100, resident=50)
    machine.proc.process(101, 100, utime=10, start=200, resident=7)
    machine.proc.process(102, 101, utime=1, start=300)
    collector = machine.make(ProcessCollector, PID)
    machine.collect(collector, 3)
    machine.proc.end(101)
    machine.proc.process(102, 1, utime=2, start=300)
    before = machine.collect(collector)
    state = collector.checkpoint()
    collector.close()

    machine.proc.process(102, 1, utime=5, start=300)
    successor = machine.make(ProcessCollector, PID)
    successor.restore(state)
    assert successor.checkpoint() == state
    row = machine.collect(successor)
    assert row.keys() == before.keys()
    assert row['proctree_processes{tree="job"}'] == 2
    assert row['proctree_cpu_seconds_total{mode="user", tree="job"}'] == pytest.approx(1.15)
    [tree] = read_summaries(_state(successor)).values()
    assert tree.cpu_user_s == pytest.approx(1.15)
    assert (tree.processes_seen, tree.peak_processes, tree.peak_resident_bytes) == (3, 3, 67 * 4096)


def test_counters_began_with_the_first_process(machine: Machine) -> None:
    """Also when it has ended, when none is left, in a successor, and with one that is older and joins later."""
    began = 'proctree_counters_start_time_seconds{tree="job"}'
    watch = Watch("job", "comm", "app")
    machine.proc.process(200, start=900)
    collector = machine.make(ProcessCollector, watch)
    assert machine.collect(collector)[began] == 1_000_009
    machine.proc.process(300, start=2000)
    machine.proc.end(200)
    row = machine.collect(collector)
    assert (row[began], row['proctree_start_time_seconds{tree="job"}']) == (1_000_009, 1_000_020)
    successor = machine.make(ProcessCollector, watch)
    successor.restore(collector.checkpoint())
    machine.proc.end(300)
    assert machine.collect(successor)[began] == 1_000_009
    machine.proc.process(100, start=500)
    assert machine.collect(successor)[began] == 1_000_005


def test_a_successor_does_not_take_a_reused_pid_for_its_root(machine: Machine) -> None:
    """The start time of a pid watch's process is kept."""
    machine.proc.process(100, utime=100, start=500)
    collector = machine.make(ProcessCollector, PID)
    machine.collect(collector)
    state = collector.checkpoint()
    machine.proc.process(100, utime=7, start=9000)
    successor = machine.make(ProcessCollector, PID)
    successor.restore(state)
    row = machine.collect(successor)
    assert row['proctree_processes{tree="job"}'] == 0
    assert row['proctree_cpu_seconds_total{mode="user", tree="job"}'] == 1


@pytest.mark.parametrize("state", [b"", b"x", b"\xc1", b"\x93\xa8process1\x01\x02", b"\x92\xa8process1\x91\x01"])
def test_a_strange_checkpoint_is_ignored(machine: Machine, state: bytes) -> None:
    """So is one of another version."""
    machine.proc.process(100, utime=100)
    collector = machine.make(ProcessCollector, PID)
    collector.restore(state)
    assert machine.collect(collector)['proctree_cpu_seconds_total{mode="user", tree="job"}'] == 1
    assert read_summaries(state) == {}


def _state(collector: ProcessCollector) -> bytes:
    import msgspec

    return msgspec.msgpack.encode({"process": collector.checkpoint()})
