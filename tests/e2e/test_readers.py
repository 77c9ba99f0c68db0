"""One writer and many readers of the real program: every answer is right, whatever is sealed, merged and dropped."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from prom_probe.cli.client import UnixConnection
from tests.support.reader import (
    ACKNOWLEDGED,
    BATCH,
    BOARD_BYTES,
    COUNTS,
    LIFE,
    SENT,
    SERIES,
    START_MS,
    STEP_MS,
    STOP,
    THREADS,
    brief,
    open_board,
    stress,
    value,
)
from tests.support.sidecar import Sidecar
from tests.support.waiting import DEADLINE_S, wait_for
from tests.support.write_tools import message, pack

_READERS = 4
_ANSWERS = 8  # that each reading thread must compare, twice
_BEFORE = 9000  # beats that are written before the readers begin; about 9500 fill the store
_KILLED = 6  # more than there are places for queries
_SLOW = COUNTS + _READERS * THREADS
_FIRST_KILLED = _SLOW + 1

_DEADLINE_S = 4 * DEADLINE_S  # it is much that must be done

_HEADERS = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}


class Writer:
    """Sends beats over the Unix socket and tells the board how far it is."""

    def __init__(self, path: str, board: memoryview) -> None:
        self._connection = UnixConnection(path)
        self._board = board
        self.beats = 0
        self.samples = 0

    def send(self) -> None:
        """The next BATCH beats of all series, in one request; each must be stored."""
        beats = range(self.beats, self.beats + BATCH)
        start_ms = self._board[START_MS]
        lives: dict[int, list[tuple[int, float]]] = {}
        for beat in beats:
            lives.setdefault(beat // LIFE, []).append((start_ms + beat * STEP_MS, float(beat)))
        body = message(
            *((stress(i), [(start_ms + beat * STEP_MS, value(i, beat)) for beat in beats]) for i in range(SERIES)),
            *((brief(number), samples) for number, samples in lives.items()),
        )
        self._board[SENT] = beats[-1]
        self._connection.request("POST", "/api/v1/write", pack(body), _HEADERS)
        response = self._connection.getresponse()
        answer = response.read()
        assert response.status == 204, answer
        self._board[ACKNOWLEDGED] = beats[-1]
        self.beats += BATCH
        self.samples += BATCH * (SERIES + 1)


class Readers:
    """The reading processes, their outputs in files."""

    def __init__(self, folder: Path, socket: str, board: Path) -> None:
        self._folder = folder
        self._args = [socket, str(board)]
        self._processes: list[tuple[subprocess.Popen[bytes], Path]] = []

    def start(self, role: str, *cells: int) -> subprocess.Popen[bytes]:
        """One that plays `role`, with a thread for each of these cells of the board."""
        path = self._folder / f"{role}-{cells[0]}.log"
        command = [sys.executable, "-m", "tests.support.reader", role, *self._args, *(str(c - COUNTS) for c in cells)]
        with path.open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        self._processes.append((process, path))
        return process

    def check(self) -> None:
        """None has ended with a complaint; those that were killed have none."""
        for process, path in self._processes:
            assert process.poll() in (None, 0, -9), path.read_text()

    def wait(self) -> None:
        """For the end of all that do not wait to be killed, then look at how they ended."""
        for process, path in self._processes:
            if path.name.startswith("killed"):
                process.kill()
            process.wait(DEADLINE_S)
        self.check()

    def kill(self) -> None:
        for process, _ in self._processes:
            process.kill()
            process.wait()


@pytest.fixture
def board(tmp_path: Path) -> Iterator[memoryview]:
    """A board with the time at which the first beat is: five hours ago."""
    (tmp_path / "board").write_bytes(bytes(BOARD_BYTES))
    board = open_board(tmp_path / "board")
    board[START_MS] = (int(time.time()) - 5 * 3600) * 1000
    yield board
    board.release()


def total(sidecar: Sidecar, name: str) -> float:
    """The sum of a metric over its labels."""
    return sum(number for (found, _), number in sidecar.metrics().items() if found == name)


def tsdb(sidecar: Sidecar, name: str) -> float:
    return sidecar.metric(f"prom_probe_tsdb_{name}") or 0


@pytest.mark.parametrize("kept", ["memory", "disk"])
def test_many_processes_read_while_one_writes(tmp_path: Path, board: memoryview, kept: str) -> None:
    """Eight threads in four processes compare all they are told; one reads slowly, six are killed in mid-answer."""
    socket = f"{tmp_path}/api.sock"
    flags = [f"--api.listen-address=unix:{socket}", "--web.enable-remote-write-receiver"]
    flags += ["--interval=1m"]  # its own samples would take more of the store the longer the test takes
    flags += ["--storage.tsdb.retention.size=1MB"]
    flags += [f"--storage.tsdb.path={tmp_path}/store"] if kept == "disk" else []
    with Sidecar("--", "sleep", "1000", flags=flags) as sidecar:
        wait_for("first samples", lambda: sidecar.value("proctree_processes"))
        workers = {name: sidecar.worker(name) for name in ("aggregator", "process", "system")}
        writer = Writer(socket, board)
        readers = Readers(tmp_path, socket, tmp_path / "board")
        try:
            end = time.monotonic() + _DEADLINE_S
            while writer.beats < _BEFORE:
                writer.send()
            for number in range(_READERS):
                readers.start("read", *(COUNTS + number * THREADS + i for i in range(THREADS)))
            readers.start("slow", _SLOW)
            _write_until_all_is_done(sidecar, writer, board, readers, end)
            board[STOP] = 1
            readers.wait()
        finally:
            readers.kill()
        assert board[_SLOW] == 2, "the slow reader has its whole answer"
        _check_that_nothing_was_harmed(sidecar, writer, board)
        assert workers == {name: sidecar.worker(name) for name in workers}


def _write_until_all_is_done(sidecar: Sidecar, writer: Writer, board: memoryview, readers: Readers, end: float) -> None:
    """Write on until enough was compared, killed, sealed, merged and dropped."""
    sealed, merged = tsdb(sidecar, "sealed_blocks_total"), tsdb(sidecar, "merged_blocks_total")
    drops: set[float] = set()
    victims = [readers.start("killed", cell) for cell in range(_FIRST_KILLED, _FIRST_KILLED + _KILLED)]
    needed = _ANSWERS  # of each thread; first while the victims keep their answers waiting, then as many again
    looked = 0.0
    while True:
        assert time.monotonic() < end, (list(board[: _FIRST_KILLED + _KILLED]), drops)
        writer.send()
        readers.check()
        if board[STOP]:
            readers.wait()  # fails with the complaint
        answers = min(board[COUNTS:_SLOW])
        if victims and not all(board[_FIRST_KILLED : _FIRST_KILLED + _KILLED]):
            needed = answers + _ANSWERS
        elif victims and answers >= needed:
            while victims:
                victims.pop().kill()
            needed = answers + _ANSWERS
        if time.monotonic() < looked + 0.5:
            continue
        looked = time.monotonic()
        drops.add(tsdb(sidecar, "dropped_samples_total"))
        if (
            not victims
            and answers >= needed
            and board[_SLOW] == 2
            and tsdb(sidecar, "sealed_blocks_total") >= sealed + 6
            and tsdb(sidecar, "merged_blocks_total") >= merged + 2
            and len(drops) > 2
        ):
            return


def _check_that_nothing_was_harmed(sidecar: Sidecar, writer: Writer, board: memoryview) -> None:
    """Every query was answered, no sample refused, no frame lost, no process started anew, nothing complained of."""
    write = {"handler": "/api/v1/write", "code": "204"}
    requests = writer.beats / BATCH
    wait_for("all requests counted", lambda: sidecar.metric("prom_probe_http_requests_total", **write) == requests)
    assert tsdb(sidecar, "appended_samples_total") >= writer.samples
    answers = {
        (dict(labels)["handler"], dict(labels)["code"]): count
        for (name, labels), count in sidecar.metrics().items()
        if name == "prom_probe_http_requests_total" and count
    }
    assert {code for _, code in answers} <= {"200", "204"}, answers
    assert sum(count for (handler, _), count in answers.items() if handler.startswith("/api/v1/")) >= sum(
        board[COUNTS:_SLOW]
    )
    for name in (
        "tsdb_rejected_samples_total",
        "ring_dropped_frames_total",
        "ring_corrupt_frames_total",
        "worker_restarts_total",
        "tsdb_disk_errors_total",
    ):
        assert total(sidecar, f"prom_probe_{name}") == 0, name
    assert tsdb(sidecar, "storage_bytes") < 1.2 * (1 << 20)
    for level in ("warn", "error"):
        assert f"level={level}" not in sidecar.stderr
