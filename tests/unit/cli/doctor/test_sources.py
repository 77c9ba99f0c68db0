"""What the doctor says of processes, cgroups, the machine's files and GPUs: each reason, with what to change."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from prom_probe.cli.doctor import cgroups, machine, processes
from prom_probe.cli.doctor.access import ACCESS, Access
from prom_probe.cli.doctor.finding import Finding
from prom_probe.cli.doctor.identity import Identity
from prom_probe.model.watch import Watch
from tests.support.collector_harness import Machine
from tests.support.doctor_tools import DeniedAccess, identity, status_text
from tests.support.paths import HOST


@pytest.fixture(name="box")
def make_machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path)
    made.proc.process(1, 0, b"init")
    made.proc.self_cgroup("0::/\n")
    (made.proc.root / "self" / "mountinfo").write_text("")
    return made


def application(made: Machine, pid: int = 100, uid: int = 1000) -> None:
    """A process with all files that the doctor opens."""
    made.proc.process(pid, 1, b"app")
    for name, text in {"smaps_rollup": "", "schedstat": "1 2 3\n", "status": status_text(uid, uid)}.items():
        (made.proc.root / str(pid) / name).write_text(text)


def files(made: Machine, us: Identity, *, pss: bool = False, access: Access = ACCESS) -> dict[str, Finding]:
    """What is said of the files of process 100 and its tree, by name."""
    context = made.context(Watch("job", "pid", "100"))
    trees = processes.find_trees(context)
    found = processes.check_files(context, us, "job", trees["job"], pss, access)
    return {finding.source.rpartition("/")[2]: finding for finding in found}


def test_all_files_of_a_process_are_looked_at(box: Machine) -> None:
    """Those that are asked for only by a flag too."""
    application(box)
    found = files(box, identity())
    assert set(found) == {"stat", "statm", "io", "fd", "smaps_rollup", "schedstat"}
    assert {finding.status for finding in found.values()} == {"ok"}


@pytest.mark.parametrize("name", ["stat", "statm", "io", "smaps_rollup", "schedstat"])
def test_a_denied_file_is_explained(box: Machine, name: str) -> None:
    """Only what was asked for is missing."""
    application(box)
    found = files(box, identity(2000, 2000), access=DeniedAccess(f"/100/{name}"))
    finding = found.pop(name)
    assert finding.status == ("absent" if name in ("smaps_rollup", "schedstat") else "missing")
    assert finding.detail == "1 of 1 process denies it"
    assert finding.reason == "it runs as uid 1000, gid 1000, and we as uid 2000, gid 2000"
    assert {other.status for other in found.values()} == {"ok"}


def test_a_denied_listing_of_descriptors_is_explained(box: Machine) -> None:
    """Where the kernel does not give their count otherwise."""
    application(box)
    assert files(box, identity(2000, 2000), access=DeniedAccess("/100/fd"))["fd"].status == "missing"


def test_pss_is_missing_where_it_is_asked_for(box: Machine) -> None:
    """By its interval."""
    application(box)
    access = DeniedAccess("/100/smaps_rollup")
    assert files(box, identity(2000, 2000), pss=True, access=access)["smaps_rollup"].status == "missing"


def test_processes_are_counted_and_their_reasons_told_apart(box: Machine) -> None:
    """Two of one user, one of another; one that can be read."""
    for pid, uid in ((100, 1000), (101, 1000), (102, 3000), (103, 2000)):
        application(box, pid, uid)
        if pid != 100:
            status = box.proc.root / str(pid) / "status"
            whose = status.read_text()
            box.proc.process(pid, 100, b"app")
            status.write_text(whose)
    access = DeniedAccess("/100/io", "/101/io", "/102/io")
    context = box.context(Watch("job", "pid", "100"))
    found = processes.check_files(
        context, identity(2000, 2000), "job", processes.find_trees(context)["job"], False, access
    )
    told = [(f.detail, f.reason[:19]) for f in found if f.source == "/proc/PID/io"]
    assert told == [
        ("2 of 4 processes deny it", "it runs as uid 1000"),
        ("1 of 4 processes denies it", "it runs as uid 3000"),
    ]


@pytest.mark.parametrize(
    ("name", "reason"),
    [("io", "CONFIG_TASK_IO_ACCOUNTING"), ("smaps_rollup", "4.14"), ("schedstat", "CONFIG_SCHED_INFO")],
)
def test_a_kernel_without_the_file_is_told(box: Machine, name: str, reason: str) -> None:
    """The process is there."""
    application(box)
    (box.proc.root / "100" / name).unlink()
    finding = files(box, identity())[name]
    assert finding.status != "ok"
    assert reason in finding.reason


def test_zombies_and_those_that_end_meanwhile_deny_nothing(box: Machine) -> None:
    """There is nothing left to read."""
    application(box)
    box.proc.process(101, 100, b"app", state="Z")
    box.proc.process(102, 100, b"app")
    context = box.context(Watch("job", "pid", "100"))
    trees = processes.find_trees(context)
    box.proc.end(102)
    found = list(processes.check_files(context, identity(), "job", trees["job"], False))
    assert {(finding.status, finding.detail) for finding in found} == {("ok", "of 1 process")}


def test_hidepid_is_told_where_processes_are_closed(box: Machine) -> None:
    """Then not even their status can be read."""
    application(box)
    finding = files(box, identity(hidepid="1"), access=DeniedAccess("/100/io", "/100/status"))["io"]
    assert "hidepid=1" in finding.reason
    assert "hidepid=0" in finding.change


@pytest.mark.parametrize(
    ("watch", "us", "reason", "change"),
    [
        (Watch("job", "pid", "77"), identity(), "no process 77 in our PID namespace", "as ps shows it"),
        (
            Watch("job", "pid", "77"),
            identity(container=True),
            "sees only its own processes",
            "shareProcessNamespace: true",
        ),
        (Watch("job", "comm", "web"), identity(hidepid="2"), "hidepid=2", "hidepid=0"),
        (Watch("job", "comm", "web"), identity(0, 0, hidepid="2"), "15 bytes", "has not started yet"),
        (
            Watch("job", "cmdline", "x y"),
            identity(),
            "command line that matches 'x y' as a whole",
            "has not started yet",
        ),
        (Watch("job", "cgroup", "/gone"), identity(), "no such cgroup", "as /proc/PID/cgroup has it"),
        (Watch("job", "cgroup", "/gone"), identity(container=True), "no such cgroup", "only its own cgroups"),
        (Watch("job", "cgroup", "/empty"), identity(), "has no process", "has not started yet"),
        (Watch("", "containers"), identity(container=True, shared=True), "no other container", "has not started yet"),
    ],
)
def test_a_watch_without_processes_is_explained(
    box: Machine, watch: Watch, us: Identity, reason: str, change: str
) -> None:
    """By what hides them, else by what is asked for."""
    box.cgroup("empty")
    box.proc.process(1, 0, b"pause")
    context = box.context(watch)
    (finding,) = processes.check_watches(context, us, processes.find_trees(context))
    assert finding.status == "missing"
    assert reason in finding.reason
    assert change in finding.change


@pytest.mark.parametrize(("container", "change"), [(False, "--watch="), (True, "shareProcessNamespace: true")])
def test_no_watch_is_no_fault(box: Machine, container: bool, change: str) -> None:
    """But it is said how to have one."""
    (finding,) = processes.check_watches(box.context(), identity(container=container), {})
    assert finding.status == "absent"
    assert change in finding.change


def cgroup_findings(made: Machine, us: Identity, *watches: Watch, access: Access = ACCESS) -> dict[str, Finding]:
    """What is said of the cgroup of process 100's tree, by source."""
    context = made.context(*(watches or (Watch("job", "pid", "100"),)))
    found = cgroups.check_cgroup(context, us, "job", processes.find_trees(context)["job"], access)
    return {finding.source: finding for finding in found}


def put_in_cgroup(made: Machine, path: str, *names: str, mount_root: str = "/") -> None:
    """Process 100 in a cgroup of version 2 that has these files."""
    application(made)
    (made.proc.root / "100" / "cgroup").write_text(f"0::{path}\n")
    device = os.stat(made.cgroupfs).st_dev
    mount = f"30 25 {os.major(device)}:{os.minor(device)} {mount_root} {made.cgroupfs} rw - cgroup2 cgroup2 rw\n"
    (made.proc.root / "self" / "mountinfo").write_text(mount)
    (made.proc.root / "100" / "mountinfo").write_text("")
    directory = made.cgroupfs / path.strip("/")
    directory.mkdir(parents=True, exist_ok=True)
    for name in ("cgroup.procs", "cgroup.events", "cgroup.controllers", *names):
        (directory / name).write_text("100\n" if name == "cgroup.procs" else "")


ALL = ("cpu.max", "cpu.stat", "memory.current", "pids.current", "io.stat", "cpu.pressure")


def test_a_cgroup_with_all_controllers_is_fine(box: Machine) -> None:
    """Whether it is the process's or the one that is watched."""
    put_in_cgroup(box, "/app", *ALL)
    for watch in (Watch("job", "pid", "100"), Watch("job", "cgroup", "/app")):
        found = cgroup_findings(box, identity(), watch)
        assert len(found) == 6
        assert {finding.status for finding in found.values()} == {"ok"}


@pytest.mark.parametrize(
    ("file", "source", "status", "change"),
    [
        ("cpu.max", "cgroup cpu", "missing", "echo +cpu into cgroup.subtree_control"),
        ("memory.current", "cgroup memory", "missing", "cgroup_enable=memory"),
        ("pids.current", "cgroup pids", "absent", "echo +pids"),
        ("io.stat", "cgroup io", "absent", "echo +io"),
        ("cpu.pressure", "cgroup pressure", "absent", "CONFIG_PSI"),
    ],
)
def test_a_missing_controller_is_told(box: Machine, file: str, source: str, status: str, change: str) -> None:
    """With how to enable it."""
    put_in_cgroup(box, "/app", *(set(ALL) - {file}))
    found = cgroup_findings(box, identity())
    assert found[source].status == status
    assert change in found[source].change
    assert {finding.status for name, finding in found.items() if name != source} == {"ok"}


def test_a_controller_that_only_version_1s_root_has_is_no_fault(box: Machine) -> None:
    """It counts the whole machine there."""
    application(box)
    (box.proc.root / "100" / "cgroup").write_text("2:memory:/app\n1:cpu:/\n")
    directory = box.cgroupfs / "memory" / "app"
    directory.mkdir(parents=True)
    (directory / "memory.usage_in_bytes").write_text("1\n")
    (box.cgroupfs / "cpu").mkdir()
    (box.cgroupfs / "cpu" / "release_agent").touch()
    device = os.stat(box.cgroupfs).st_dev
    mounts = [
        f"30 25 {os.major(device)}:{os.minor(device)} / {box.cgroupfs}/{name} rw - cgroup cgroup rw,{name}\n"
        for name in ("memory", "cpu")
    ]
    (box.proc.root / "self" / "mountinfo").write_text("".join(mounts))
    (box.proc.root / "100" / "mountinfo").write_text("")
    found = cgroup_findings(box, identity())
    assert found["cgroup memory"].status == "ok"
    assert found["cgroup cpu"].status == "absent"
    assert "root of version 1's cpu" in found["cgroup cpu"].reason
    assert found["cgroup pressure"].reason == "version 1 does not have it"


def test_a_cgroup_beside_our_namespace_is_told(box: Machine) -> None:
    """When the other container does not mount it."""
    put_in_cgroup(box, "/app", *ALL)
    (box.proc.root / "100" / "cgroup").write_text("0::/../other\n")
    finding = cgroup_findings(box, identity())["cgroup"]
    assert finding.status == "missing"
    assert "/../other is outside our cgroup namespace" in finding.reason
    assert "mount /sys/fs/cgroup" in finding.change


def test_a_denied_root_of_another_container_is_told(box: Machine) -> None:
    """Its cgroup is to be read through it."""
    put_in_cgroup(box, "/app", *ALL)
    (box.proc.root / "100" / "cgroup").write_text("0::/../other\n")
    text = (box.proc.root / "self" / "mountinfo").read_text()
    (box.proc.root / "100" / "mountinfo").write_text(text.replace(" / ", " /../other ", 1))
    access = DeniedAccess(f"/100/root{box.cgroupfs}")
    finding = cgroup_findings(box, identity(2000, 2000), access=access)["cgroup"]
    assert finding.status == "missing"
    assert "runAsUser: 1000" in finding.change


def test_no_cgroup_file_system_is_told(box: Machine) -> None:
    """With the flag that says where it is."""
    put_in_cgroup(box, "/app", *ALL)
    (box.proc.root / "self" / "mountinfo").write_text("")
    finding = cgroup_findings(box, identity())["cgroup"]
    assert "no cgroup file system is mounted" in finding.reason
    assert "--path.cgroupfs" in finding.change


def test_the_root_cgroup_is_no_fault(box: Machine) -> None:
    """It is the whole machine, and no tree's."""
    put_in_cgroup(box, "/", *ALL)
    (box.cgroupfs / "cgroup.events").unlink()
    finding = cgroup_findings(box, identity())["cgroup"]
    assert finding.status == "absent"
    assert "systemd-run" in finding.change


def system(made: Machine, procfs: str, us: Identity, access: Access = ACCESS) -> dict[str, Finding]:
    context = made.context(procfs=procfs, sysfs=str(HOST / "sys"))
    return {finding.source: finding for finding in machine.check_system(context, us, access)}


def test_the_systems_sources_are_those_of_its_collector(box: Machine) -> None:
    """On the fixture machine nothing that is asked for is missing."""
    found = system(box, str(HOST / "proc"), identity())
    assert {"proc_stat", "proc_meminfo", "proc_pressure_cpu", "block_stat"} <= found.keys()
    assert found["proc_stat"].status == "ok"
    assert "missing" not in {finding.status for finding in found.values()}


@pytest.mark.parametrize(
    ("name", "us", "status", "reason"),
    [
        ("proc_meminfo", identity(), "missing", "is not there"),
        ("proc_meminfo", identity(subset="pid"), "missing", "subset=pid"),
        ("proc_pressure_io", identity(), "absent", "does not account pressure"),
    ],
)
def test_a_system_file_that_is_not_there_is_told(
    box: Machine, name: str, us: Identity, status: str, reason: str
) -> None:
    """Pressure is not every kernel's."""
    finding = system(box, box.proc.path, us)[name]
    assert finding.status == status
    assert reason in finding.reason


def test_a_masked_system_file_is_told(box: Machine) -> None:
    """A runtime or AppArmor can deny it."""
    finding = system(box, box.proc.path, identity(), DeniedAccess("/meminfo"))["proc_meminfo"]
    assert finding.status == "missing"
    assert finding.reason.endswith("/meminfo is denied")
    assert "maskedPaths" in finding.change


def test_a_damaged_system_file_has_the_collectors_words(box: Machine) -> None:
    """The doctor can read it; what is wrong is in it."""
    (box.proc.root / "meminfo").write_text("MemTotal: nonsense\n")
    finding = system(box, box.proc.path, identity())["proc_meminfo"]
    assert finding.status == "missing"
    assert "cannot parse" in finding.reason


def test_gpus_are_told_by_their_files(box: Machine, tmp_path: Path) -> None:
    """None, a driver without a device, half a device, a device, and cards of sysfs."""
    dev, sysfs = tmp_path / "dev", tmp_path / "sys"
    dev.mkdir()
    context = box.context(sysfs=str(sysfs))
    assert machine.check_gpus(context, str(dev)).reason == "there is no GPU here"
    (box.proc.root / "driver/nvidia").mkdir(parents=True)
    (box.proc.root / "driver/nvidia/version").touch()
    assert "NVIDIA_VISIBLE_DEVICES" in machine.check_gpus(context, str(dev)).change
    (dev / "nvidia0").touch()
    assert "no " + str(dev / "nvidiactl") in machine.check_gpus(context, str(dev)).reason
    (dev / "nvidiactl").touch()
    assert machine.check_gpus(context, str(dev)).detail == str(dev / "nvidia0")
    vendor = sysfs / "class/drm/card0/device/vendor"
    vendor.parent.mkdir(parents=True)
    vendor.write_text("0x1002\n")
    assert machine.check_gpus(context, str(dev)).detail == f"{dev / 'nvidia0'}, card0 (AMD)"


def test_a_gpu_that_is_denied_names_the_group(box: Machine, tmp_path: Path) -> None:
    """Device files of another group."""
    for name in ("nvidia0", "nvidiactl"):
        (tmp_path / name).touch()
    assert "supplementalGroups" in machine.check_gpus(box.context(sysfs="/none"), str(tmp_path), DeniedAccess()).change
