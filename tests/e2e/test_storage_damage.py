"""A directory that is moved, taken or damaged under its run: what that serves goes on; no other files change."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.support.sidecar import Sidecar, command
from tests.support.waiting import wait_for

TREE = 'proctree_processes{tree="sleep"}'


def _sidecar(path: Path) -> Sidecar:
    flags = ["--interval=100ms", f"--storage.tsdb.path={path}", "--storage.tsdb.wal-flush-interval=100ms"]
    return Sidecar("--", "sleep", "1000", flags=flags)


def _stored(sidecar: Sidecar) -> int:
    return len([t for series in sidecar.query(f"{TREE}[1h]") for t, _ in series["values"]])


def _kill_aggregator(sidecar: Sidecar) -> None:
    first = sidecar.worker("aggregator")
    os.kill(first, signal.SIGKILL)
    wait_for("a new aggregator", lambda: sidecar.worker("aggregator") not in (0, first))
    wait_for("its samples", lambda: sidecar.metric("prom_probe_uptime_seconds"))


def _content(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.iterdir()}


def test_a_second_run_on_the_path_of_a_moved_directory(tmp_path: Path) -> None:
    """The first writes on in its own directory; back from a crash it finds the second's, and serves from memory."""
    path, moved = tmp_path / "run-1", tmp_path / "run-1.old"
    with _sidecar(path) as first:
        wait_for("samples", lambda: _stored(first) > 5)
        path.rename(moved)
        with _sidecar(path) as second:
            wait_for("the second's samples", lambda: _stored(second) > 5)
            wait_for("the first's notice", lambda: first.metric("prom_probe_tsdb_persistent") == 0)
            wait_for("the second's metrics", lambda: second.metric("prom_probe_tsdb_persistent") == 1)
            assert first.stderr.count(f"going on in {moved}") == 1
            _kill_aggregator(first)
            wait_for("new samples", lambda: _stored(first) > 3)
            wait_for("its metrics", lambda: first.metric("prom_probe_tsdb_persistent") == 0)
            assert "going on in memory alone" in first.stderr and first.stderr.count("worker ended") == 1
            wait_for("the second's samples", lambda: _stored(second) > 20)
            assert second.metric("prom_probe_tsdb_disk_errors_total") == 0
        before = _content(path)
        wait_for("the first goes on", lambda: _stored(first) > 10)
        assert _content(path) == before
    for directory in (path, moved):
        assert command("storage", "verify", str(directory)).returncode == 0


def test_a_damaged_directory_costs_history_at_a_restart(tmp_path: Path) -> None:
    """A block file that is junk and a flipped bit early in the log: said once, counted, and /metrics is there."""
    path = tmp_path / "run-1"
    with _sidecar(path) as sidecar:
        wait_for("samples", lambda: _stored(sidecar) > 20)
        (path / "0000000000000001-0000000000000002.block").write_bytes(b"junk")
        (segment,) = path.glob("*.log")
        with segment.open("r+b") as stream:
            stream.seek(1000)
            byte = stream.read(1)
            stream.seek(1000)
            stream.write(bytes([byte[0] ^ 1]))
        before = _stored(sidecar)
        _kill_aggregator(sidecar)
        wait_for("the damage, counted", lambda: sidecar.metric("prom_probe_tsdb_damaged_total") == 2)
        assert sidecar.metric("prom_probe_tsdb_persistent") == 1
        assert _stored(sidecar) >= before - 2
        assert sidecar.stderr.count("storage: ") == 2 and "bytes damaged" in sidecar.stderr
        assert sidecar.stderr.count("worker ended") == 1
    assert len(list(path.glob("*.damaged"))) == 2
    assert command("storage", "verify", str(path)).returncode == 0
