"""Calls a function in a child process, so that the memory of what it imports goes with the child."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from typing import TypeVar

import msgspec

from prom_probe.config.error import ConfigError
from prom_probe.config.secret import conceal_hook, reveal_hook

T = TypeVar("T")

# How long the call may take: a file that it reads may be a pipe that nobody writes to.
TIMEOUT_S = 5.0


def call_in_child(work: Callable[[], T], kind: type[T], timeout_s: float = TIMEOUT_S) -> T:
    """What `work` returns, which msgspec has to be able to encode as a `kind`.

    A ValueError of `work` becomes a ConfigError, as does a call that takes too long or ends without a result.
    """
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if pid == 0:
        _work(work, write_fd)
    os.close(write_fd)
    try:
        return _receive(read_fd, pid, kind, timeout_s)
    finally:
        os.close(read_fd)
        os.waitpid(pid, 0)


def _work(work: Callable[[], object], write_fd: int) -> None:
    """In the child. Never returns."""
    try:
        signal.set_wakeup_fd(-1)
        try:
            answer: tuple[object, str] = (work(), "")
        except ValueError as error:
            answer = (None, str(error))
        except Exception as error:
            answer = (None, f"reading the settings failed: {type(error).__name__}: {error}")
        with open(write_fd, "wb") as stream:
            stream.write(msgspec.msgpack.encode(answer, enc_hook=reveal_hook))
    finally:
        os._exit(0)


def _receive(read_fd: int, pid: int, kind: type[T], timeout_s: float) -> T:
    deadline_s = time.monotonic() + timeout_s
    received = b""
    while True:
        ready, _, _ = select.select([read_fd], [], [], max(0.0, deadline_s - time.monotonic()))
        if not ready:
            os.kill(pid, signal.SIGKILL)
            raise ConfigError(f"reading the settings took longer than {timeout_s:g} s")
        chunk = os.read(read_fd, 65536)
        if not chunk:
            break
        received += chunk
    try:
        raw, error = msgspec.msgpack.decode(received, type=tuple[msgspec.Raw, str])
        if error:
            raise ConfigError(error, 1)
        return msgspec.msgpack.decode(raw, type=kind, dec_hook=conceal_hook)
    except msgspec.DecodeError:
        raise ConfigError("reading the settings ended without a result") from None
