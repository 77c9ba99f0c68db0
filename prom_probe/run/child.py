"""Calls a function in a child process, so that the memory of what it imports goes with the child."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from typing import Generic, NoReturn, TypeVar

import msgspec

from prom_probe.config.error import ConfigError
from prom_probe.config.secret import conceal_hook, reveal_hook
from prom_probe.run.prctl import die_with_parent

T = TypeVar("T")

# How long the call may take: a file that it reads may be a pipe that nobody writes to.
TIMEOUT_S = 5.0


class ChildCall(Generic[T]):
    """A call that is under way in a child process. Returns what `work` returns, which msgspec encodes as a `kind`."""

    def __init__(self, work: Callable[[], T], kind: type[T], timeout_s: float = TIMEOUT_S) -> None:
        self._kind = kind
        self._timeout_s = timeout_s
        self._deadline_s = time.monotonic() + timeout_s
        self._received = b""
        self._fd, write_fd = os.pipe()
        supervisor = os.getpid()
        try:
            self.pid = os.fork()
            if self.pid == 0:
                die_with_parent(signal.SIGKILL)
                if os.getppid() != supervisor:
                    os._exit(0)
                _work(work, write_fd)
        except OSError:
            os.close(self._fd)
            raise
        finally:
            os.close(write_fd)

    def advance(self, patience_s: float = 0.0) -> bool:
        """Take what has come, waiting so long for it; whether that is all. ConfigError if the call takes too long."""
        left_s = self._deadline_s - time.monotonic()
        ready, _, _ = select.select([self._fd], [], [], max(0.0, min(patience_s, left_s)))
        if not ready:
            if left_s > 0:
                return False
            raise ConfigError(f"reading the settings took longer than {self._timeout_s:g} s")
        chunk = os.read(self._fd, 65536)
        self._received += chunk
        return not chunk

    def result(self) -> T:
        """After all of it has come. A ValueError of `work` is a ConfigError, as is an end without a result."""
        try:
            raw, error = msgspec.msgpack.decode(self._received, type=tuple[msgspec.Raw, str])
            if error:
                raise ConfigError(error, 1)
            return msgspec.msgpack.decode(raw, type=self._kind, dec_hook=conceal_hook)
        except msgspec.DecodeError:
            raise ConfigError("reading the settings ended without a result") from None

    def end(self) -> None:
        """End the child if it still runs. It is left to be reaped."""
        os.close(self._fd)
        os.kill(self.pid, signal.SIGKILL)


def call_in_child(work: Callable[[], T], kind: type[T], timeout_s: float = TIMEOUT_S) -> T:
    """The same, and waits for the result."""
    call = ChildCall(work, kind, timeout_s)
    try:
        while not call.advance(timeout_s):
            pass
        return call.result()
    finally:
        call.end()
        os.waitpid(call.pid, 0)


def _work(work: Callable[[], object], write_fd: int) -> NoReturn:
    """In the child."""
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
