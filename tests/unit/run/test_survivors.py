"""Which processes of a tree live on, over a made-up procfs."""

from __future__ import annotations

from pathlib import Path

from prom_probe.run.survivors import Survivor, find_survivors


def _process(procfs: Path, pid: int, ppid: int, comm: bytes = b"x", state: bytes = b"S") -> None:
    (procfs / str(pid)).mkdir()
    (procfs / str(pid) / "stat").write_bytes(b"%d (%s) %s %d 0 0" % (pid, comm, state, ppid))


def test_descendants_live_on_and_others_do_not_count(tmp_path: Path) -> None:
    """Children's children too; neither zombies nor the children of another process."""
    _process(tmp_path, 10, 1)
    _process(tmp_path, 11, 10, b"a) b (c")
    _process(tmp_path, 12, 11, b"caf\xe9")
    _process(tmp_path, 13, 10, state=b"Z")
    _process(tmp_path, 14, 1)
    (tmp_path / "15").mkdir()  # it ended while it was read
    (tmp_path / "self").mkdir()
    assert find_survivors(10, str(tmp_path)) == [Survivor(11, "a) b (c"), Survivor(12, "caf\\xe9")]


def test_without_procfs_there_are_none(tmp_path: Path) -> None:
    """As on macOS."""
    assert find_survivors(10, str(tmp_path / "none")) == []
