"""Kept descriptors: what they cost, what they tell of a process's end, and what happens when there are none left."""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from prom_probe.sources.cgroup_limits import read_effective_quota
from prom_probe.sources.cgroup_procs import CgroupProcs, find_cgroup
from prom_probe.sources.container import in_container, in_shared_pid_namespace
from prom_probe.sources.cpu_limit import read_cpu_limit
from prom_probe.sources.descriptors import (
    Descriptors,
    KeptFile,
    Pread,
    default_limit,
    read_all,
    read_first,
    read_records,
)
from prom_probe.sources.proc_pid_cgroup import parse_proc_pid_cgroup
from prom_probe.sources.process_files import ProcessFiles, fd_size_counts
from tests.support.fake_proc import FakeProc
from tests.support.waiting import DEADLINE_S


def test_descriptors_are_kept_within_the_budget(tmp_path: Path) -> None:
    """Beyond it -1 is given, and closing makes room again."""
    (tmp_path / "f").write_text("x")
    descriptors = Descriptors(2)
    first, second = (descriptors.open(str(tmp_path / "f")) for _ in range(2))
    assert descriptors.open(str(tmp_path / "f")) == -1
    descriptors.close(first)
    descriptors.close(-1)
    third = descriptors.open(str(tmp_path / "f"))
    assert third >= 0
    for fd in (second, third):
        descriptors.close(fd)
    assert descriptors.used == 0


@pytest.mark.parametrize(("soft", "limit"), [(1024, 960), (64, 0), (10, 0), (5000, 4096), (-1, 4096)])
def test_the_budget_leaves_room_for_the_rest_of_the_process(soft: int, limit: int) -> None:
    """RLIMIT_NOFILE less 64; -1 is no limit."""
    assert default_limit(soft) == limit


def test_the_budget_shrinks_when_the_system_has_no_more() -> None:
    """EMFILE is no error of the file's; others are raised."""

    def full(path: str, flags: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    for used, limit in ((50, 34), (10, 0)):
        descriptors = Descriptors(100, full)
        descriptors.used = used
        assert descriptors.open("f") == -1
        assert descriptors.limit == limit
    with pytest.raises(FileNotFoundError):
        Descriptors(1).open("/nowhere/at/all")


@pytest.mark.parametrize("limit", [0, 1])
def test_a_kept_file_reads_what_is_there_now(tmp_path: Path, limit: int) -> None:
    """With a descriptor to keep and without; a file that comes later is found."""
    path = tmp_path / "f"
    descriptors = Descriptors(limit)
    kept = KeptFile(str(path), descriptors)
    with pytest.raises(FileNotFoundError):
        kept.read()
    path.write_text("one")
    assert kept.read() == b"one"
    path.write_text("three" * 100_000)
    assert kept.read() == b"three" * 100_000
    kept.close()
    assert descriptors.used == 0


def test_a_file_of_many_records_is_read_to_its_end() -> None:
    """A seq_file gives a few records a read."""
    text = b"0123456789" * 5
    assert read_all(3, lambda fd, count, offset: text[offset : offset + 7]) == text


@pytest.mark.parametrize("size", [0, 100, 2048, 2049, 4000, 9000])
def test_a_file_of_small_records_is_read_once_where_that_is_all(size: int) -> None:
    """As a seq_file of 100-byte records on pages of 4 KiB gives it."""
    text = b"0123456789" * (size // 10)
    reads = []

    def pread(fd: int, count: int, offset: int) -> bytes:
        reads.append(offset)
        return text[offset : offset + 4000]

    assert read_records(3, pread) == text
    assert len(reads) == 1 or size > 2048


def test_the_size_of_a_plain_directory_is_no_count(tmp_path: Path) -> None:
    """Descriptors are listed there."""
    proc = FakeProc(tmp_path / "proc")
    proc.process(7, fds=5)
    assert not fd_size_counts(proc.path)
    assert ProcessFiles(proc.path, 7, Descriptors(0), fd_size=False).open_fds() == 5


def test_a_thread_that_waits_for_a_connection_does_not_hide_the_count() -> None:
    """The kernel has given it a descriptor, which no listing shows yet."""
    if not fd_size_counts("/proc"):
        pytest.skip("needs Linux 6.2")
    deadline = time.monotonic() + DEADLINE_S
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=lambda: server.accept()[0].close())
        thread.start()
        try:
            while os.stat("/proc/self/fd").st_size < len(os.listdir("/proc/self/fd")):
                assert time.monotonic() < deadline
            assert fd_size_counts("/proc")
        finally:
            socket.create_connection(server.getsockname()).close()
            thread.join()


def test_a_removed_cgroup_is_forgotten(tmp_path: Path) -> None:
    """With its descriptor; version 2's are kept."""
    for name, pids in (("a", "1\n2\n"), ("a/b", "3\n"), ("a/b/c", "4\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cgroup.procs").write_text(pids)
    (tmp_path / "a/cgroup.controllers").touch()
    descriptors = Descriptors(2)
    procs = CgroupProcs(str(tmp_path / "a"), descriptors)
    procs.walk()
    assert sorted(procs.read()) == [1, 2, 3, 4]
    assert descriptors.used == 2
    (tmp_path / "a/b/c/cgroup.procs").unlink()
    (tmp_path / "a/b/cgroup.procs").unlink()
    (tmp_path / "a/b/cgroup.procs").mkdir()  # a reading fails, as of a removed one that is still open
    procs.close()
    procs.walk()
    assert procs.read() == [1, 2]
    assert descriptors.used == 1
    procs.close()
    assert procs.read() == []
    assert descriptors.used == 0


def test_a_threaded_cgroup_is_not_taken_for_a_removed_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its processes are in its parent's list; if it counted as lost, the next collection would walk all of them."""
    for name, pids in (("a", "1\n"), ("a/threads", "")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cgroup.procs").write_text(pids)
    (tmp_path / "a/cgroup.controllers").touch()
    read = KeptFile.read

    def fail(file: KeptFile) -> bytes:
        if "threads" in file.path:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP), file.path)
        return read(file)

    monkeypatch.setattr(KeptFile, "read", fail)
    procs = CgroupProcs(str(tmp_path / "a"), Descriptors(0))
    procs.walk()
    assert procs.read() == [1]
    assert procs.is_complete()


@pytest.mark.parametrize(
    ("path", "found"),
    [("/app", "app"), ("app/", "app"), ("{root}/app", "app"), ("{root}/none", None), ("/other", "memory/other")],
)
def test_a_cgroup_is_found_by_its_path(tmp_path: Path, path: str, found: str | None) -> None:
    """With or without the mount point, in the first hierarchy that has it."""
    for name in ("app", "memory/app", "memory/other"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "cgroup.procs").touch()
    directory = find_cgroup(str(tmp_path), path.format(root=tmp_path))
    assert directory == (None if found is None else str(tmp_path / found))


def test_half_a_quota_is_no_limit(tmp_path: Path) -> None:
    """Version 1's quota and period are in two files, of which one may be hidden."""
    for name in ("cgroup.procs", "cpu.cfs_quota_us"):
        (tmp_path / name).write_text("50000\n")
    assert read_effective_quota({"cpu": str(tmp_path)}) is None
    (tmp_path / "cpu.cfs_period_us").write_text("100000\n")
    assert read_effective_quota({"cpu": str(tmp_path)}) == 0.5


@pytest.mark.parametrize(
    ("files", "cgroup", "cpus"),
    [
        ({}, "0::/\n", None),
        ({"cpu.max": "max 100000"}, "0::/\n", None),
        ({"cpu.max": "50000 100000"}, "0::/\n", 0.5),
        ({"a/cpu.max": "300000 100000", "a/b/cpu.max": "max 100000"}, "0::/a/b\n", 3.0),
        ({"a/cpu.max": "200000 100000", "a/b/cpu.max": "300000 100000"}, "0::/a/b\n", 2.0),
        ({"unified/a/cpu.max": "200000 100000"}, "4:memory:/\n0::/a\n", 2.0),
        ({"cpu/a/cpu.cfs_quota_us": "-1", "cpu/a/cpu.cfs_period_us": "100000"}, "3:cpu,cpuacct:/a\n", None),
        ({"cpu/a/cpu.cfs_quota_us": "150000", "cpu/a/cpu.cfs_period_us": "100000"}, "3:cpu,cpuacct:/a\n", 1.5),
        ({"cpu,cpuacct/cpu.cfs_quota_us": "25000", "cpu,cpuacct/cpu.cfs_period_us": "50000"}, "3:cpu:/docker/x\n", 0.5),
    ],
)
def test_the_smallest_quota_on_the_way_up_counts(
    tmp_path: Path, files: dict[str, str], cgroup: str, cpus: float | None
) -> None:
    """Version 2, version 1, both; a path that the mount does not show falls back to the mount's root."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    assert read_cpu_limit(str(tmp_path), parse_proc_pid_cgroup(cgroup.encode())) == cpus


@pytest.mark.parametrize(
    ("links", "mark", "expected"),
    [
        ({"pid": "pid:[4026531836]", "cgroup": "cgroup:[4026531835]"}, "", False),
        ({"pid": "pid:[4026532000]", "cgroup": "cgroup:[4026531835]"}, "", True),
        ({"pid": "pid:[4026531836]", "cgroup": "cgroup:[4026532001]"}, "", True),
        ({"pid": "pid:[4026531836]"}, ".dockerenv", True),
        ({}, "", False),
    ],
)
def test_a_container_is_told_by_its_namespaces_or_marks(
    tmp_path: Path, links: dict[str, str], mark: str, expected: bool
) -> None:
    """The machine's own namespaces have fixed numbers."""
    (tmp_path / "proc/self/ns").mkdir(parents=True)
    for name, target in links.items():
        (tmp_path / "proc/self/ns" / name).symlink_to(target)
    if mark:
        (tmp_path / mark).touch()
    assert in_container(str(tmp_path / "proc"), str(tmp_path)) is expected


@pytest.mark.parametrize(
    ("processes", "shared"),
    [
        ([(1, 0, b"systemd"), (2, 0, b"kthreadd"), (3, 2, b"kworker")], False),
        ([(1, 0, b"pause"), (7, 0, b"app")], True),
        ([(1, 0, b"app"), (7, 1, b"child")], False),
        ([(1, 0, b"app"), (7, 0, b"prom-probe")], True),
    ],
)
def test_a_shared_pid_namespace_is_told_by_processes_without_a_parent(
    tmp_path: Path, processes: list[tuple[int, int, bytes]], shared: bool
) -> None:
    """Kernel threads have none either."""
    proc = FakeProc(tmp_path / "proc")
    for pid, ppid, comm in processes:
        proc.process(pid, ppid, comm)
    assert in_shared_pid_namespace(proc.path) is shared


@pytest.mark.parametrize("size", [0, 1, 1 << 17, (1 << 17) + 1, 155_000 * 8, (16 << 20) - 5])
def test_a_long_file_of_one_record_is_read_at_once(size: int) -> None:
    """The kernel makes it anew for each read: parts of two readings would not fit together."""
    made: list[bytes] = []

    def pread(fd: int, count: int, offset: int) -> bytes:
        made.append(b"%d" % (len(made) % 10) * (size + len(made)))  # it is longer each time
        return made[-1][offset : offset + count]

    data = read_first(3, pread)
    assert data == made[-1]
    assert len(data) >= size


@pytest.mark.parametrize("read", [read_first, read_all])
def test_a_file_without_an_end_is_an_error(read: Callable[[int, Pread], bytes]) -> None:
    """It does not fill our memory."""
    with pytest.raises(OSError, match="more than 16777216 bytes"):
        read(3, lambda fd, count, offset: b"x" * count)
