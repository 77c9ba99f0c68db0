"""Runs the real program on free loopback ports, and reads its /metrics and its query API."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.support.waiting import DEADLINE_S, wait_for

FREE = "127.0.0.1:0"

# A COMMAND in Python: 50 processes, which end when the first one does.
FIFTY = """
import os, time
end, life = os.pipe()
for _ in range(49):
    if os.fork() == 0:
        os.close(life)
        os.read(end, 1)
        os._exit(0)
time.sleep(86400)
"""


def command(*args: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """`prom-probe` with these arguments, run to its end."""
    argv = [sys.executable, "-m", "prom_probe", *args]
    return subprocess.run(argv, capture_output=True, text=True, timeout=DEADLINE_S, env={**os.environ, **environ})


class Sidecar:
    """`prom-probe run` with these further arguments, its log in `stderr`."""

    def __init__(
        self,
        *args: str,
        flags: Sequence[str] = (),
        env: dict[str, str] | None = None,
        prefix: Sequence[str] = (),
        serve: bool = False,
    ) -> None:
        """`prefix`: a program with arguments that executes the rest. `serve`: `prom-probe serve` instead."""
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        own = [f"--web.listen-address={FREE}", f"--api.listen-address={FREE}", "--run.keep=0", "--expose.self=full"]
        command = [*prefix, sys.executable, "-m", "prom_probe", "serve" if serve else "run", *own, *flags, *args]
        self.process = subprocess.Popen(
            command,
            stderr=self._log,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )

    def __enter__(self) -> Sidecar:
        self.web, self.api = wait_for("listening", self._urls)
        return self

    def _urls(self) -> tuple[str, str] | None:
        urls = re.findall(r"serves=(?:metrics|api) url=(\S+)", self.stderr)
        if self.process.poll() is not None:
            raise AssertionError(f"ended with {self.process.returncode}: {self.stderr}")
        return (urls[0], urls[1]) if len(urls) >= 2 else None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(DEADLINE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        with contextlib.suppress(ProcessLookupError):  # what COMMAND leaves behind in its group, which is ours
            os.killpg(self.process.pid, signal.SIGKILL)
        if kind is not None:
            print(self.stderr)
        self._log.close()

    @property
    def stderr(self) -> str:
        return os.pread(self._log.fileno(), 1 << 20, 0).decode()

    def wait(self, deadline_s: float = DEADLINE_S) -> int:
        """The exit status."""
        return self.process.wait(deadline_s)

    def get(self, path: str, base: str | None = None, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
        """(status, body), whatever the status."""
        request = urllib.request.Request((base or self.api) + path, headers=headers or {})
        try:
            with urllib.request.urlopen(request, timeout=DEADLINE_S) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def metrics(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """/metrics, parsed: (name, labels) -> value."""
        status, body = self.get("/metrics", self.web)
        assert status == 200
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(body.decode())
            for sample in family.samples
        }

    def metric(self, name: str, **labels: str) -> float | None:
        """One value of /metrics."""
        return self.metrics().get((name, frozenset(labels.items())))

    def query(self, expr: str, **parameters: Any) -> list[Any]:
        """The result of an instant query, or, with start, of a range query."""
        kind = "query_range" if "start" in parameters else "query"
        form = urllib.parse.urlencode({"query": expr, **parameters})
        status, body = self.get(f"/api/v1/{kind}?{form}")
        answer = json.loads(body)
        assert status == 200, answer
        result: list[Any] = answer["data"]["result"]
        return result

    def value(self, expr: str, **parameters: Any) -> float | None:
        """The value of an instant query with one series; None for any other number of them."""
        result = self.query(expr, **parameters)
        return float(result[0]["value"][1]) if len(result) == 1 else None

    def worker(self, name: str) -> int:
        """The PID of a worker, found by its process name; 0 if it does not run."""
        for pid in children(self.process.pid):
            if read_comm(pid) == f"pp-{name}"[:15]:
                return pid
        return 0


def read_comm(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
    except OSError:
        return ""


def children(pid: int) -> Iterator[int]:
    """The live children of a process."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path(f"/proc/{entry}/stat").read_text(errors="replace")
            except OSError:
                continue
            if int(stat.rpartition(")")[2].split()[1]) == pid:
                yield int(entry)


def alive(pid: int) -> bool:
    """Whether the process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
