"""The system collector: devices that come and go, sources that fail, and what is exposed."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from prom_probe.collectors.base import Context
from prom_probe.collectors.system.collector import SystemCollector
from prom_probe.sources.descriptors import Descriptors, KeptFile
from tests.support.collector_harness import values
from tests.support.paths import HOST
from tests.support.statvfs import statvfs
from tests.support.waiting import DEADLINE_S


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A copy of the recorded machine, to change."""
    shutil.copytree(HOST, tmp_path / "host", ignore=shutil.ignore_patterns("[0-9]*"))
    return tmp_path / "host"


_made: list[SystemCollector] = []


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """What a test has made keeps no descriptors after it: more than 1,023 and select() fails in later tests."""
    yield
    while _made:
        _made.pop().close()


def make(host: Path, log: list[str] | None = None, **settings: object) -> SystemCollector:
    clock = itertools.count(1000.0)  # a second a collection
    context = Context(
        procfs=str(host / "proc"),
        sysfs=str(host / "sys"),
        cgroupfs=str(host / "cgroup"),
        ticks_per_s=100,
        monotonic=lambda: next(clock),
        statvfs=statvfs,
        patience_s=10.0,
    )
    if log is not None:
        context.log = lambda level, message: log.append(f"{level} {message}")
    for name, value in settings.items():
        setattr(context, name, value)
    _made.append(SystemCollector(context))
    return _made[-1]


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
    ("proc_net_sockstat", "proc/net/sockstat", "system_tcp_sockets_in_use"),
    ("proc_vmstat", "proc/vmstat", "system_oom_kills_total"),
    ("proc_sys_fs_file_nr", "proc/sys/fs/file-nr", "system_open_files"),
    ("proc_sys_kernel_random", "proc/sys/kernel/random/entropy_avail", "system_entropy_available_bits"),
    ("statvfs", "proc/self/mountinfo", "system_filesystem_size_bytes"),
]


@pytest.mark.parametrize(("source", "path", "family"), [*SOURCES[:3], *SOURCES[4:]])
def test_a_missing_source_costs_its_own_series_only(host: Path, source: str, path: str, family: str) -> None:
    """No series, a 0 that says why, one line in the log; all is well again when it is back."""
    everything = collect(make(host))
    shutil.move(host / path, host / "away")
    log: list[str] = []
    collector = make(host, log)
    row = collect(collector, 3)
    assert row[f'prom_probe_source_readable{{source="{source}"}}'] == 0
    assert not any(series.startswith(family) for series in row)
    assert len(row) > len(everything) - 40
    assert len(log) == 1
    assert path in log[0]
    shutil.move(host / "away", host / path)
    assert collect(collector, 65).keys() == everything.keys()


PRESSURE = SOURCES[3]
OPTIONAL = [
    (PRESSURE[0], "proc/pressure", PRESSURE[2]),
    ("proc_sys_net_netfilter", "proc/sys/net/netfilter", "system_conntrack_entries"),
    ("cpufreq", "sys/devices/system/cpu/cpufreq", "system_cpu_frequency_hertz"),
    ("hwmon", "sys/class", "system_temperature_celsius"),
]


@pytest.mark.parametrize(("source", "path", "family"), OPTIONAL)
def test_what_many_machines_do_not_have_is_absent_without_a_word(
    host: Path, source: str, path: str, family: str
) -> None:
    """Virtual machines show no temperature; the reason is in the metric alone."""
    log: list[str] = []
    collector = make(host, log)
    assert any(series.startswith(family) for series in collect(collector))
    shutil.rmtree(host / path)
    collector = make(host, log)
    row = collect(collector, 10)
    assert row[f'prom_probe_source_readable{{source="{source}"}}'] == 0
    assert not any(series.startswith(family) for series in row)
    assert log == []


@pytest.mark.parametrize("error", [errno.EOPNOTSUPP, errno.EACCES])
def test_pressure_that_is_turned_off_is_no_fault(host: Path, monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    """With psi=0 the files are there; another error is said (prometheus/node_exporter#1961)."""
    read = KeptFile.read

    def fail(file: KeptFile) -> bytes:
        if "/pressure/" in file.path:
            raise OSError(error, os.strerror(error), "psi")
        return read(file)

    monkeypatch.setattr(KeptFile, "read", fail)
    log: list[str] = []
    assert not any(series.startswith(PRESSURE[2]) for series in collect(make(host, log), 3))
    assert len(log) == (error == errno.EACCES)


@pytest.mark.parametrize(("source", "path", "family"), [*SOURCES[:5], *SOURCES[7:]])
def test_a_source_that_turns_into_nonsense_ends_its_series(host: Path, source: str, path: str, family: str) -> None:
    """The error names it; they are back with what it was before."""
    log: list[str] = []
    collector = make(host, log, descriptors=Descriptors(0))
    before = collect(collector)
    assert any(series.startswith(family) for series in before)
    sense = (host / path).read_bytes()
    (host / path).write_bytes(b"a\nb\nnon: sense\n")
    assert not any(series.startswith(family) for series in collect(collector, 40))
    assert len(log) == 1
    assert "cannot parse" in log[0]
    (host / path).write_bytes(sense)
    after = collect(collector, 40)
    assert after.pop(f'prom_probe_source_odd_rows_total{{source="{source}"}}') > 0
    assert after.keys() == before.keys()


FILES = [*SOURCES[:5], *SOURCES[6:]]


@pytest.mark.parametrize("text", [b"", b"\n", b"\0" * 70_000, b"9" * 5_000, b"cpu " * 50_000, bytes(range(256))])
@pytest.mark.parametrize(("source", "path", "family"), FILES)
def test_a_damaged_source_costs_its_own_series_only(
    host: Path, source: str, path: str, family: str, text: bytes
) -> None:
    """Empty, huge, of any bytes: never another exception. (An empty table of mounts or of cgroups is one.)"""
    everything = collect(make(host)).keys()
    (host / path).write_bytes(text)
    row = collect(make(host), 2)
    assert row[f'prom_probe_source_readable{{source="{source}"}}'] == 0 or not text
    assert len(everything - row.keys()) < 40
    assert row["system_time_seconds"] > 0


@pytest.mark.parametrize(("source", "path", "family"), FILES)
def test_a_source_that_cannot_be_read_has_no_series_and_a_reason(
    host: Path, source: str, path: str, family: str
) -> None:
    """As where another uid may not read it."""
    (host / path).unlink()
    (host / path).mkdir()
    log: list[str] = []
    row = collect(make(host, log), 2)
    assert row[f'prom_probe_source_readable{{source="{source}"}}'] == 0
    assert not any(series.startswith(family) for series in row)
    assert len(log) == 1
    assert "Is a directory" in log[0]


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


@pytest.mark.parametrize(
    ("path", "series"),
    [
        ("proc/net/dev", 'system_network_receive_bytes_total{device="lo"}'),
        ("sys/block/sda/stat", 'system_disk_read_bytes_total{device="sda"}'),
        ("proc/pressure/cpu", "system_pressure_cpu_waiting_seconds_total"),
    ],
)
def test_a_file_that_comes_back_unchanged_has_its_series_again(host: Path, path: str, series: str) -> None:
    """A text that was parsed before is skipped only while its series are there."""
    collector = make(host, descriptors=Descriptors(0))
    before = collect(collector)[series]
    away = (host / path).rename(host / "away")
    assert series not in collect(collector)
    away.rename(host / path)
    assert collect(collector, 31)[series] == before


@pytest.mark.parametrize(
    ("path", "source"), [("proc/net/dev", "proc_net_dev"), ("proc/pressure/cpu", "proc_pressure_cpu")]
)
def test_an_odd_row_is_counted_each_time_it_is_read(host: Path, path: str, source: str) -> None:
    """Also where the text is the same as before."""
    text = (host / path).read_text()
    (host / path).write_text(text.replace("total=", "total=-").replace("lo:", "lo: -"))
    collector = make(host)
    counts = [collect(collector)[f'prom_probe_source_odd_rows_total{{source="{source}"}}'] for _ in range(3)]
    assert counts[0] > 0 and counts == [counts[0], 2 * counts[0], 3 * counts[0]]


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
    assert collect(collector, 31)[series] == 8 * 512
    shutil.rmtree(host / "sys/block/sdb")
    assert series not in collect(collector)


def test_a_path_to_a_disk_is_not_counted_beside_it(host: Path) -> None:
    """NVMe multipath (elastic/beats#30480 has a list): the kernel calls the paths hidden."""
    for name, hidden in (("nvme9n1", "0"), ("nvme9c0n1", "1")):
        (host / "sys/block" / name).mkdir()
        (host / "sys/block" / name / "stat").write_text("212 0 11832 16 0 0 0 0 0 76 0\n")
        (host / "sys/block" / name / "hidden").write_text(f"{hidden}\n")
    row = collect(make(host))
    assert row['system_disk_reads_completed_total{device="nvme9n1"}'] == 212
    assert not any("nvme9c0n1" in series for series in row)


def test_an_odd_reading_of_a_disk_costs_that_reading(host: Path) -> None:
    """And a count of requests below zero costs that count."""
    collector = make(host, descriptors=Descriptors(0))
    stat, read = host / "sys/block/sda/stat", 'system_disk_read_bytes_total{device="sda"}'
    sense = stat.read_text()
    before = collect(collector)
    stat.write_text(sense.replace(sense.split()[0], "-1", 1))
    assert read not in collect(collector)
    stat.write_text(sense)
    assert collect(collector)[read] == before[read]
    fields = sense.split()
    stat.write_text(" ".join([*fields[:8], "4294967295", *fields[9:]]) + "\n")
    row = collect(collector)
    assert row[read] == before[read]
    assert 'system_disk_io_now{device="sda"}' not in row


def test_the_time_of_cpus_never_falls(host: Path) -> None:
    """By a tick (prometheus/node_exporter#1372), and by hours where a CPU goes offline, also over a restart."""
    collector = make(host, descriptors=Descriptors(0))

    def iowait(ticks: int) -> float:
        (host / "proc/stat").write_text(f"cpu  1 2 3 {10 * ticks} {ticks} 6 7 8 9 10\nctxt 5\n")
        return collect(collector)['system_cpu_seconds_total{mode="iowait"}']

    assert [iowait(ticks) for ticks in (548_281, 548_282, 548_281, 548_282, 548_284)] == [
        5482.81, 5482.82, 5482.82, 5482.82, 5482.84,
    ]  # fmt: skip
    assert [iowait(ticks) for ticks in (10_000, 10_001, 10_003)] == [5482.84, 5482.85, 5482.87]
    state, collector = collector.checkpoint(), make(host, descriptors=Descriptors(0))
    collector.restore(state)
    assert [iowait(ticks) for ticks in (10_001, 10_004)] == [5482.87, 5482.88]


@pytest.mark.parametrize("state", [b"", b"\x80", b"\x92\xc4\x00\x91\x01", b"\x92\xc4\x00\x92\x91\x01\x91\x01"])
def test_another_state_than_its_own_is_left_alone(host: Path, state: bytes) -> None:
    """Then the counters are the kernel's."""
    collector = make(host)
    expected = collect(collector)['system_cpu_seconds_total{mode="idle"}']
    collector = make(host)
    collector.restore(state)
    assert collect(collector)['system_cpu_seconds_total{mode="idle"}'] == expected


@pytest.mark.parametrize("text", [None, "nonsense\n"])
def test_what_cgroup_we_are_in_says_nothing_of_the_cpus(host: Path, text: str | None) -> None:
    """A kernel without cgroups has CPUs too."""
    path = host / "proc/self/cgroup"
    expected = collect(make(host))["system_cpus"]
    path.unlink()
    if text is not None:
        path.write_text(text)
    row = collect(make(host))
    assert row["system_cpus"] == expected
    assert "system_cpus_effective" not in row
    assert row['prom_probe_source_readable{source="cpu_limits"}'] == 0


def test_the_sockets_of_ipv6_cost_those_of_all_none(host: Path) -> None:
    """Each file its own series."""
    (host / "proc/net/sockstat6").write_text("nonsense\n")
    row = collect(make(host))
    assert "system_tcp_sockets_in_use" not in row
    assert row["system_tcp_sockets_time_wait"] >= 0
    assert row['prom_probe_source_readable{source="proc_net_sockstat"}'] == 0
    assert row['prom_probe_source_odd_rows_total{source="proc_net_sockstat"}'] > 0


def test_a_changed_quota_is_noticed(host: Path) -> None:
    """Containers are resized in place."""
    collector = make(host)
    collect(collector)
    (host / "cgroup/cpu.max").write_text("50000 100000\n")
    assert collect(collector, 60)["system_cpus_effective"] == 0.5


def test_an_endless_number_costs_its_source_alone(host: Path) -> None:
    """More digits than a float has room for."""
    (host / "proc/loadavg").write_text(f"0.1 0.2 0.3 1/{'9' * 400} 7\n")
    row = collect(make(host), 2)
    assert "system_load1" not in row
    assert row['prom_probe_source_readable{source="proc_loadavg"}'] == 0
    assert row["system_memory_total_bytes"] > 0


def test_slow_sources_have_beats_of_their_own(host: Path) -> None:
    """After the first collection, which reads everything, no two of the same pace are read in one."""
    collector = make(host)
    read: list[list[str]] = []
    for section in collector._sections:
        if section.every_s:
            original = section.collect

            def collect_and_note(original: Callable[[], None] = original, source: str = section.source) -> None:
                read[-1].append(source)
                original()

            section.collect = collect_and_note  # type: ignore[method-assign]
    for _ in range(120):
        read.append([])
        collector.collect()
    assert len(read[0]) == 6
    assert max(map(len, read[1:])) <= 3
    assert sum("proc_vmstat" in sources for sources in read) == pytest.approx(24, abs=2)


SIZE = 'system_filesystem_size_bytes{{device="{}", fstype="{}", mountpoint="{}"}}'
NFS = SIZE.format("server:/export", "nfs4", "/fixture/nfs")
HOME = SIZE.format("/dev/sdb", "btrfs", "/fixture/home")
STATVFS = 'prom_probe_source_readable{source="statvfs"}'


class DeadMount:
    """A statvfs that does not come back from /fixture/nfs until it is let go."""

    def __init__(self) -> None:
        self.dead = True
        self.alive_again = threading.Event()
        self.asked = 0

    def __call__(self, path: str) -> os.statvfs_result:
        if path == "/fixture/nfs" and self.dead:
            self.asked += 1
            self.alive_again.wait(DEADLINE_S)
        return statvfs(path)


def rounds_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "rounds"]


def collect_until(collector: SystemCollector, done: Callable[[dict[str, float]], bool]) -> dict[str, float]:
    """Collect, a second of made-up time each, until `done`; threads need a little real time too."""
    deadline = time.monotonic() + DEADLINE_S
    while not done(row := collect(collector)):
        assert time.monotonic() < deadline
        time.sleep(0.001)
    return row


def test_a_dead_mount_costs_its_own_series_only(host: Path) -> None:
    """No collection waits for it, one thread at most hangs, one line is logged; when it answers, all is well again."""
    log: list[str] = []
    mount = DeadMount()
    collector = make(host, log, statvfs=mount, patience_s=0.01)
    before = len(rounds_threads())
    start = time.monotonic()
    row = collect_until(collector, lambda row: HOME in row)
    assert NFS not in row
    assert row[STATVFS] == 0
    assert row["system_load1"] == 0.52
    for _ in range(200):  # several rounds later
        row = collect(collector)
    assert HOME in row
    assert NFS not in row
    assert mount.asked == 1
    assert len(rounds_threads()) <= before + 2  # the one that hangs, and perhaps one at work
    assert len(log) == 1
    assert "filesystem /fixture/nfs (nfs4, server:/export): no answer for 2 s" in log[0]
    assert time.monotonic() - start < 20  # and not 60
    mount.dead = False
    mount.alive_again.set()
    row = collect_until(collector, lambda row: NFS in row)
    assert collect(collector)[STATVFS] == 1
    collector.close()


def test_a_mount_that_dies_later_ends_its_series(host: Path) -> None:
    """What it said last is not repeated for ever."""
    mount = DeadMount()
    mount.dead = False
    collector = make(host, statvfs=mount, patience_s=0.01)
    collect_until(collector, lambda row: NFS in row)
    mount.dead = True
    row = collect_until(collector, lambda row: NFS not in row)
    assert HOME in row
    assert row[STATVFS] == 0
    mount.alive_again.set()


def test_a_denied_filesystem_has_no_series(host: Path) -> None:
    """Somebody else's FUSE mount; the log says which."""

    def denied(path: str) -> os.statvfs_result:
        if path == "/fixture/nfs":
            raise PermissionError(13, "Permission denied", path)
        return statvfs(path)

    log: list[str] = []
    row = collect(make(host, log, statvfs=denied), 40)
    assert NFS not in row
    assert HOME in row
    assert row[STATVFS] == 0
    assert len(log) == 1
    assert "Permission denied" in log[0]


def test_an_unmounted_filesystem_ends_quietly(host: Path) -> None:
    """With the next look at the mounts."""
    log: list[str] = []
    collector = make(host, log)
    assert NFS in collect(collector)
    path = host / "proc/self/mountinfo"
    path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if "nfs4" not in line))
    row = collect(collector, 16)
    assert NFS not in row
    assert row[STATVFS] == 1
    assert log == []


def test_what_a_filesystem_does_not_know_is_absent(host: Path) -> None:
    """2^64 - 1 inodes, or less than no space: both are numbers with the highest bit (toolkits/nux#11)."""
    odd = os.statvfs_result((4096, 4096, 100, 50, 2**64 - 7, 2**64 - 1, 2**64 - 1, 0, 0, 255))
    row = collect(make(host, statvfs=lambda path: odd if path == "/fixture" else statvfs(path)))
    of = {series.partition("{")[0]: value for series, value in row.items() if 'mountpoint="/fixture"' in series}
    assert of == {
        "system_filesystem_size_bytes": 409_600,
        "system_filesystem_free_bytes": 204_800,
        "system_filesystem_readonly": 0,
    }


def test_sensors_that_share_a_label_are_told_apart(host: Path) -> None:
    """Of one chip (prometheus/node_exporter#406), and of two chips of one device (prometheus/node_exporter#3673)."""
    device = host / "sys/devices/dell"
    device.mkdir(parents=True)
    for chip in ("hwmon20", "hwmon21"):
        directory = host / "sys/class/hwmon" / chip
        directory.mkdir()
        (directory / "name").write_text("dell_smm\n")
        (directory / "device").symlink_to(device)
        for number in (1, 2, 3):
            (directory / f"temp{number}_label").write_text("Other\n")
            (directory / f"temp{number}_input").write_text(f"{number}000\n")
    row = collect(make(host))
    sensors = {series.split('"')[1]: value for series, value in row.items() if "dell_smm" in series}
    assert sensors == {
        "dell_smm Other": 1,
        "dell_smm Other dell": 2,
        "dell_smm Other hwmon20 temp3": 3,
        "dell_smm Other hwmon21 temp1": 1,
        "dell_smm Other hwmon21 temp2": 2,
        "dell_smm Other hwmon21 temp3": 3,
    }


def test_a_sensor_of_what_sleeps_is_absent(host: Path) -> None:
    """Not a fault of the source; damaged text is one."""
    log: list[str] = []
    collector = make(host, log)
    (host / "sys/class/hwmon/hwmon1/temp1_input").unlink()
    (host / "sys/class/hwmon/hwmon1/temp1_input").mkdir()  # reading it is an OSError
    row = collect(collector)
    assert 'system_temperature_celsius{sensor="coretemp Core 0"}' in row
    assert 'system_temperature_celsius{sensor="coretemp Package id 0"}' not in row
    assert row['prom_probe_source_readable{source="hwmon"}'] == 1
    assert log == []
    (host / "sys/class/hwmon/hwmon1/temp2_input").write_text("hot\n")
    row = collect(collector, 6)
    assert 'system_temperature_celsius{sensor="coretemp Core 0"}' not in row
    assert row['prom_probe_source_readable{source="hwmon"}'] == 0
    assert len(log) == 1


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
