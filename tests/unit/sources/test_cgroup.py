"""Where a process's cgroups are: on hosts, in containers, in both versions; and what their files say."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prom_probe.sources.cgroup_files import (
    parse_blkio,
    parse_flat_keyed,
    parse_io_stat,
    parse_limit,
    parse_number,
)
from prom_probe.sources.cgroup_path import CgroupLocator, locate_cgroups, locate_named_cgroup
from prom_probe.sources.cpu_list import parse_cpu_list, parse_cpus_allowed
from prom_probe.sources.errors import ParseError
from prom_probe.sources.mountinfo import parse_mountinfo
from tests.support.fake_proc import FakeProc


class Tree:
    """A cgroupfs of plain directories below `root`, and a procfs that tells of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.proc = FakeProc(root / "proc")
        device = os.stat(root).st_dev
        self._device = f"{os.major(device)}:{os.minor(device)}"

    @property
    def cgroupfs(self) -> str:
        return str(self.root / "cgroup")

    def v1(self, *paths: str) -> None:
        """Directories of version 1; the first is the hierarchy's root if it says so by a !."""
        for path in paths:
            self._make(path.rstrip("!"), "release_agent" if path.endswith("!") else "tasks")

    def v2(self, *paths: str) -> None:
        """The same of version 2."""
        for path in paths:
            self._make(path.rstrip("!"), "cgroup.controllers")
            if not path.endswith("!"):
                self._make(path, "cgroup.events")

    def _make(self, path: str, *files: str) -> None:
        directory = self.root / path
        directory.mkdir(parents=True, exist_ok=True)
        for name in ("cgroup.procs", *files):
            (directory / name).touch()

    def process(self, pid: int | str, cgroup: str, *mounts: tuple[str, str, str]) -> None:
        """A process with a cgroup file and with mounts (root, mount point, kind), the last "v2" or a controller."""
        if isinstance(pid, int):
            self.proc.process(pid)
        directory = self.proc.root / str(pid)
        directory.mkdir(exist_ok=True)
        (directory / "cgroup").write_text(cgroup)
        lines = ["21 27 0:21 / /proc rw,relatime - proc proc rw"]
        for root, point, kind in mounts:
            end = "cgroup2 cgroup2 rw,nsdelegate" if kind == "v2" else f"cgroup cgroup rw,{kind}"
            lines.append(f"30 25 {self._device} {root} {point} rw,relatime shared:4 - {end}")
        (directory / "mountinfo").write_text("\n".join(lines) + "\n")

    def locate(self, pid: int) -> dict[str, str]:
        """The directories, relative to the tree's root."""
        found = locate_cgroups(self.proc.path, pid, self.cgroupfs)
        return {controller: os.path.relpath(path, self.root) for controller, path in found.items()}


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_on_a_host_the_path_is_below_our_mount(tree: Tree) -> None:
    """Version 2."""
    tree.v2("cgroup!", "cgroup/system.slice/app.service")
    tree.process("self", "0::/user.slice\n", ("/", tree.cgroupfs, "v2"))
    tree.process(7, "0::/system.slice/app.service\n")
    assert tree.locate(7) == {"": "cgroup/system.slice/app.service"}


def test_with_version_1_each_controller_has_its_own(tree: Tree) -> None:
    """Hybrid: the unified hierarchy has no controllers, but pressure and CPU time."""
    tree.v1("cgroup/cpu,cpuacct!", "cgroup/cpu,cpuacct/app", "cgroup/memory!", "cgroup/memory/deep/app")
    tree.v2("cgroup/unified!", "cgroup/unified/app")
    mounts = [
        ("/", f"{tree.cgroupfs}/cpu,cpuacct", "cpu,cpuacct"),
        ("/", f"{tree.cgroupfs}/memory", "memory"),
        ("/", f"{tree.cgroupfs}/systemd", "xattr,name=systemd"),
        ("/", f"{tree.cgroupfs}/unified", "v2"),
    ]
    tree.process("self", "0::/\n", *mounts)
    tree.process(7, "5:name=systemd:/x\n4:memory:/deep/app\n3:freezer:/\n2:cpu,cpuacct:/app\n0::/app\n")
    assert tree.locate(7) == {
        "memory": "cgroup/memory/deep/app",
        "cpu": "cgroup/cpu,cpuacct/app",
        "cpuacct": "cgroup/cpu,cpuacct/app",
        "": "cgroup/unified/app",
    }


def test_a_hierarchys_root_is_the_whole_machine_and_no_trees(tree: Tree) -> None:
    """No directory for it; a container's root is another thing."""
    tree.v1("cgroup/cpu!", "cgroup/memory")
    tree.v2("cgroup/unified!")
    mounts = [("/", f"{tree.cgroupfs}/{name}", name.replace("unified", "v2")) for name in ("cpu", "memory", "unified")]
    tree.process("self", "0::/\n", *mounts)
    tree.process(7, "2:memory:/\n1:cpu:/\n0::/\n")
    assert tree.locate(7) == {"memory": "cgroup/memory"}


def test_in_a_pod_another_containers_cgroup_is_read_through_its_root(tree: Tree) -> None:
    """Namespaces differ: our mount shows our own cgroup, which is never taken for the other's."""
    tree.v2("cgroup", "proc/7/root/sys/fs/cgroup")
    tree.process("self", "0::/\n", ("/", tree.cgroupfs, "v2"))
    tree.process(7, "0::/../cri-b.scope\n", ("/../cri-b.scope", "/sys/fs/cgroup", "v2"))
    assert tree.locate(7) == {"": "proc/7/root/sys/fs/cgroup"}
    tree.process(8, "0::/\n")
    assert tree.locate(8) == {"": "cgroup"}


def test_a_process_below_its_containers_cgroup_is_found_there(tree: Tree) -> None:
    """An init system in the container has moved it."""
    tree.v2("cgroup", "proc/7/root/sys/fs/cgroup/inner")
    tree.process("self", "0::/\n", ("/", tree.cgroupfs, "v2"))
    tree.process(7, "0::/../b/inner\n", ("/../b", "/sys/fs/cgroup", "v2"))
    assert tree.locate(7) == {"": "proc/7/root/sys/fs/cgroup/inner"}


def test_without_cgroup_namespaces_the_roots_of_the_mounts_tell(tree: Tree) -> None:
    """Version 1 in docker: full paths, and a mount that shows the container's own cgroup alone."""
    tree.v1("cgroup/memory", "proc/7/root/sys/fs/cgroup/memory")
    tree.process("self", "4:memory:/docker/aaa\n", ("/docker/aaa", f"{tree.cgroupfs}/memory", "memory"))
    tree.process(7, "4:memory:/docker/bbb\n", ("/docker/bbb", "/sys/fs/cgroup/memory", "memory"))
    tree.process(8, "4:memory:/docker/aaa\n")
    assert tree.locate(7) == {"memory": "proc/7/root/sys/fs/cgroup/memory"}
    assert tree.locate(8) == {"memory": "cgroup/memory"}


def test_a_locator_looks_again_once_a_cgroup_or_our_mounts_have_changed(tree: Tree) -> None:
    """Until then it looks at no directory; what is below a process's root is looked at each time."""
    tree.v2("cgroup", "cgroup/a", "cgroup/b", "other/a", "proc/7/root/sys/fs/cgroup")
    mount = "/", tree.cgroupfs, "v2"
    tree.process("self", "0::/\n", mount)
    tree.process(7, "0::/a\n", ("/../c", "/sys/fs/cgroup", "v2"))
    looked: list[str] = []

    def counted(path: str) -> os.stat_result:
        looked.append(path)
        return os.stat(path)

    locator = CgroupLocator(tree.proc.path, tree.cgroupfs, counted)

    def locate(directory: str, *, looks: bool) -> None:
        looked.clear()
        assert locator.locate(7) == {"": str(tree.root / directory)}
        assert bool(looked) == looks

    locate("cgroup/a", looks=True)
    locate("cgroup/a", looks=False)
    (tree.proc.root / "7/cgroup").write_text("0::/b\n")
    locate("cgroup/b", looks=True)
    (tree.proc.root / "7/cgroup").write_text("0::/a\n")
    locate("cgroup/a", looks=False)
    tree.process("self", "0::/\n", ("/", f"{tree.root}/other", "v2"), mount)
    locate("cgroup/a", looks=True)
    (tree.proc.root / "7/cgroup").write_text("0::/../c\n")
    for _ in range(2):
        locate("proc/7/root/sys/fs/cgroup", looks=True)


@pytest.mark.parametrize("cgroup", ["0::/../other\n", "0::/elsewhere\n", "0::/..\n", "0::/../../x\n"])
def test_what_no_mount_shows_is_nowhere(tree: Tree, cgroup: str) -> None:
    """Neither ours nor a parent's is taken instead."""
    tree.v2("cgroup")
    tree.process("self", "0::/\n", ("/", tree.cgroupfs, "v2"))
    tree.process(7, cgroup, ("/../third", "/sys/fs/cgroup", "v2"))
    assert tree.locate(7) == {}


def test_another_file_system_in_its_place_is_not_read(tree: Tree) -> None:
    """A link out of the container's root, or something mounted over the cgroup."""
    tree.v2("cgroup")
    (tree.root / "proc/7/root/sys/fs").mkdir(parents=True)
    (tree.root / "proc/7/root/sys/fs/cgroup").symlink_to("/proc")
    tree.process("self", "0::/\n", ("/", tree.cgroupfs, "v2"))
    tree.process(7, "0::/../b\n", ("/../b", "/sys/fs/cgroup", "v2"))
    assert tree.locate(7) == {}


def test_a_denied_root_is_an_error_of_its_own(tree: Tree) -> None:
    """Another uid's /proc/PID/root."""
    tree.v2("cgroup")
    tree.process("self", "0::/\n", ("/", tree.cgroupfs, "v2"))
    tree.process(7, "0::/../b\n", ("/../b", "/sys/fs/cgroup", "v2"))

    def denied(path: str) -> os.stat_result:
        if "/7/root" in path:
            raise PermissionError(13, "Permission denied", path)
        return os.stat(path)

    with pytest.raises(PermissionError, match="7/root"):
        CgroupLocator(tree.proc.path, tree.cgroupfs, denied).locate(7)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/app", {"memory": "cgroup/memory/app", "": "cgroup/unified/app"}),
        ("app/", {"memory": "cgroup/memory/app", "": "cgroup/unified/app"}),
        ("{cgroupfs}/memory/app", {"memory": "cgroup/memory/app", "": "cgroup/unified/app"}),
        ("/", {}),
        ("nowhere", {}),
    ],
)
def test_a_named_cgroup_is_looked_for_in_all_hierarchies(tree: Tree, path: str, expected: dict[str, str]) -> None:
    """With or without the mount point."""
    tree.v1("cgroup/memory!", "cgroup/memory/app")
    tree.v2("cgroup/unified!", "cgroup/unified/app")
    found = locate_named_cgroup(tree.cgroupfs, path.format(cgroupfs=tree.cgroupfs))
    assert {controller: os.path.relpath(directory, tree.root) for controller, directory in found.items()} == expected


def test_mounts_of_cgroups_are_told_from_others() -> None:
    """Optional fields, escaped spaces, both versions."""
    text = (
        b"22 27 0:21 / /proc rw,relatime - proc proc rw\n"
        b"31 24 0:27 / /sys/fs/cgroup/my\\040dir rw shared:9 master:2 - cgroup2 cgroup2 rw\n"
        b"32 24 8:2 /a\\134b /c rw - cgroup cgroup rw,cpu,cpuacct\n"
    )
    assert [(m.root, m.point, m.device, m.options) for m in parse_mountinfo(text)] == [
        ("/", "/sys/fs/cgroup/my dir", os.makedev(0, 27), frozenset()),
        ("/a\\b", "/c", os.makedev(8, 2), frozenset({"rw", "cpu", "cpuacct"})),
    ]


def _flat(data: bytes) -> object:
    return parse_flat_keyed(data, "cpu.stat")


def _limit(data: bytes) -> object:
    return parse_limit(data, "memory.max")


def _number(data: bytes) -> object:
    return parse_number(data, "pids.current")


def _cpus(data: bytes) -> object:
    return parse_cpu_list(data, "cpuset.cpus.effective")


STATUS = b"Name:\tCpus_allowed_list:\nPid:\t7\nCpus_allowed:\t9\nCpus_allowed_list:\t0,3\nMems_allowed:\t1\n"
IO_STAT = b"8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n254:16 rbytes=10 wbytes=20 rios=30 wios=40\n7:0 \n"
BLKIO = b"8:0 Read 1\n8:0 Write 2\n8:16 Read 10\n8:16 Write 20\n8:16 Sync 5\nTotal 38\n"

GOOD: list[tuple[Callable[[bytes], object], bytes, object]] = [
    (_flat, b"usage_usec 12\nnr_periods 3\n", {b"usage_usec": 12, b"nr_periods": 3}),
    (_flat, b"", {}),
    (_limit, b"max\n", None),
    (_limit, b"9223372036854771712\n", None),
    (_limit, b"18446744073709551615\n", None),  # performancecopilot/pcp#85
    (_limit, b"536870912\n", 536870912),
    (_number, b"77\n", 77),
    (
        parse_io_stat,
        IO_STAT,
        {
            "8:0": {b"rbytes": 1, b"wbytes": 2, b"rios": 3, b"wios": 4, b"dbytes": 5, b"dios": 6},
            "254:16": {b"rbytes": 10, b"wbytes": 20, b"rios": 30, b"wios": 40},
        },
    ),
    (parse_io_stat, b"", {}),
    (
        parse_blkio,
        BLKIO,
        {"8:0": {b"Read": 1, b"Write": 2}, "8:16": {b"Read": 10, b"Write": 20, b"Sync": 5}},
    ),
    (_cpus, b"0-2,8\n", frozenset({0, 1, 2, 8})),
    (_cpus, b"\n", frozenset()),
    (parse_cpus_allowed, STATUS, frozenset({0, 3})),
    (parse_blkio, b"Total 0\n", {}),
    (lambda data: len(parse_mountinfo(data)), b"31 24 0:27 / /c rw - cgroup2 cgroup2 rw\n", 1),
]
BAD: list[tuple[Callable[[bytes], object], bytes]] = [
    (_flat, b"usage_usec\n"),
    (_flat, b"usage_usec x\n"),
    (_limit, b"some\n"),
    (_number, b"max\n"),
    (_cpus, b"0-\n"),
    (_cpus, b"3-1\n"),
    (_cpus, b"0-99999999999\n"),
    (parse_cpus_allowed, b"Name:\tx\n"),
    (parse_cpus_allowed, b"Name:\tx\nCpus_allowed_list:\tx\n"),
]


@pytest.mark.parametrize(("parse", "text", "expected"), GOOD)
def test_a_file_gives_its_numbers(parse: Callable[[bytes], object], text: bytes, expected: object) -> None:
    """As kernels write it."""
    assert parse(text) == expected


@pytest.mark.parametrize(("parse", "text"), BAD)
def test_other_text_is_an_error_that_names_the_file(parse: Callable[[bytes], object], text: bytes) -> None:
    """With the text."""
    with pytest.raises(ParseError) as caught:
        parse(text)
    assert caught.value.text in text


@given(st.sampled_from([good[:2] for good in GOOD]), st.data())
@settings(max_examples=100)
def test_a_damaged_file_gives_numbers_or_the_error(
    case: tuple[Callable[[bytes], object], bytes], data: st.DataObject
) -> None:
    """No cut, exchanged or strange byte leads to another exception."""
    parse, text = case
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    try:
        parse(text[:start] + data.draw(st.binary(max_size=8)) + text[end:])
    except ParseError:
        pass
