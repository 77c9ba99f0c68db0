"""Runs `prom-probe run -- COMMAND` while one system call of the supervisor fails.

`python -m tests.support.faults` has every call of each kind fail, with every error that it can have.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.support.paths import ROOT
from tests.support.sidecar import children, read_comm
from tests.support.waiting import DEADLINE_S, wait_for

# By kind of call: the errors that the kernel can give for it, and when (man-pages, section 2).
FAULTS = {
    "fork": {
        errno.EAGAIN: "RLIMIT_NPROC, pid_max or the cgroup's pids.max is reached",
        errno.ENOMEM: "no memory for the kernel's structures",
    },
    "pipe": {
        errno.EMFILE: "RLIMIT_NOFILE is reached",
        errno.ENFILE: "the system's limit on open files, or the user's on memory of pipes",
    },
    "open": {
        errno.EMFILE: "RLIMIT_NOFILE is reached",
        errno.ENFILE: "the system's limit on open files",
        errno.ENOMEM: "no memory for the kernel's structures",
        errno.EPERM: "a seal, or a security module's answer",
        errno.EIO: "the disk beneath; /proc of a process that ends",
        errno.EINTR: "a signal while a slow device or a network file system is opened",
        errno.ENOSPC: "a file to be made, and no room on the disk",
        errno.EAGAIN: "a lease on the file",
    },
    "write": {
        errno.ENOSPC: "no room on the disk",
        errno.EIO: "the disk beneath; a terminal that hung up",
        errno.EAGAIN: "a descriptor that does not block, and a reader that is behind",
        errno.EPERM: "a seal",
        errno.EINTR: "a signal before anything was written",
    },
    "mmap": {
        errno.ENOMEM: "no memory, RLIMIT_AS or max_map_count",
        errno.EAGAIN: "too much memory is locked",
        errno.ENFILE: "the system's limit on open files",
        errno.EPERM: "a seal",
    },
    "eventfd": {
        errno.EMFILE: "RLIMIT_NOFILE is reached",
        errno.ENFILE: "the system's limit on open files",
        errno.ENOMEM: "no memory for the kernel's structures",
    },
    "waitpid": {
        errno.EINTR: "a signal",
        errno.ENOMEM: "not documented: a seccomp filter's answer",
    },
    "kill": {
        errno.EPERM: "COMMAND has become another user",
        errno.EAGAIN: "RLIMIT_SIGPENDING is reached by real-time signals",
    },
    "poll": {
        errno.EINTR: "a signal",
        errno.ENOMEM: "no memory for the kernel's tables",
    },
}

STATUS = 7


class Outcome(NamedTuple):
    """`failed`: whether the run made so many calls; `left`: the processes that live on."""

    fault: str
    failed: bool
    status: int
    stderr: str
    left: list[int]

    @property
    def survived(self) -> bool:
        return self.status == STATUS and "Traceback" not in self.stderr and not self.left


def build_shim(directory: Path) -> Path:
    """The library that makes calls fail."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler, "a C compiler is needed"
    library = directory / "faults.so"
    source = Path(__file__).with_name("shim.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"], check=True)
    return library


def run_with_fault(shim: Path, call: str, nth: int, number: int) -> Outcome:
    """A run in which a worker is killed, the settings are reloaded and COMMAND ends, with the nth such call failing."""
    with tempfile.TemporaryDirectory() as name:
        report, api, log = (Path(name, each) for each in ("report", "api", "stderr"))
        shimmed = {"FAIL_CALL": call, "FAIL_NTH": str(nth), "FAIL_ERRNO": str(number), "FAIL_REPORT": str(report)}
        listen = ["--web.listen-address=", f"--api.listen-address=unix:{api}"]
        flags = ["--run.keep=0", *listen, "--web.enable-lifecycle"]
        command = ["sh", "-c", f"read line; exit {STATUS}"]
        with log.open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "prom_probe", "run", *flags, "--", *command],
                env={**os.environ, **shimmed, "LD_PRELOAD": str(shim)},
                stdin=subprocess.PIPE,
                stderr=stderr,
                cwd=ROOT,
                start_new_session=True,
            )
        try:
            wait_for("workers", lambda: not _is_supervisor(process) or _worker(process.pid, "pp-system"))
            if _is_supervisor(process):
                os.kill(_worker(process.pid, "pp-system"), signal.SIGKILL)
                wait_for("an answer", lambda: not _is_supervisor(process) or _reload(api))
            process.communicate(b"\n", DEADLINE_S)
            left = _wait_for_none(report)
        finally:
            process.kill()
            process.wait()
        fault = f"{call} {nth} {errno.errorcode[number]}"
        return Outcome(fault, report.exists(), process.returncode, log.read_text(), left)


def _is_supervisor(process: subprocess.Popen[bytes]) -> bool:
    """Not where COMMAND runs in its place, and not after its end."""
    return process.poll() is None and read_comm(process.pid) != "sh"


def _worker(supervisor: int, comm: str) -> int:
    return next((pid for pid in children(supervisor) if read_comm(pid) == comm), 0)


def _reload(api: Path) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(str(api))
        client.sendall(b"POST /-/reload HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return client.recv(1 << 16)


def _wait_for_none(report: Path) -> list[int]:
    """The processes of the run that are still there after a while."""
    try:
        wait_for("their end", lambda: not list(_processes(report)), 10.0)
    except AssertionError:
        pass
    return list(_processes(report))


def _processes(report: Path) -> Iterator[int]:
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                environ = Path("/proc", entry, "environ").read_bytes()
            except OSError:
                continue
            if f"FAIL_REPORT={report}".encode() in environ.split(b"\0"):
                yield int(entry)
