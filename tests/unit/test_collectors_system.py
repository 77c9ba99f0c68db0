"""The system collector: devices that come and go, sources that fail, and what is exposed."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from prom_probe.collectors.base import Context
from prom_probe.collectors.system import SystemCollector
from prom_probe.sources.descriptors import Descriptors
from tests.unit.collector_harness import values

HOST = Path(__file__).parents[1] / "fixtures" / "host"


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A copy of the recorded machine, to change."""
    shutil.copytree(HOST, tmp_path / "host", ignore=shutil.ignore_patterns("[0-9]*"))
    return tmp_path / "host"


def make(host: Path, log: list[str] | None = None, **settings: object) -> SystemCollector:
    context = Context(
        procfs=str(host / "proc"), sysfs=str(host / "sys"), cgroupfs=str(host / "cgroup"), ticks_per_s=100
    )
    if log is not None:
        context.log = lambda level, message: log.append(f"{level} {message}")
    for name, value in settings.items():
        setattr(context, name, value)
    return SystemCollector(context)


def collect(collector: SystemCollector, times: int = 1) -> dict[str, float]:
    for _ in range(times):
        collector.collect()
    return values(collector)


SOURCES = [
    ("proc_stat", "proc/stat", "system_cpu_seconds_total"),
    ("proc_loadavg", "proc/loadavg", "system_load1"),
    ("proc_meminfo", "proc/meminfo", "system_memory_available_bytes"),
    ("proc_pressure_io", "proc/pressure/io", "system_pressure_io_waiting_seconds_total"),
    ("proc_net_dev", "proc/net/dev", "system_network_receive_bytes_total"),
    ("block_stat", "sys/block", "system_disk_read_bytes_total"),
    ("cpu_limits", "proc/self/cgroup", "system_cpus_effective"),
]


@pytest.mark.parametrize(("source", "path", "family"), SOURCES)
def test_a_missing_source_costs_its_own_series_only(host: Path, source: str, path: str, family: str) -> None:
    """No series, a 0 that says why, one line in the log; all is well again when it is back."""
    everything = collect(make(host))
    shutil.move(host / path, host / "away")
    log: list[str] = []
    collector = make(host, log)
    row = collect(collector, 3)
    assert row[f'prom_probe_source_readable{{source="{source}"}}'] == 0
    assert not any(series.startswith(family) for series in row)
    assert len(row) > len(everything) - 20
    assert len(log) == 1
    assert path in log[0]
    shutil.move(host / "away", host / path)
    assert collect(collector).keys() == everything.keys()


@pytest.mark.parametrize(("source", "path", "family"), SOURCES[:5])
def test_a_source_that_turns_into_nonsense_ends_its_series(host: Path, source: str, path: str, family: str) -> None:
    """The error names it."""
    log: list[str] = []
    collector = make(host, log, descriptors=Descriptors(0))
    assert any(series.startswith(family) for series in collect(collector))
    (host / path).write_bytes(b"a\nb\nnon: sense\n")
    assert not any(series.startswith(family) for series in collect(collector, 2))
    assert len(log) == 1
    assert "cannot parse" in log[0]


def test_network_devices_come_and_go(host: Path) -> None:
    """A new one begins its series, a vanished one ends them."""
    collector = make(host, descriptors=Descriptors(0))
    collect(collector)
    path = host / "proc/net/dev"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:3], lines[3].replace("eth0", "veth1")]) + "\n")
    row = collect(collector)
    assert 'system_network_receive_bytes_total{device="veth1"}' in row
    assert 'system_network_receive_bytes_total{device="lo"}' in row
    assert 'system_network_receive_bytes_total{device="eth0"}' not in row


def test_only_so_many_devices_get_series(host: Path) -> None:
    """A node may have hundreds of virtual ones."""
    path = host / "proc/net/dev"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, *(lines[3].replace("eth0", f"veth{i}") for i in range(200))]) + "\n")
    row = collect(make(host))
    assert sum(series.startswith("system_network_receive_bytes_total") for series in row) == 64
    assert row['prom_probe_source_readable{source="proc_net_dev"}'] == 1


def test_a_disk_begins_with_its_first_use_and_ends_when_it_is_unplugged(host: Path) -> None:
    """The devices are looked for again now and then."""
    collector = make(host, descriptors=Descriptors(0))
    series = 'system_disk_read_bytes_total{device="sdb"}'
    assert series not in collect(collector)
    (host / "sys/block/sdb/stat").write_text("1 0 8 1 0 0 0 0 0 1 1\n")
    assert collect(collector, 30)[series] == 8 * 512
    shutil.rmtree(host / "sys/block/sdb")
    assert series not in collect(collector)


def test_a_changed_quota_is_noticed(host: Path) -> None:
    """Containers are resized in place."""
    collector = make(host)
    collect(collector)
    (host / "cgroup/cpu.max").write_text("50000 100000\n")
    assert collect(collector, 30)["system_cpus_effective"] == 0.5


@pytest.mark.parametrize("exposed", [True, False])
def test_the_machine_is_local_where_every_pod_would_repeat_it(host: Path, exposed: bool) -> None:
    """Whether a source can be read is our own affair, and always exposed."""
    collector = make(host, expose_system=exposed)
    collect(collector)
    for column in collector.layout.columns:
        assert column.exposed is (exposed or column.family.name == "prom_probe_source_readable")


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_the_real_machine_can_be_read() -> None:
    """Twice, with kept descriptors; all are given back."""
    collector = SystemCollector(Context())
    row = collect(collector, 2)
    assert row["system_memory_total_bytes"] > row["system_memory_available_bytes"] > 0
    assert row["system_cpus"] >= 1
    assert 0 < row["system_cpus_effective"] <= row["system_cpus"]
    assert row['system_cpu_seconds_total{mode="idle"}'] > 0
    collector.close()
    assert collector._descriptors.used == 0
