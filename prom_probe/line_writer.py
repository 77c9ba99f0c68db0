"""Writes a line to a descriptor that others share, without waiting for whoever reads it."""

from __future__ import annotations

import fcntl
import os
import select
import stat
import sys
import time

# A pipe takes this much whole or not at all, and a descriptor that polls as writable takes it without a wait.
MAX_LINE_BYTES = select.PIPE_BUF


def write_line(fd: int, line: bytes, patience_s: float = 0.0) -> int:
    """Write at most MAX_LINE_BYTES; returns how many were written, 0 if that would have to wait or is impossible.

    Nothing is raised. `patience_s`: how long to wait for a reader that is behind.
    """
    deadline_s = time.monotonic() + patience_s
    while True:
        try:
            return _write_now(fd, line[:MAX_LINE_BYTES])
        except BlockingIOError:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0 or not _is_writable(fd, left_s):
                return 0
        except (OSError, ValueError):
            return 0


def _write_now(fd: int, line: bytes) -> int:
    """BlockingIOError if that would have to wait.

    The descriptor's own O_NONBLOCK is left alone: it belongs to COMMAND and the shell too. A pipe or a terminal is
    opened once more, without waiting; a file is not, because it would be written from its beginning.
    """
    if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        return 0  # opened again, the reading end of a pipe could be written
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode):
        return os.write(fd, line)
    if stat.S_ISSOCK(mode):
        return _send(fd, line)
    own = _reopen(fd) if sys.platform == "linux" else None
    if own is not None:
        try:
            return os.write(own, line)
        finally:
            os.close(own)
    if not _is_writable(fd, 0.0):
        raise BlockingIOError
    return os.write(fd, line)


def _reopen(fd: int) -> int | None:
    """The same pipe or device, with a state of its own; None if it cannot be opened (another user's, no /proc)."""
    try:
        return os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return None


def _send(fd: int, line: bytes) -> int:
    import socket

    borrowed = socket.socket(fileno=fd)
    try:
        return borrowed.send(line, socket.MSG_DONTWAIT | getattr(socket, "MSG_NOSIGNAL", 0))
    finally:
        borrowed.detach()


def _is_writable(fd: int, timeout_s: float) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    try:
        return any(events & select.POLLOUT for _, events in poll.poll(timeout_s * 1000))
    except OSError:
        return False
