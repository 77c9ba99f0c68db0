"""A source kept going: back-off, hangs, leaks, and what a restart takes over."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from prom_probe.collectors.gpu.caller import Caller
from prom_probe.collectors.gpu.collector import GpuCollector
from prom_probe.collectors.gpu.faults import Faults
from prom_probe.collectors.gpu.feed import HUNG_S, RESTART_S, Feed, Renew
from prom_probe.collectors.gpu.source import GpuError, GpuInfo, GpuProcess, GpuSample, PidKind, Trees
from prom_probe.collectors.process.membership import decode_members, encode_members
from tests.support.collector_harness import Machine
from tests.support.waiting import DEADLINE_S

INFO = GpuInfo("uuid", "0", "test", "Test", "0000:01:00.0", "1")


class FakeSource:
    """Fails and hangs as it is told."""

    name = "test"

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.opens = self.closes = 0
        self.xids: list[int] = []
        self.processes: dict[int, GpuProcess] | None = None
        self.pids: PidKind = "procfs"
        self.open_error: GpuError | None = None
        self.sample_error: GpuError | None = None
        self.values: dict[tuple[str, str], float] = {}
        self.wrapping: dict[tuple[str, str], tuple[int, int]] = {}

    def open(self) -> None:
        self.opens += 1
        self.gate.wait()
        if self.open_error is not None:
            raise self.open_error

    def sample(self, trees: Trees) -> list[GpuSample]:
        self.gate.wait()
        if self.sample_error is not None:
            raise self.sample_error
        xids, self.xids = self.xids, []
        sample = GpuSample(INFO, values=dict(self.values), wrapping=dict(self.wrapping), xids=xids)
        sample.processes, sample.pids = self.processes, self.pids
        return [sample]

    def close(self) -> None:
        self.closes += 1


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def source() -> Iterator[FakeSource]:
    source = FakeSource()
    yield source
    source.gate.set()


@pytest.fixture
def make_feed(machine: Machine, source: FakeSource, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Feed]:
    """With a clock of the test's: waiting ends at once where the source hangs."""
    real = Caller.wait
    monkeypatch.setattr(Caller, "wait", lambda self, s: real(self, 10.0 if source.gate.is_set() else 0.01))
    return lambda: Feed(source, machine.context(), Faults(machine.context()))


def test_failed_openings_back_off(machine: Machine, source: FakeSource, make_feed: Callable[[], Feed]) -> None:
    """1, 2, 4 s and so on to 60; success begins anew."""
    feed = make_feed()
    source.open_error = GpuError("nvmlInit", "UNKNOWN", "unknown error")
    times = []
    for _ in range(400):
        before = source.opens
        feed.collect({})
        feed._faults.end()
        if source.opens > before:
            times.append(machine.now)
        machine.now += 1
    assert [b - a for a, b in itertools.pairwise(times)][:8] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert [level for level, _ in machine.log] == ["warn"], "it is not over while nobody looks"
    source.open_error = None
    machine.now += 60
    feed.collect({})
    assert feed.samples is not None
    source.sample_error = GpuError("nvmlDeviceGetCount", "UNINITIALIZED", "uninitialized")
    feed.collect({})
    assert feed.samples is None
    assert source.closes == 1
    source.sample_error = None
    machine.now += 1
    feed.collect({})
    assert feed.samples is not None


def test_a_hang_is_told_once_and_a_long_one_ends_the_worker(
    machine: Machine, source: FakeSource, make_feed: Callable[[], Feed]
) -> None:
    """No second call is made while the first has not returned."""
    feed = make_feed()
    feed.collect({})
    source.gate.clear()
    threads = threading.active_count()
    for _ in range(int(HUNG_S) + 5):
        feed.collect({})
        machine.now += 1
    assert feed.hung
    assert feed.samples is None
    assert threading.active_count() <= threads + 1
    assert len(machine.log) == 1
    machine.now += RESTART_S
    with pytest.raises(Renew):
        feed.collect({})


def test_a_late_sample_is_taken_with_the_next_collection(
    machine: Machine, source: FakeSource, make_feed: Callable[[], Feed]
) -> None:
    """And asks for one."""
    woken = threading.Event()
    context = machine.context(wake=woken.set)
    feed = Feed(source, context, Faults(context))
    feed.collect({})
    source.gate.clear()
    feed.collect({})
    assert feed.samples is None
    assert not feed.hung
    source.xids.append(79)
    source.gate.set()
    assert woken.wait(DEADLINE_S)
    machine.now += 1
    feed.collect({})
    assert feed.samples is not None
    assert feed.samples[0].xids == [79], "events of a late sample are not lost"
    feed.collect({})
    assert feed.samples[0].xids == []


def test_a_driver_that_is_always_late_has_readings_too(
    machine: Machine, source: FakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each sample is shown by the collection after its own."""
    context = machine.context()
    feed = Feed(source, context, Faults(context))
    monkeypatch.setattr(Caller, "wait", lambda self, s: self._done.is_set() if s else False)
    seen = []
    for _ in range(6):
        feed.collect({})
        seen.append(feed.samples is not None)
        assert feed._caller._done.wait(DEADLINE_S)
        machine.now += 1
    assert seen[2:] == [True] * 4
    assert not feed.hung


def test_the_end_does_not_wait_for_a_hanging_call(
    machine: Machine, source: FakeSource, make_feed: Callable[[], Feed]
) -> None:
    """The thread is left alone."""
    feed = make_feed()
    feed.collect({})
    source.gate.clear()
    feed.collect({})
    feed.close()
    assert source.closes == 0


def test_a_fault_that_comes_and_goes_is_told_each_minute_at_most(machine: Machine) -> None:
    """However often it is counted."""
    faults = Faults(machine.context())
    for beat in range(120):
        if beat % 10 < 5:
            faults.note("GPU 0", GpuError("call", "CODE", "text"))
        faults.end()
        machine.now += 1
    assert faults.counts == {("call", "CODE"): 60}
    assert len([line for line in machine.log if line[0] == "warn"]) == 2


def _collector(
    machine: Machine, source: FakeSource, monkeypatch: pytest.MonkeyPatch, **settings: object
) -> GpuCollector:
    monkeypatch.setattr(
        "prom_probe.collectors.gpu.collector.make_sources", lambda context, have: [] if have else [source]
    )
    return GpuCollector(machine.context(gpu="test", gpu_patience_s=10.0, **settings))


def test_counters_go_on_after_a_restart_of_worker_and_driver(
    machine: Machine, source: FakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A counter that begins again at 0 with a new driver has not wrapped."""
    key = ("pcie_bytes_total", "receive")
    series = 'gpu_pcie_bytes_total{direction="receive", uuid="uuid"}'
    source.wrapping[key] = 1000, 1 << 32
    collector = _collector(machine, source, monkeypatch)
    assert machine.collect(collector)[series] == 1000
    source.wrapping[key] = 1500, 1 << 32
    assert machine.collect(collector)[series] == 1500
    source.sample_error = GpuError("call", "UNINITIALIZED", "text")
    row = machine.collect(collector)
    assert row['gpu_up{uuid="uuid"}'] == 0
    source.sample_error = None
    source.wrapping[key] = 7, 1 << 32
    machine.now += 5
    assert machine.collect(collector)[series] == 1500
    source.wrapping[key] = 10, 1 << 32
    assert machine.collect(collector)[series] == 1503
    successor = _collector(machine, source, monkeypatch)
    successor.restore(collector.checkpoint())
    source.wrapping[key] = 400, 1 << 32
    row = machine.collect(successor)
    assert row[series] == 1503
    assert row['gpu_errors_total{call="call", code="UNINITIALIZED"}'] == 1
    successor.restore(b"rubbish")


def test_a_peak_of_memory_shows_for_a_window(
    machine: Machine, source: FakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the GPU and of each tree, also after the tree's end and a restart of the worker."""
    trees = {"app": [7]}

    def members() -> bytes:
        return encode_members([(tree, pid) for tree, pids in trees.items() for pid in pids], trees)

    monkeypatch.setattr("prom_probe.collectors.gpu.processes.has_host_pids", lambda procfs: True)
    collector = _collector(machine, source, monkeypatch, read_members=members)
    gpu, tree = 'gpu_memory_used_max_bytes{uuid="uuid"}', 'proctree_gpu_memory_max_bytes{tree="app", uuid="uuid"}'
    source.values["memory_used_bytes", ""] = 900
    source.processes = {7: GpuProcess(500.0, {}, {})}
    machine.collect(collector)
    source.values["memory_used_bytes", ""] = 100
    source.processes = {7: GpuProcess(50.0, {}, {})}
    row = machine.collect(collector)
    assert (row[gpu], row[tree], row['gpu_memory_used_bytes{uuid="uuid"}']) == (900, 500, 100)
    successor = _collector(machine, source, monkeypatch, read_members=members)
    successor.restore(collector.checkpoint())
    trees.clear()
    row = machine.collect(successor)
    assert (row[gpu], row[tree]) == (900, 500)
    machine.now += 130
    row = machine.collect(successor)
    assert row[gpu] == 100
    assert tree not in row


@pytest.mark.parametrize("modulus", [1 << 32, 1 << 64])
def test_a_counter_of_32_bits_in_64_wraps_at_32(
    machine: Machine, source: FakeSource, monkeypatch: pytest.MonkeyPatch, modulus: int
) -> None:
    """The driver's type says more than the counter holds."""
    key = ("pcie_bytes_total", "receive")
    source.wrapping[key] = (1 << 32) - 1, modulus
    collector = _collector(machine, source, monkeypatch)
    machine.collect(collector)
    source.wrapping[key] = 9, modulus
    assert machine.collect(collector)['gpu_pcie_bytes_total{direction="receive", uuid="uuid"}'] == (1 << 32) + 9


def test_a_library_that_leaks_ends_the_worker(
    machine: Machine, source: FakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its reason; the supervisor starts another."""
    collector = _collector(machine, source, monkeypatch)
    sizes = iter([50 << 20, 400 << 20])
    monkeypatch.setattr(collector, "_read_resident", lambda: next(sizes, 400 << 20))
    collector.collect()
    machine.now += 61
    with pytest.raises(Renew, match="leaks"):
        collector.collect()


@pytest.mark.parametrize(
    ("kind", "own", "host", "fits"),
    [
        ("own", True, False, True),  # a container with a driver of today
        ("own", False, True, False),  # procfs of the machine, the driver speaks of our namespace
        ("host", True, False, False),  # a container with an older driver
        ("host", True, True, True),  # on the machine itself
        ("procfs", False, False, True),
    ],
)
def test_pids_count_only_where_they_are_procfs_own(
    machine: Machine,
    source: FakeSource,
    monkeypatch: pytest.MonkeyPatch,
    kind: PidKind,
    own: bool,
    host: bool,
    fits: bool,
) -> None:
    """A number that means another process is worse than none: no series, and a reason."""
    monkeypatch.setattr("prom_probe.collectors.gpu.processes.is_own_namespace", lambda procfs: own)
    monkeypatch.setattr("prom_probe.collectors.gpu.processes.has_host_pids", lambda procfs: host)
    source.processes, source.pids = {7: GpuProcess(100.0, {}, {})}, kind
    collector = _collector(machine, source, monkeypatch, read_members=lambda: encode_members([("app", 7)], ["app"]))
    row = machine.collect(collector, 3)
    assert row['prom_probe_source_readable{source="gpu_processes"}'] == fits
    assert row.get('proctree_gpu_memory_bytes{tree="app", uuid="uuid"}') == (100 if fits else None)
    assert any("gpu_process_memory_bytes" in series for series in row) == fits
    assert len(machine.log) == (not fits)


def test_series_of_what_is_gone_leave_the_layout(
    machine: Machine, source: FakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First absent, and after some collections no column any more."""
    source.values["temperature_celsius", "gpu"] = 50
    collector = _collector(machine, source, monkeypatch)
    series = 'gpu_temperature_celsius{sensor="gpu", uuid="uuid"}'
    assert machine.collect(collector)[series] == 50
    source.values.clear()
    assert series not in machine.collect(collector)
    machine.collect(collector, 12)
    source.values["temperature_celsius", "gpu"] = 51
    assert machine.collect(collector)[series] == 51


def test_members_round_trip() -> None:
    """Trees without members too; other bytes are none."""
    assert decode_members(encode_members([("a", 1), ("b", 2), ("a", 3)], ["a", "b", "c"])) == {
        "a": [1, 3],
        "b": [2],
        "c": [],
    }
    assert decode_members(b"") == decode_members(b"\xff\x00") == {}
