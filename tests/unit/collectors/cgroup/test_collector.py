"""The cgroup collector: both versions in the same words, limits that are none, and what stays after the end."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prom_probe.collectors.cgroup.collector import CgroupCollector
from prom_probe.collectors.cgroup.families import FAMILIES
from prom_probe.collectors.cgroup.files import FILES, INACTIVE_FILE, CgroupFile
from prom_probe.collectors.process.collector import ProcessCollector
from prom_probe.model.run_event import RunEvent
from prom_probe.model.watch import Watch
from prom_probe.sources.cgroup_path import CgroupLocator
from prom_probe.sources.descriptors import Descriptors, KeptFile
from prom_probe.sources.errors import ParseError
from prom_probe.sources.text import ignore
from tests.support.collector_harness import Machine, values

MIB = 1 << 20

V2 = {
    "cpu.stat": "usage_usec 12500000\nuser_usec 9000000\nsystem_usec 3500000\n"
    "nr_periods 100\nnr_throttled 7\nthrottled_usec 250000\nnr_bursts 0\nburst_usec 0\n",
    "cpu.max": "150000 100000\n",
    "cpu.weight": "100\n",
    "memory.current": f"{300 * MIB}\n",
    "memory.max": f"{512 * MIB}\n",
    "memory.peak": f"{400 * MIB}\n",
    "memory.high": f"{448 * MIB}\n",
    "memory.swap.current": "4096\n",
    "memory.swap.max": "8192\n",
    "memory.stat": f"anon {200 * MIB}\nfile {90 * MIB}\nkernel {10 * MIB}\nsock 77\nshmem 11\nfile_mapped 22\n"
    f"file_dirty 33\nfile_writeback 44\ninactive_file {60 * MIB}\nslab 55\npgfault 1000\npgmajfault 9\n",
    "memory.events": "low 3\nhigh 4\nmax 12\noom 2\noom_kill 1\noom_group_kill 0\n",
    "cpuset.cpus.effective": "0-2\n",
    "io.stat": "8:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n",
    "pids.current": "17\n",
    "pids.max": "100\n",
    "cpu.pressure": "some avg10=0.00 avg60=0.00 avg300=0.00 total=1500000\n"
    "full avg10=0.00 avg60=0.00 avg300=0.00 total=500000\n",
    "memory.pressure": "some avg10=0.00 avg60=0.00 avg300=0.00 total=10\n"
    "full avg10=0.00 avg60=0.00 avg300=0.00 total=5\n",
    "io.pressure": "some avg10=0.00 avg60=0.00 avg300=0.00 total=20\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=15\n",
}
V1 = {
    "cpu/cpu.stat": "nr_periods 100\nnr_throttled 7\nthrottled_time 250000000\n",
    "cpu/cpu.shares": "1024\n",
    "cpuset/cpuset.cpus": "0-1,5\n",
    "cpu/cpu.cfs_quota_us": "150000\n",
    "cpu/cpu.cfs_period_us": "100000\n",
    "cpuacct/cpuacct.usage": "12500000000\n",
    "cpuacct/cpuacct.usage_user": "9000000000\n",
    "cpuacct/cpuacct.usage_sys": "3500000000\n",
    "memory/memory.usage_in_bytes": f"{300 * MIB}\n",
    "memory/memory.limit_in_bytes": f"{512 * MIB}\n",
    "memory/memory.max_usage_in_bytes": f"{400 * MIB}\n",
    "memory/memory.failcnt": "12\n",
    "memory/memory.kmem.usage_in_bytes": f"{10 * MIB}\n",
    "memory/memory.stat": f"cache 1\nrss 2\ntotal_cache {90 * MIB}\ntotal_rss {200 * MIB}\ntotal_swap 4096\n"
    f"total_inactive_file {60 * MIB}\ntotal_shmem 11\ntotal_mapped_file 22\ntotal_dirty 33\ntotal_writeback 44\n"
    f"total_pgfault 1000\ntotal_pgmajfault 9\nhierarchical_memory_limit {512 * MIB}\n",
    "memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
    "blkio/blkio.throttle.io_service_bytes_recursive": "8:0 Read 4096\n8:0 Write 8192\nTotal 12288\n",
    "blkio/blkio.throttle.io_serviced_recursive": "8:0 Read 1\n8:0 Write 2\nTotal 3\n",
    "pids/pids.current": "17\n",
    "pids/pids.max": "100\n",
}
BOTH = {
    "cpu_usage_seconds_total": 12.5,
    "cpu_user_seconds_total": 9.0,
    "cpu_system_seconds_total": 3.5,
    "cpu_periods_total": 100,
    "cpu_throttled_periods_total": 7,
    "cpu_throttled_seconds_total": 0.25,
    "cpu_quota_seconds": 0.15,
    "cpu_period_seconds": 0.1,
    "cpu_limit_cpus": 1.5,
    "cpus_effective": 1.5,
    "memory_usage_bytes": 300 * MIB,
    "memory_working_set_bytes": 240 * MIB,
    "memory_limit_bytes": 512 * MIB,
    "memory_limit_effective_bytes": 512 * MIB,
    "memory_limit_hits_total": 12,
    "memory_shared_bytes": 11,
    "memory_mapped_bytes": 22,
    "memory_dirty_bytes": 33,
    "memory_writeback_bytes": 44,
    "page_faults_total": 1000,
    "major_page_faults_total": 9,
    "memory_peak_bytes": 400 * MIB,
    "memory_anonymous_bytes": 200 * MIB,
    "memory_file_bytes": 90 * MIB,
    "memory_kernel_bytes": 10 * MIB,
    "memory_swap_bytes": 4096,
    "oom_kills_total": 1,
    "io_read_bytes_total": 4096,
    "io_write_bytes_total": 8192,
    "io_reads_total": 1,
    "io_writes_total": 2,
    'io_device_read_bytes_total{device="8:0", tree="job"}': 4096,
    'io_device_write_bytes_total{device="8:0", tree="job"}': 8192,
    'io_device_reads_total{device="8:0", tree="job"}': 1,
    'io_device_writes_total{device="8:0", tree="job"}': 2,
    "pids": 17,
    "pids_limit": 100,
}
ONLY_V2 = {
    "cpu_weight": 100,
    "memory_high_bytes": 448 * MIB,
    "memory_swap_limit_bytes": 8192,
    "memory_slab_bytes": 55,
    "memory_sockets_bytes": 77,
    "memory_low_events_total": 3,
    "memory_high_events_total": 4,
    "oom_events_total": 2,
    "pressure_cpu_waiting_seconds_total": 1.5,
    "pressure_cpu_stalled_seconds_total": 0.5,
    "pressure_memory_waiting_seconds_total": 0.00001,
    "pressure_memory_stalled_seconds_total": 0.000005,
    "pressure_io_waiting_seconds_total": 0.00002,
    "pressure_io_stalled_seconds_total": 0.000015,
}


class Cgroups:
    """A machine whose process 7 is in cgroup /app."""

    def __init__(self, root: Path) -> None:
        self.machine = Machine(root)
        self.root = self.machine.cgroupfs
        self.trees = {"job": 7}

    def v2(self, files: dict[str, str], path: str = "app") -> None:
        self.make_v2(path, files)
        self.mount("/app", "v2")

    def v1(self, files: dict[str, str]) -> None:
        self.make_v1("app", files)
        self.mount("/app", "v1")

    def make_v2(self, path: str, files: dict[str, str]) -> None:
        """A cgroup of version 2."""
        directory = self.root / path
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in {"cgroup.procs": "7\n", "cgroup.events": "", **files}.items():
            (directory / name).write_text(text)

    def make_v1(self, path: str, files: dict[str, str]) -> None:
        """One of version 1, in all hierarchies, with their roots."""
        for name, text in files.items():
            controller, file = name.split("/")
            directory = self.root / controller / path
            directory.mkdir(parents=True, exist_ok=True)
            for cgroup in (self.root / controller, directory):
                (cgroup / "cgroup.procs").touch()
            (self.root / controller / "release_agent").touch()
            (directory / file).write_text(text)

    def mount(self, path: str, version: str) -> None:
        """Where process 7 is, and what is mounted."""
        memberships, mounts = "", []
        if version != "v1":
            point = f"{self.root}/unified" if version == "hybrid" else str(self.root)
            memberships += f"0::{path}\n"
            mounts.append(f"{self._device()} / {point} rw - cgroup2 cgroup2 rw")
        if version != "v2":
            for number, controller in enumerate(sorted({name.split("/")[0] for name in V1}), 2):
                memberships += f"{number}:{controller}:{path}\n"
                mounts.append(f"{self._device()} / {self.root}/{controller} rw - cgroup cgroup rw,{controller}")
        self._process(memberships, *mounts)

    def _device(self) -> str:
        device = os.stat(self.root).st_dev
        return f"30 25 {os.major(device)}:{os.minor(device)}"

    def _process(self, cgroup: str, *mounts: str) -> None:
        self.machine.proc.process(7, cgroup=cgroup)
        (self.machine.proc.root / "7/status").unlink()  # a test that wants Cpus_allowed_list writes it
        self.machine.proc.self_cgroup("0::/us\n")
        (self.machine.proc.root / "self/mountinfo").write_text("".join(f"{line}\n" for line in mounts))

    def make(self, *watches: Watch, **settings: object) -> CgroupCollector:
        settings = {"tree_pids": self.trees, "sysfs": str(self.root / "no-sys"), **settings}
        return self.machine.make(CgroupCollector, *watches, **settings)

    def collect(self, collector: CgroupCollector, times: int = 1) -> dict[str, float]:
        """By name, without prefix and label."""
        row = self.machine.collect(collector, times)
        return {
            series.removeprefix("cgroup_").removesuffix('{tree="job"}'): value
            for series, value in row.items()
            if series.startswith("cgroup_")
        }

    def readable(self, collector: CgroupCollector) -> float:
        return values(collector)['prom_probe_source_readable{source="cgroup"}']


@pytest.fixture
def cgroups(tmp_path: Path) -> Cgroups:
    return Cgroups(tmp_path)


def test_version_2_is_read(cgroups: Cgroups) -> None:
    """In base units, exposed."""
    cgroups.v2(V2)
    collector = cgroups.make()
    assert cgroups.collect(collector) == pytest.approx(BOTH | ONLY_V2)
    assert all(column.exposed for column in collector.layout.columns)
    assert cgroups.readable(collector) == 1


def test_version_1_is_told_in_the_same_words(cgroups: Cgroups) -> None:
    """What it has no equal of is absent."""
    cgroups.v1(V1)
    assert cgroups.collect(cgroups.make()) == pytest.approx(BOTH | {"cpu_shares": 1024})


@pytest.mark.parametrize("version", [1, 2])
def test_no_limit_is_no_series(cgroups: Cgroups, version: int) -> None:
    """Not infinity, and not the machine's memory."""
    if version == 2:
        cgroups.v2(V2 | {"cpu.max": "max 100000\n", "memory.max": "max\n", "pids.max": "max\n"})
    else:
        none = {"cpu/cpu.cfs_quota_us": "-1\n", "pids/pids.max": "max\n"}
        cgroups.v1(V1 | none | {"memory/memory.limit_in_bytes": "9223372036854771712\n"})
    collector = cgroups.make()
    row = cgroups.collect(collector)
    assert "cpu_usage_seconds_total" in row
    assert not {"cpu_limit_cpus", "memory_limit_bytes", "pids_limit"} & row.keys()
    assert cgroups.readable(collector) == 1


def test_a_controller_that_is_not_enabled_is_absent_quietly(cgroups: Cgroups) -> None:
    """Version 2 has CPU time in every cgroup, and memory only where it is delegated."""
    cgroups.v2({"cpu.stat": "usage_usec 5\nuser_usec 3\nsystem_usec 2\n"})
    collector = cgroups.make()
    assert cgroups.collect(collector).keys() == {
        "cpu_usage_seconds_total",
        "cpu_user_seconds_total",
        "cpu_system_seconds_total",
    }
    assert cgroups.readable(collector) == 1
    assert cgroups.machine.log == []


def test_the_working_set_is_never_negative(cgroups: Cgroups) -> None:
    """The two numbers are not of the same moment."""
    cgroups.v2(V2 | {"memory.current": "4096\n"})
    assert cgroups.collect(cgroups.make())["memory_working_set_bytes"] == 0


def test_a_removed_cgroup_keeps_its_counters_for_a_while(cgroups: Cgroups) -> None:
    """A container that the kernel killed: the scrape after its death still tells of it."""
    cgroups.v2(V2)
    collector = cgroups.make()
    cgroups.collect(collector)
    shutil.rmtree(cgroups.root / "app")
    cgroups.machine.proc.end(7)
    cgroups.trees.clear()
    row = cgroups.collect(collector, 60)
    assert row["oom_kills_total"] == 1
    assert row["cpu_usage_seconds_total"] == 12.5
    assert not {"memory_usage_bytes", "memory_limit_bytes", "pids"} & row.keys()
    assert cgroups.collect(collector, 70) == {}


@pytest.mark.parametrize("beats", range(1, 7))
def test_a_kill_is_told_where_the_way_to_the_cgroup_ends_with_the_process(cgroups: Cgroups, beats: int) -> None:
    """A container's cgroup, found through the root of its first process: what is open is read on, in any beat."""
    cgroups.v2(V2)
    collector = cgroups.make(descriptors=Descriptors(100))
    cgroups.collect(collector, beats)
    (cgroups.root / "app").rename(cgroups.root / "elsewhere")
    (cgroups.root / "elsewhere/memory.events").write_text("oom_kill 2\n")
    cgroups.machine.proc.end(7)
    cgroups.trees.clear()
    row = cgroups.collect(collector)
    assert row["oom_kills_total"] == 2
    assert row["memory_limit_bytes"] == 512 * MIB
    assert cgroups.collect(collector, 10) == row
    assert cgroups.machine.log == []


def test_an_oom_kill_is_an_event(cgroups: Cgroups) -> None:
    """With its tree and its time; a tree that moves to another cgroup is not told of what happened there."""
    cgroups.v2(V2)
    events: list[RunEvent] = []
    collector = cgroups.make(happened=events.append)
    cgroups.collect(collector)
    (cgroups.root / "app/memory.events").write_text("oom_kill 2\n")
    cgroups.collect(collector)
    t = cgroups.machine.booted + cgroups.machine.now
    assert events == [RunEvent(t, "oom_kill", "job", text="1 process of the cgroup killed because memory ran out")]
    cgroups.v2(V2 | {"memory.events": "oom_kill 9\n"}, "new")
    cgroups.machine.proc.process(8, cgroup="0::/new\n")
    cgroups.trees["job"] = 8
    cgroups.collect(collector, 2)
    assert len(events) == 1


def test_a_tree_that_comes_back_has_its_new_cgroup(cgroups: Cgroups) -> None:
    """A restarted container."""
    cgroups.v2(V2)
    collector = cgroups.make()
    cgroups.collect(collector)
    shutil.rmtree(cgroups.root / "app")
    cgroups.trees.clear()
    cgroups.collect(collector, 5)
    cgroups.v2(V2 | {"memory.events": "oom_kill 0\n"}, "new")
    cgroups.machine.proc.process(8, cgroup="0::/new\n")
    cgroups.trees["job"] = 8
    assert cgroups.collect(collector)["oom_kills_total"] == 0


def test_a_process_that_is_moved_is_followed(cgroups: Cgroups) -> None:
    """Its cgroup is looked for again now and then."""
    cgroups.v2(V2)
    collector = cgroups.make()
    cgroups.collect(collector)
    cgroups.v2(V2 | {"pids.current": "3\n"}, "moved")
    cgroups.machine.proc.process(7, cgroup="0::/moved\n")
    assert cgroups.collect(collector, 31)["pids"] == 3


def test_a_cgroup_watch_has_the_cgroup_that_is_watched(cgroups: Cgroups) -> None:
    """Not the one below in which the oldest process happens to be."""
    cgroups.v2(V2)
    cgroups.v2(V2 | {"pids.current": "1\n"}, "app/inner")
    cgroups.machine.proc.process(7, cgroup="0::/app/inner\n")
    assert cgroups.collect(cgroups.make(Watch("job", "cgroup", "app")))["pids"] == 17


def test_a_denied_cgroup_is_no_series(cgroups: Cgroups, monkeypatch: pytest.MonkeyPatch) -> None:
    """And said once; the next look finds it, when it may. That its process tells its affinity is not enough."""
    cgroups.v2(V2)
    (cgroups.machine.proc.root / "7/status").write_text("\nCpus_allowed_list:\t0-3\n")

    def denied(self: object, pid: int) -> dict[str, str]:
        raise PermissionError(13, "Permission denied", "/proc/7/root")

    collector = cgroups.make()
    with monkeypatch.context() as patch:
        patch.setattr(CgroupLocator, "locate", denied)
        assert cgroups.collect(collector, 5) == {}
    assert cgroups.readable(collector) == 0
    assert [level for level, _ in cgroups.machine.log] == ["warn"]
    assert cgroups.collect(collector, 30).keys() == (BOTH | ONLY_V2).keys()
    assert cgroups.readable(collector) == 1


def test_a_damaged_file_ends_its_series_while_it_is_so(cgroups: Cgroups) -> None:
    """The log names it."""
    cgroups.v2(V2)
    collector = cgroups.make()
    cgroups.collect(collector)
    (cgroups.root / "app/memory.current").write_text("nonsense\n")
    ended = {"memory_usage_bytes", "memory_working_set_bytes"}
    assert cgroups.collect(collector, 2).keys() == (BOTH | ONLY_V2).keys() - ended
    assert cgroups.readable(collector) == 0
    assert len(cgroups.machine.log) == 1
    assert cgroups.machine.log[0][1].startswith("memory.current: cannot parse")
    (cgroups.root / "app/memory.current").write_text("4096\n")
    assert cgroups.collect(collector)["memory_usage_bytes"] == 4096


def test_the_process_collector_tells_where_the_trees_are(cgroups: Cgroups) -> None:
    """Through the context that both are given."""
    cgroups.v2(V2)
    context = cgroups.machine.context(Watch("job", "pid", "7"))
    processes, collector = ProcessCollector(context), CgroupCollector(context)
    cgroups.machine.collect(processes)
    assert context.tree_pids == {"job": 7}
    assert "pids" in cgroups.collect(collector)
    cgroups.machine.proc.process(7, cgroup="0::/app\n", state="Z")
    cgroups.machine.collect(processes)
    assert context.tree_pids == {"job": 7}
    cgroups.machine.proc.process(9, 7, cgroup="0::/app\n", start=300)
    cgroups.machine.proc.process(8, 7, cgroup="0::/app\n", start=200)
    cgroups.machine.collect(processes, 3)
    assert context.tree_pids == {"job": 8}  # of a zombie the kernel tells neither mounts nor root
    for pid in (7, 8, 9):
        cgroups.machine.proc.end(pid)
    cgroups.machine.collect(processes)
    assert context.tree_pids == {}


@pytest.mark.parametrize("text", ["", "nonsense\n", "9" * 400 + "\n", "\0" * 70_000, "a 1\n" * 10_000 + "a"])
@pytest.mark.parametrize("name", V2)
def test_a_damaged_file_of_any_kind_costs_no_others_series(cgroups: Cgroups, name: str, text: str) -> None:
    """Empty, huge, of other text: an error with its name and no series of it, or what it says."""
    cgroups.v2(V2 | {name: text})
    row = cgroups.collect(cgroups.make(), 2)
    mine = {"cpu.stat": "cpu_usage", "memory.stat": "memory_anon", "memory.current": "memory_usage"}
    for file, series in mine.items():
        if file != name:
            assert any(key.startswith(series) for key in row)
    for level, message in cgroups.machine.log:
        assert level == "warn"
        assert name in message or message.startswith("cgroup of tree 'job': /proc/pressure")


SAMPLES = [
    (reading, (V2 | V1).get(reading.file) or V1.get(f"{reading.controller}/{reading.file}", "")) for reading in FILES
]


@given(st.sampled_from(SAMPLES), st.data())
@settings(max_examples=200)
def test_any_bytes_give_values_or_the_error(sample: tuple[CgroupFile, str], data: st.DataObject) -> None:
    """Of each file: cut, exchanged or strange bytes."""
    reading, text = sample
    raw = text.encode()
    start = data.draw(st.integers(0, len(raw)))
    end = data.draw(st.integers(start, len(raw)))
    try:
        values = dict(reading.take(raw[:start] + data.draw(st.binary(max_size=12)) + raw[end:], ignore))
    except ParseError:
        return
    assert values.keys() <= FAMILIES.keys() | {INACTIVE_FILE}


@pytest.mark.parametrize("error", [errno.EACCES, errno.EOPNOTSUPP, errno.EIO])
def test_a_file_that_cannot_be_read_costs_no_others_series(
    cgroups: Cgroups, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    """A kernel without pressure has the file, and gives EOPNOTSUPP for it, which is no fault."""
    cgroups.v2(V2)
    read = KeptFile.read

    def fail(file: KeptFile) -> bytes:
        if file.path.endswith("cpu.pressure"):
            raise OSError(error, os.strerror(error), file.path)
        return read(file)

    monkeypatch.setattr(KeptFile, "read", fail)
    collector = cgroups.make()
    row = cgroups.collect(collector, 3)
    ended = {"pressure_cpu_waiting_seconds_total", "pressure_cpu_stalled_seconds_total"}
    assert row.keys() == (BOTH | ONLY_V2).keys() - ended
    assert cgroups.readable(collector) == (error == errno.EOPNOTSUPP)
    assert len(cgroups.machine.log) == (error != errno.EOPNOTSUPP)


def test_a_controller_that_is_taken_away_ends_its_series_alone(cgroups: Cgroups) -> None:
    """Not the end of the cgroup; it is seen again when it is back."""
    cgroups.v2(V2)
    collector = cgroups.make()
    cgroups.collect(collector)
    for name in V2:
        if name.startswith("memory."):
            (cgroups.root / "app" / name).unlink()
    row = cgroups.collect(collector, 8)
    assert row["pids"] == 17
    assert not any("memory" in name and not name.startswith("pressure") for name in row)
    assert cgroups.readable(collector) == 1
    assert cgroups.machine.log == []
    cgroups.v2(V2)
    assert cgroups.collect(collector, 40).keys() == (BOTH | ONLY_V2).keys()


def test_a_changed_limit_is_seen_within_seconds(cgroups: Cgroups) -> None:
    """Containers are resized in place."""
    cgroups.v2(V2)
    collector = cgroups.make()
    cgroups.collect(collector)
    cgroups.v2(V2 | {"cpu.max": "max 100000\n", "memory.max": f"{700 * MIB}\n"})
    row = cgroups.collect(collector, 6)
    assert row["memory_limit_bytes"] == 700 * MIB
    assert row["cpus_effective"] == 3
    assert not {"cpu_limit_cpus", "cpu_quota_seconds", "cpu_period_seconds"} & row.keys()


def test_devices_have_names_and_come_and_go(cgroups: Cgroups, tmp_path: Path) -> None:
    """Those of /sys/dev/block; the sums are over all of them."""
    block = tmp_path / "sys/dev/block"
    block.mkdir(parents=True)
    (block / "8:0").symlink_to("../../devices/pci/sda")
    cgroups.v2(V2 | {"io.stat": V2["io.stat"] + "259:1 rbytes=10 wbytes=20 rios=30 wios=40 dbytes=0 dios=0\n7:0 \n"})
    collector = cgroups.machine.make(CgroupCollector, tree_pids=cgroups.trees, sysfs=str(tmp_path / "sys"))
    row = cgroups.collect(collector)
    assert row['io_device_read_bytes_total{device="sda", tree="job"}'] == 4096
    assert row['io_device_writes_total{device="259:1", tree="job"}'] == 40
    assert row["io_read_bytes_total"] == 4106
    (cgroups.root / "app/io.stat").write_text("")
    row = cgroups.collect(collector)
    assert row["io_read_bytes_total"] == 4106
    assert not any(name.startswith("io_device") for name in row)


def test_a_device_that_is_taken_away_leaves_what_it_had_in_the_sums(cgroups: Cgroups) -> None:
    """They are counters. One that is back goes on; another one by its number begins at 0; another cgroup's are its."""
    cgroups.v2(V2)
    collector = cgroups.make()
    sums = []
    for text in (
        "8:0 rbytes=100\n7:0 rbytes=5\n",
        "8:0 rbytes=110\n7:0 \n",  # green-coding-solutions/green-metrics-tool#1837
        "8:0 rbytes=120\n7:0 rbytes=7\n",
        "7:0 rbytes=8\n",
        "8:0 rbytes=30\n7:0 rbytes=8\n",
    ):
        (cgroups.root / "app/io.stat").write_text(text)
        sums.append(cgroups.collect(collector)["io_read_bytes_total"])
    assert sums == [105, 115, 127, 128, 158]
    cgroups.make_v2("other", V2 | {"io.stat": "8:0 rbytes=1\n"})
    cgroups.mount("/other", "v2")
    assert cgroups.collect(collector, 31)["io_read_bytes_total"] == 1


def test_a_successor_knows_what_devices_that_are_gone_had(cgroups: Cgroups) -> None:
    """The sums go on; those of another cgroup, or after a state that is none of ours, are the kernel's."""
    cgroups.v2(V2 | {"io.stat": "8:0 rbytes=100\n7:0 rbytes=5\n"})
    collector = cgroups.make()
    cgroups.collect(collector)
    assert collector.checkpoint() == b""
    (cgroups.root / "app/io.stat").write_text("8:0 rbytes=110\n")
    assert cgroups.collect(collector)["io_read_bytes_total"] == 115
    state = collector.checkpoint()
    (cgroups.root / "app/io.stat").write_text("8:0 rbytes=120\n")
    for left, expected in ((state, 125), (b"", 120), (b"\xc1", 120), (b"\x81\xa3job\x01", 120)):
        successor = cgroups.make()
        successor.restore(left)
        assert cgroups.collect(successor)["io_read_bytes_total"] == expected
    cgroups.make_v2("other", V2 | {"io.stat": "8:0 rbytes=1\n"})
    cgroups.mount("/other", "v2")
    successor = cgroups.make()
    successor.restore(state)
    assert cgroups.collect(successor)["io_read_bytes_total"] == 1


# name -> (number, what it is built on)
STACK = {
    "sda": ("8:0", ()),
    "sdb": ("8:16", ()),
    "md0": ("9:0", ("sda/sda2", "sdb/sdb2")),
    "dm-0": ("253:0", ("md0",)),
    "nvme0n1": ("259:0", ()),
    "dm-1": ("253:1", ("nvme0n1/nvme0n1p3",)),
}


def _make_stack(sys: Path) -> None:
    """A volume on a RAID of two partitions; an encrypted partition."""
    (sys / "dev/block").mkdir(parents=True)
    for name, (number, below) in STACK.items():
        device = sys / "block" / name
        (device / "slaves").mkdir(parents=True)
        (device / "dev").write_text(f"{number}\n")
        (sys / "dev/block" / number).symlink_to(device)
        for place in below:
            lower = sys / "block" / place
            if not lower.exists():
                lower.mkdir()
                (lower / "partition").write_text("2\n")
            (device / "slaves" / lower.name).symlink_to(lower)


def test_what_passes_a_mapped_device_counts_once(cgroups: Cgroups, tmp_path: Path) -> None:
    """elastic/beats#19766: a volume, a RAID and its disks each count it. What goes to a disk alone counts too."""
    _make_stack(tmp_path / "sys")
    cgroups.v2(V2)
    collector = cgroups.make(sysfs=str(tmp_path / "sys"))
    sums = []
    for rows in (
        {"8:0": 50, "8:16": 50, "9:0": 100, "253:0": 100},
        {"8:0": 75, "8:16": 70, "9:0": 145, "253:0": 150},  # what is below lags behind
        {"8:0": 75, "8:16": 75, "9:0": 150, "253:0": 150, "253:1": 60, "259:0": 80},  # 20 to another partition
        {"8:0": 75, "8:16": 75, "9:0": 150, "253:1": 60, "259:0": 81},  # the volume is gone
        {"8:0": 80, "8:16": 80, "9:0": 160, "253:1": 60, "259:0": 81},
    ):
        (cgroups.root / "app/io.stat").write_text("".join(f"{device} rbytes={n}\n" for device, n in rows.items()))
        sums.append(cgroups.collect(collector)["io_read_bytes_total"])
    assert sums == [100, 150, 230, 231, 241]
    cgroups.make_v2("other", V2 | {"io.stat": "9:0 rbytes=9\n253:0 rbytes=9\n8:0 rbytes=9\n"})
    cgroups.mount("/other", "v2")
    assert cgroups.collect(collector, 31)["io_read_bytes_total"] == 9


def test_a_negative_number_is_no_series(cgroups: Cgroups) -> None:
    """google/cadvisor#254; old kernels write it as an unsigned one."""
    cgroups.v2(V2 | {"memory.stat": "anon 18446744073709547520\nfile -4096\nshmem 11\n"})
    row = cgroups.collect(cgroups.make())
    assert row["memory_shared_bytes"] == 11
    assert not row.keys() & {"memory_anonymous_bytes", "memory_file_bytes"}


def test_an_odd_cpuset_costs_no_other_limit(cgroups: Cgroups) -> None:
    """Each of the limits that take several files is by itself."""
    cgroups.v2(V2 | {"cpuset.cpus.effective": "(null)\n"})
    row = cgroups.collect(cgroups.make())
    assert "cpus_effective" not in row
    assert row["memory_limit_effective_bytes"] == 512 * MIB


POD = "pod0b5a4c2e_9c6b_4f3e_8a77_1f2d3c4b5a69"
CONTAINER = "3f1c" * 16
PATHS = {
    "kubernetes, systemd driver": (
        "kubepods.slice",
        "kubepods-burstable.slice",
        f"kubepods-burstable-{POD}.slice",
        f"cri-containerd-{CONTAINER}.scope",
    ),
    "kubernetes, cgroupfs driver": ("kubepods", "burstable", POD.replace("_", "-"), CONTAINER),
    "docker, systemd driver": ("system.slice", f"docker-{CONTAINER}.scope"),
    "docker, cgroupfs driver": ("docker", CONTAINER),
    "podman, not root": (
        "user.slice",
        "user-1000.slice",
        "user@1000.service",
        "user.slice",
        f"libpod-{CONTAINER}.scope",
    ),
}


@pytest.mark.parametrize("version", ["v1", "v2", "hybrid"])
@pytest.mark.parametrize("names", PATHS.values(), ids=PATHS)
def test_runtimes_paths_lead_to_the_containers_cgroup(cgroups: Cgroups, names: tuple[str, ...], version: str) -> None:
    """Its own numbers, and of the limits above it the smallest; a neighbour and what is above have other ones."""
    path = "/".join(names)
    above = "/".join(names[:-1])
    beside = f"{above}/neighbour"
    if version != "v1":
        root = "unified/" if version == "hybrid" else ""
        cgroups.make_v2(f"{root}{path}", V2 | {"cpu.max": "400000 100000\n", "cpuset.cpus.effective": "0-7\n"})
        cgroups.make_v2(
            f"{root}{above}", V2 | {"cpu.max": "50000 100000\n", "memory.max": "1000\n", "pids.current": "9\n"}
        )
        cgroups.make_v2(f"{root}{beside}", V2 | {"pids.current": "5\n", "cpu.max": "1 100000\n"})
    if version != "v2":
        quota = {"cpu/cpu.cfs_quota_us": "400000\n", "cpuset/cpuset.cpus": "\n"}
        cgroups.make_v1(
            path, V1 | quota | {"memory/memory.stat": V1["memory/memory.stat"] + "hierarchical_memory_limit 1000\n"}
        )
        cgroups.make_v1(above, V1 | {"cpu/cpu.cfs_quota_us": "50000\n", "pids/pids.current": "9\n"})
        cgroups.make_v1(beside, V1 | {"cpu/cpu.cfs_quota_us": "1\n", "pids/pids.current": "5\n"})
    cgroups.mount(f"/{path}", version)
    row = cgroups.collect(cgroups.make())
    assert row["pids"] == 17
    assert row["cpu_limit_cpus"] == 4
    assert row["cpus_effective"] == 0.5
    assert row["memory_limit_bytes"] == 512 * MIB
    assert row["memory_limit_effective_bytes"] == 1000
    assert row["cpu_usage_seconds_total"] == 12.5


@pytest.mark.parametrize(
    ("files", "status", "online", "cpus"),
    [
        ({"cpu.max": "max 100000\n", "cpuset.cpus.effective": "0-2\n"}, "", "", 3),
        ({"cpu.max": "max 100000\n", "cpuset.cpus.effective": "0-2\n"}, "\nCpus_allowed_list:\t2-9\n", "", 1),
        ({"cpu.max": "max 100000\n"}, "\nCpus_allowed_list:\t0-127\n", "0-3\n", 4),
        ({"cpu.max": "25000 100000\n"}, "\nCpus_allowed_list:\t0-127\n", "0-3\n", 0.25),
        ({"cpu.max": "max 100000\n"}, "", "0-3\n", None),
    ],
)
def test_effective_cpus_are_the_least_that_anything_allows(
    cgroups: Cgroups, tmp_path: Path, files: dict[str, str], status: str, online: str, cpus: float | None
) -> None:
    """Quota, cpuset, affinity, CPUs online; nothing where nothing tells."""
    cgroups.v2(files)
    if status:
        (cgroups.machine.proc.root / "7/status").write_text(status)
    if online:
        (tmp_path / "sys/devices/system/cpu").mkdir(parents=True)
        (tmp_path / "sys/devices/system/cpu/online").write_text(online)
    collector = cgroups.machine.make(CgroupCollector, tree_pids=cgroups.trees, sysfs=str(tmp_path / "sys"))
    assert cgroups.collect(collector).get("cpus_effective") == cpus


def test_the_descriptors_of_a_cgroup_are_given_back(cgroups: Cgroups) -> None:
    """When its tree has been without a process for a while."""
    cgroups.v2(V2)
    descriptors = Descriptors(100)
    collector = cgroups.make(descriptors=descriptors)
    cgroups.collect(collector)
    assert descriptors.used > 0
    cgroups.trees.clear()
    cgroups.collect(collector, 130)
    assert descriptors.used == 0
