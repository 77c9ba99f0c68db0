"""Priorities: what is asked of the kernel, what it denies, and how it is read back."""

from __future__ import annotations

import errno
import os
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from prom_probe.sources.priority import has_priority, set_priority


def in_child(check: Callable[[], None]) -> bool:
    """Whether `check` passes in a process of its own, whose priority nobody else has."""
    pid = os.fork()
    if pid == 0:
        try:
            check()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    return os.waitpid(pid, 0)[1] == 0


def may_raise() -> bool:
    return in_child(lambda: os.setpriority(os.PRIO_PROCESS, 0, -10))


@pytest.mark.parametrize("priority", ["high", "realtime"])
def test_a_granted_priority_is_read_back(priority: str, tmp_path: Path) -> None:
    """By another process or by itself; the kernel's own file shows it."""
    if not may_raise():
        pytest.skip("may not raise priorities here")

    def check() -> None:
        assert not has_priority(os.getpid(), priority)
        set_priority(priority, str(tmp_path / "no autogroup"))
        assert has_priority(os.getpid(), priority)
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        assert int(fields[15]) == {"high": 10, "realtime": -2}[priority]  # priority, see proc_pid_stat(5)

    assert in_child(check)


@pytest.mark.parametrize("priority", ["high", "realtime"])
def test_a_denied_priority_is_an_error_and_changes_nothing(priority: str, tmp_path: Path) -> None:
    """Another uid without the capability and without the limits."""

    def check() -> None:
        import resource

        for limit in (resource.RLIMIT_NICE, resource.RLIMIT_RTPRIO):
            resource.setrlimit(limit, (0, 0))
        if os.getuid() == 0:
            os.setuid(65534)
        try:
            set_priority(priority, str(tmp_path / "no autogroup"))
        except PermissionError:
            assert not has_priority(os.getpid(), priority)
            return
        raise AssertionError("was granted")

    assert in_child(check)


def test_normal_asks_for_nothing() -> None:
    """Nor is anything better taken away."""
    set_priority("normal", "/nonexistent")
    assert has_priority(os.getpid(), "normal")


def test_the_session_gets_the_nice_value_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel shares the CPU between sessions, a nice value alone counts for nothing."""
    monkeypatch.setattr(os, "setpriority", lambda which, who, nice: None)
    autogroup = tmp_path / "autogroup"
    autogroup.write_text("")
    set_priority("high", str(autogroup))
    assert autogroup.read_text() == "-10"


@pytest.mark.parametrize("busy", [1, 4, 5])
def test_a_busy_autogroup_is_tried_again(busy: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel takes ten changes a second; after five refusals it is an error like any other."""
    answers = [errno.EAGAIN] * busy
    write = os.write

    def answer(fd: int, data: bytes) -> int:
        if answers:
            raise OSError(answers.pop(), "busy")
        return write(fd, data)

    waited: list[float] = []
    monkeypatch.setattr(os, "setpriority", lambda which, who, nice: None)
    monkeypatch.setattr(os, "write", answer)
    monkeypatch.setattr("time.sleep", waited.append)
    autogroup = tmp_path / "autogroup"
    autogroup.write_text("")
    if busy == 5:
        with pytest.raises(BlockingIOError):
            set_priority("high", str(autogroup))
    else:
        set_priority("high", str(autogroup))
        assert autogroup.read_text() == "-10"
    assert waited == [0.1] * min(busy, 4)


def test_of_a_process_that_is_gone_nothing_is_claimed() -> None:
    """It has no priority."""
    assert not has_priority(1 << 30, "high")
    assert not has_priority(1 << 30, "realtime")
