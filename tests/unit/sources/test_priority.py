"""Priorities: what is asked of the kernel, what it denies, and how it is read back."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from prom_probe.sources.priority import has_priority, set_priority, what_it_needs


def test_normal_asks_for_nothing() -> None:
    """Nor is anything better taken away."""
    set_priority("normal", "/nonexistent")
    assert has_priority(os.getpid(), "normal")


def test_the_session_gets_the_nice_value_too(tmp_path: Path) -> None:
    """Where the kernel shares the CPU between sessions, a nice value alone counts for nothing."""
    autogroup, asked = tmp_path / "autogroup", list[int]()
    autogroup.write_text("")
    set_priority("high", str(autogroup), set_nice=asked.append)
    assert asked == [-10]
    assert autogroup.read_text() == "-10"


@pytest.mark.parametrize("busy", [1, 4, 5])
def test_a_busy_autogroup_is_tried_again(busy: int) -> None:
    """The kernel takes ten changes a second; after five refusals it is an error like any other."""
    refused: list[bytes] = []
    written: list[bytes] = []
    waited: list[float] = []

    def write(path: str, data: bytes) -> None:
        if len(refused) < busy:
            refused.append(data)
            raise BlockingIOError(errno.EAGAIN, "busy")
        written.append(data)

    def ask() -> None:
        set_priority("high", set_nice=lambda nice: None, write=write, sleep=waited.append)

    if busy == 5:
        with pytest.raises(BlockingIOError):
            ask()
    else:
        ask()
        assert written == [b"-10"]
    assert waited == [0.1] * min(busy, 4)


def test_of_a_process_that_is_gone_nothing_is_claimed() -> None:
    """It has no priority."""
    assert not has_priority(1 << 30, "high")
    assert not has_priority(1 << 30, "realtime")


@pytest.mark.parametrize(
    ("priority", "code", "needed"),
    [
        ("high", errno.EACCES, "CAP_SYS_NICE or RLIMIT_NICE"),
        ("realtime", errno.EPERM, "CAP_SYS_NICE or RLIMIT_RTPRIO"),
        ("realtime", errno.ENOSYS, "Linux with glibc"),
    ],
)
def test_what_is_missing_is_told(priority: str, code: int, needed: str) -> None:
    """A right, a limit, or a C library that can ask."""
    assert what_it_needs(priority, OSError(code, "")) == needed
