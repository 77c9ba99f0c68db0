"""Reads the signals that come to this process from a descriptor."""

from __future__ import annotations

import os
import signal
import struct
import sys
from collections.abc import Iterable
from typing import Protocol

# struct signalfd_siginfo: signo, errno, code, pid, and more; 128 bytes.
_INFO = struct.Struct("IiiI112x")
_SIGSET_BYTES = 128
_MOST_AT_ONCE = 32

# A fault of our own would raise these again and again if they had a handler.
_FAULTS = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL}


class SignalSource(Protocol):
    """Where the supervisor's signals come from; `fd` is readable when there are any."""

    fd: int

    def read(self) -> bytes:
        """The numbers of those that came, a byte each, in their order; never blocks.

        The end of a child is none of them: it only makes `fd` readable.
        """


class SignalFd:
    """signalfd(2): the signals stay blocked. They do not interrupt anything, and their senders are known."""

    def __init__(self, numbers: Iterable[int]) -> None:
        import ctypes

        signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
        bits = 8 * ctypes.sizeof(ctypes.c_ulong)
        words = (ctypes.c_ulong * (8 * _SIGSET_BYTES // bits))()
        for number in numbers:
            words[(number - 1) // bits] |= 1 << (number - 1) % bits
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd: int = libc.signalfd(-1, words, os.O_CLOEXEC | os.O_NONBLOCK)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "signalfd")

    def read(self) -> bytes:
        try:
            data = os.read(self.fd, _INFO.size * _MOST_AT_ONCE)
        except BlockingIOError:
            return b""
        return bytes(number for number, _, code, pid in _INFO.iter_unpack(data) if _is_meant(number, code, pid))


def _is_meant(number: int, code: int, pid: int) -> bool:
    """Whether somebody has sent it.

    SIGCHLD is mostly the kernel's word of a child. SIGPIPE and SIGXFSZ come from us where we cannot write a log line.
    """
    sent = code <= 0
    return sent if number == signal.SIGCHLD else not (sent and pid == os.getpid())


class WakeUpPipe:
    """The wake-up descriptor of Python's handlers, where there is no signalfd."""

    def __init__(self, numbers: Iterable[int]) -> None:
        self.fd, self._write_fd = os.pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(self._write_fd, False)
        signal.set_wakeup_fd(self._write_fd, warn_on_full_buffer=False)
        for number in set(numbers) - _FAULTS:
            try:
                signal.signal(number, _noted)
            except (OSError, ValueError):
                pass  # the C library keeps this signal for itself
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)

    def read(self) -> bytes:
        try:
            return os.read(self.fd, 4096).replace(bytes([signal.SIGCHLD]), b"")
        except BlockingIOError:
            return b""


def _noted(number: int, frame: object) -> None:
    """Does nothing: the wake-up descriptor has the signal's number already."""


def open_signals(numbers: Iterable[int]) -> SignalSource:
    """From now on these signals are only read."""
    wanted = frozenset(numbers)
    if sys.platform == "linux":
        try:
            return SignalFd(wanted)
        except OSError:
            pass  # a sandbox without it
    return WakeUpPipe(wanted)
