"""Machines of plain files that the real program can be pointed at: /proc, /sys and cgroupfs of each kind of host."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.support.fake_proc import FakeProc, stat_line
from tests.support.paths import HOST

MIB = 1 << 20

V2 = {
    "cgroup.controllers": "cpu memory io pids\n",
    "cgroup.events": "populated 1\nfrozen 0\n",
    "cgroup.procs": "",
    "cpu.stat": "usage_usec 12500000\nuser_usec 9000000\nsystem_usec 3500000\n"
    "nr_periods 100\nnr_throttled 7\nthrottled_usec 250000\n",
    "cpu.max": "150000 100000\n",
    "memory.current": f"{300 * MIB}\n",
    "memory.max": f"{512 * MIB}\n",
    "memory.stat": f"anon {200 * MIB}\nfile {90 * MIB}\nkernel {10 * MIB}\nshmem 0\ninactive_file {60 * MIB}\n",
    "memory.events": "low 0\nhigh 0\nmax 12\noom 2\noom_kill 1\n",
    "io.stat": "8:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n",
    "pids.current": "17\n",
    "pids.max": "100\n",
}
PRESSURE = {
    "cpu.pressure": "some avg10=0.00 avg60=0.00 avg300=0.00 total=1500000\n"
    "full avg10=0.00 avg60=0.00 avg300=0.00 total=500000\n",
}
V1 = {
    "cpu,cpuacct": {
        "cpu.stat": "nr_periods 100\nnr_throttled 7\nthrottled_time 250000000\n",
        "cpu.cfs_quota_us": "150000\n",
        "cpu.cfs_period_us": "100000\n",
        "cpuacct.usage": "12500000000\n",
    },
    "memory": {
        "memory.usage_in_bytes": f"{300 * MIB}\n",
        "memory.limit_in_bytes": f"{512 * MIB}\n",
        "memory.stat": f"total_cache {90 * MIB}\ntotal_rss {200 * MIB}\ntotal_inactive_file {60 * MIB}\n",
        "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
    },
    "pids": {"pids.current": "17\n", "pids.max": "100\n"},
}


class FakeMachine:
    """Below `root`: proc, sys, cgroup. `flags` points the program there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.proc = FakeProc(root / "proc")
        self.cgroup = root / "cgroup"
        for directory in (root / "sys", self.cgroup, self.proc.root / "self"):
            directory.mkdir(exist_ok=True)
        for name in ("stat", "meminfo", "loadavg"):
            shutil.copy(HOST / "proc" / name, self.proc.root / name)
        device = os.stat(root).st_dev
        self._device = f"{os.major(device)}:{os.minor(device)}"
        self.self_in("0::/\n")

    @property
    def flags(self) -> list[str]:
        """Without a program's or a container's own things: what is exposed does not depend on where the test runs."""
        paths = [f"--path.{name}fs={self.root / name}" for name in ("proc", "sys", "cgroup")]
        return [*paths, "--expose.system"]

    def self_in(self, cgroup: str, *mounts: tuple[str, str, str]) -> None:
        """Our own cgroup file and mounts of it: see `mounts`."""
        self.proc.self_cgroup(cgroup)
        self.mounts("self", *mounts)

    def mounts(self, process: str, *mounts: tuple[str, str, str]) -> None:
        """A process's cgroup mounts: (root, mount point, "v2" or version 1's options)."""
        lines = []
        for root, point, kind in mounts:
            end = "cgroup2 cgroup2 rw,nsdelegate" if kind == "v2" else f"cgroup cgroup rw,{kind}"
            lines.append(f"30 25 {self._device} {root} {point} rw,relatime shared:4 - {end}\n")
        (self.proc.root / process / "mountinfo").write_text("".join(lines))

    def files(self, directory: Path, files: dict[str, str]) -> None:
        """Write a cgroup's files."""
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (directory / name).write_text(text)

    def v2(self, path: str, where: str = "") -> None:
        """A hierarchy of version 2 at `where` with one cgroup."""
        self.files(self.cgroup / where, {"cgroup.controllers": "cpu memory io pids\n", "cgroup.procs": ""})
        self.files(self.cgroup / where / path, V2 | PRESSURE)

    def v1(self, path: str) -> list[tuple[str, str, str]]:
        """Version 1's hierarchies with one cgroup in each; their mounts."""
        for name, files in V1.items():
            self.files(self.cgroup / name, {"release_agent": "", "cgroup.procs": ""})
            self.files(self.cgroup / name / path, {"cgroup.procs": "", **files})
        return [("/", str(self.cgroup / name), name) for name in V1]


def host(root: Path) -> FakeMachine:
    """The recorded machine, its application in a cgroup of version 2."""
    shutil.copytree(HOST, root, dirs_exist_ok=True)
    machine = FakeMachine(root)
    machine.v2("system.slice/app.service")
    machine.self_in("0::/\n", ("/", str(machine.cgroup), "v2"))
    return machine


def v2(root: Path) -> FakeMachine:
    """Version 2 alone."""
    machine = FakeMachine(root)
    machine.v2("app.slice/app")
    machine.self_in("0::/user.slice\n", ("/", str(machine.cgroup), "v2"))
    machine.proc.process(7, 1, b"app", cgroup="0::/app.slice/app\n")
    return machine


def v1(root: Path) -> FakeMachine:
    """Version 1 alone."""
    machine = FakeMachine(root)
    machine.self_in("1:memory:/\n", *machine.v1("docker/a"))
    cgroup = "".join(f"{number}:{name}:/docker/a\n" for number, name in enumerate(V1, 2))
    machine.proc.process(7, 1, b"app", cgroup=cgroup)
    return machine


def hybrid(root: Path) -> FakeMachine:
    """Version 1's controllers, and a unified hierarchy that has none of them but pressure."""
    machine = FakeMachine(root)
    mounts = machine.v1("docker/a")
    machine.files(machine.cgroup / "unified", {"cgroup.controllers": "", "cgroup.procs": ""})
    machine.files(
        machine.cgroup / "unified/docker/a", {"cgroup.controllers": "", "cgroup.events": "", "cgroup.procs": ""}
    )
    machine.files(machine.cgroup / "unified/docker/a", PRESSURE)
    machine.self_in("1:memory:/\n0::/\n", *mounts, ("/", str(machine.cgroup / "unified"), "v2"))
    cgroup = "".join(f"{number}:{name}:/docker/a\n" for number, name in enumerate(V1, 2)) + "0::/docker/a\n"
    machine.proc.process(7, 1, b"app", cgroup=cgroup)
    return machine


def kubernetes(root: Path) -> FakeMachine:
    """A pod with a shared PID namespace: pause, the application, and a sidecar in a cgroup namespace of its own."""
    machine = FakeMachine(root)
    machine.files(machine.cgroup, V2 | {"memory.current": "1\n"})  # ours, never to be taken for the application's
    machine.self_in("0::/\n", ("/", str(machine.cgroup), "v2"))
    machine.proc.process(1, 0, b"pause", cgroup="0::/../cri-pause.scope\n")
    machine.proc.process(7, 0, b"app", cgroup="0::/../cri-app.scope\n")
    machine.proc.process(8, 7, b"worker", cgroup="0::/../cri-app.scope\n")
    machine.files(machine.proc.root / "7/root/sys/fs/cgroup", V2 | PRESSURE)
    machine.mounts("7", ("/../cri-app.scope", "/sys/fs/cgroup", "v2"))
    machine.proc.process(9, 0, b"prom-probe", cgroup="0::/\n")
    return machine


def crowd(root: Path, count: int) -> FakeMachine:
    """A tree of `count` processes, a root and its children; what is alike in all is one file with many links."""
    machine = FakeMachine(root)
    first = 100
    machine.proc.process(first, 1, b"crowd", cgroup="0::/\n", resident=3, threads=2)
    template = machine.proc.root / str(first)
    for pid in range(first + 1, first + count):
        directory = machine.proc.root / str(pid)
        directory.mkdir()
        for entry in os.scandir(template):
            if entry.name == "stat":
                (directory / "stat").write_bytes(stat_line(pid, b"crowd", first, {"resident": 3, "threads": 2}))
            elif entry.is_dir():
                (directory / entry.name).symlink_to(entry.path)
            else:
                os.link(entry.path, directory / entry.name)
    return machine
