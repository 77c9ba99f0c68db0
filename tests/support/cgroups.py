"""Real cgroups that tests make and remove."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.waiting import wait_for

_CGROUPFS = Path("/sys/fs/cgroup")


@contextmanager
def new_cgroup(hierarchies: Sequence[str], *files: str) -> Iterator[Path]:
    """A cgroup in the first of these hierarchies of version 1, or in version 2, that has one of these files.

    The test is skipped where none can be made.
    """
    for parent in (*(_CGROUPFS / name for name in hierarchies), _CGROUPFS):
        path = parent / f"prom_probe_test_{os.getpid()}"
        if not (parent / "cgroup.procs").exists():
            continue
        try:
            path.mkdir()
        except OSError:
            continue
        if any((path / file).exists() for file in files):
            break
        path.rmdir()
    else:
        pytest.skip("no cgroup can be made: needs root, and the controller in a hierarchy that is not read-only")
    try:
        yield path
    finally:
        wait_for(f"{path} can be removed", lambda: _removed(path))  # its last process is still on its way out


@contextmanager
def memory_cgroup(limit: int) -> Iterator[Path]:
    """A cgroup whose memory has a limit, in bytes."""
    with new_cgroup(["memory"], "memory.limit_in_bytes", "memory.max") as path:
        file = next(path / name for name in ("memory.limit_in_bytes", "memory.max") if (path / name).exists())
        file.write_text(str(limit))
        yield path


def name_in_hierarchy(path: Path) -> str:
    """The path that `--watch=NAME=cgroup:` takes."""
    return f"/{path.relative_to(_CGROUPFS)}"


def enter(path: Path) -> None:
    """Move this process into a cgroup."""
    (path / "cgroup.procs").write_text(str(os.getpid()))


def _removed(path: Path) -> bool:
    path.rmdir()
    return True
