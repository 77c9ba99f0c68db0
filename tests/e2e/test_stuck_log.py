"""stderr is a pipe whose reader has stopped: nobody waits for a log line."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from prom_probe.line_writer import MAX_LINE_BYTES
from tests.support.sidecar import children, read_comm
from tests.support.waiting import DEADLINE_S, wait_for


class Stuck:
    """`prom-probe run` with a full pipe as stderr; `read_fd` is its other end."""

    def __init__(self, directory: Path, *command: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.socket = directory / "api"
        self.read_fd, write_fd = os.pipe()
        os.set_blocking(write_fd, False)
        try:
            while os.write(write_fd, b"x" * MAX_LINE_BYTES):
                pass
        except BlockingIOError:
            pass
        os.set_blocking(write_fd, True)
        listen = ["--web.listen-address=", f"--api.listen-address=unix:{self.socket}"]
        argv = [sys.executable, "-m", "prom_probe", "run", *listen, "--log.level=debug", "--interval=100ms", *command]
        self.process = subprocess.Popen(argv, stderr=write_fd, stdin=subprocess.DEVNULL, start_new_session=True)
        os.close(write_fd)

    def dropped(self) -> float:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(DEADLINE_S)
            client.connect(str(self.socket))
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = b"".join(iter(lambda: client.recv(1 << 16), b"")).decode()
        (line,) = (line for line in answer.splitlines() if line.startswith("prom_probe_log_dropped_lines_total "))
        return float(line.split()[1])

    def kill_a_worker(self) -> None:
        """The supervisor logs that."""
        pid = wait_for(
            "worker", lambda: next((p for p in children(self.process.pid) if read_comm(p) == "pp-system"), 0)
        )
        os.kill(pid, signal.SIGKILL)
        wait_for("end", lambda: read_comm(pid) != "pp-system")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.read_fd)


@pytest.fixture
def stuck(tmp_path: Path) -> Iterator[Stuck]:
    stuck = Stuck(tmp_path, "--", "sh", "-c", "trap 'exit 9' TERM; while :; do sleep 0.05; done")
    yield stuck
    stuck.close()


def test_signals_are_passed_on_and_pages_answered(stuck: Stuck) -> None:
    """The lines that cannot be written are counted, and told once they can."""
    before = wait_for("dropped lines", stuck.dropped)
    stuck.kill_a_worker()
    wait_for("one more", lambda: stuck.dropped() > before)
    os.set_blocking(stuck.read_fd, False)
    while os.read(stuck.read_fd, 1 << 20).rstrip(b"x"):
        pass
    stuck.kill_a_worker()
    told = wait_for("a line", lambda: os.read(stuck.read_fd, 1 << 20)).decode()
    assert 'component=supervisor msg="log lines dropped' in told
    stuck.process.send_signal(signal.SIGTERM)
    assert stuck.process.wait(DEADLINE_S) == 9


def test_the_end_does_not_wait_for_it(stuck: Stuck) -> None:
    """COMMAND gets SIGTERM, and its status is passed on."""
    wait_for("dropped lines", stuck.dropped)
    stuck.process.send_signal(signal.SIGTERM)
    assert stuck.process.wait(DEADLINE_S) == 9
