"""Signals read from a descriptor, in processes of their own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.waiting import DEADLINE_S

_COMMON = """
import os, select, signal, subprocess, sys
from prom_probe.run.inheritance import SIGNALS, block_signals
from prom_probe.run.signals import SignalFd, WakeUpPipe
block_signals()
source = {}(SIGNALS)
def read():
    select.select([source.fd], [], [], 60)
    return [signal.Signals(number).name for number in source.read()]
def send(*names):
    subprocess.run(["sh", "-c", "; ".join(f"kill -{{name}} {{os.getpid()}}" for name in names)])
"""
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="signalfd is Linux's")
BOTH = pytest.mark.parametrize("kind", [pytest.param("SignalFd", marks=ON_LINUX), "WakeUpPipe"])


def played(kind: str, code: str) -> str:
    argv = [sys.executable, "-c", _COMMON.format(kind) + code]
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=DEADLINE_S).stdout.strip()


@BOTH
def test_what_is_sent_is_read_once(kind: str) -> None:
    """A child's end wakes the reader and is no signal."""
    code = """
send("TERM", "USR1")
got = []
while len(got) < 2: got += read()
print(sorted(got), source.read())
"""
    assert played(kind, code) == "['SIGTERM', 'SIGUSR1'] b''"


@ON_LINUX
def test_a_log_line_that_nobody_reads_is_no_signal() -> None:
    """Writing to a closed pipe raises SIGPIPE in us, which is not COMMAND's."""
    code = """
read_fd, write_fd = os.pipe()
os.close(read_fd)
try: os.write(write_fd, b"x")
except BrokenPipeError: pass
send("HUP")
print(read())
"""
    assert played("SignalFd", code) == "['SIGHUP']"


@ON_LINUX
def test_a_sigchld_that_somebody_sends_is_a_signal() -> None:
    """It is told from the kernel's word of a child."""
    code = """
sender = subprocess.Popen(["sh", "-c", f"kill -CHLD {os.getpid()}; exec sleep 60"])
print(read())
sender.kill()
sender.wait()
print(read())
"""
    assert played("SignalFd", code) == "['SIGCHLD']\n[]"
