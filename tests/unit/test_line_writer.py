"""Lines to descriptors that others share: nobody waits for their readers, and nobody's descriptor is changed."""

import errno
import fcntl
import os
import pty
import resource
import select
import socket
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from prom_probe.line_writer import MAX_LINE_BYTES, write_line

LINE = b"x" * 999 + b"\n"


class Stuck:
    """A descriptor whose reader does not read, full to the brim; `drain` reads it empty."""

    def __init__(self, fd: int, drain: Callable[[], object]) -> None:
        self.fd = fd
        self.drain = drain


def fill(fd: int) -> None:
    """Write until there is no more room."""
    os.set_blocking(fd, False)
    try:
        while os.write(fd, b"y" * 512):
            pass
    except BlockingIOError:
        pass
    os.set_blocking(fd, True)


def pipe(cleanup: ExitStack) -> Stuck:
    read_fd, fd = os.pipe()
    for each in (read_fd, fd):
        cleanup.callback(os.close, each)
    return Stuck(fd, lambda: os.read(read_fd, 1 << 20))


def unix_socket(cleanup: ExitStack) -> Stuck:
    ours, theirs = socket.socketpair()
    for each in (ours, theirs):
        cleanup.callback(each.close)
    return Stuck(ours.fileno(), lambda: theirs.recv(1 << 20))


def terminal(cleanup: ExitStack) -> Stuck:
    """With flow control stopped, as Ctrl-S does."""
    controller, fd = pty.openpty()
    for each in (controller, fd):
        cleanup.callback(os.close, each)
    termios.tcflow(fd, termios.TCOOFF)
    return Stuck(fd, lambda: termios.tcflow(fd, termios.TCOON))


@pytest.fixture
def cleanup() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("kind", [pipe, unix_socket, terminal], ids=lambda kind: kind.__name__)
def test_nobody_waits_for_a_reader_that_has_stopped(cleanup: ExitStack, kind: Callable[[ExitStack], Stuck]) -> None:
    """The line is not written; once the reader reads again, the next one is."""
    stuck = kind(cleanup)
    fill(stuck.fd)
    assert write_line(stuck.fd, LINE) == 0
    assert os.get_blocking(stuck.fd), "the descriptor is COMMAND's too"
    stuck.drain()
    assert write_line(stuck.fd, LINE) == len(LINE)


@pytest.mark.parametrize("kind", [pipe, terminal], ids=lambda kind: kind.__name__)
def test_nobody_waits_without_a_descriptor_to_spare(cleanup: ExitStack, kind: Callable[[ExitStack], Stuck]) -> None:
    """Then nothing can be opened again."""
    stuck = kind(cleanup)
    fill(stuck.fd)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    cleanup.callback(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
        os.dup(stuck.fd)
    assert write_line(stuck.fd, LINE) == 0
    stuck.drain()
    assert write_line(stuck.fd, LINE) == len(LINE)


def test_a_reader_that_is_behind_is_waited_for_if_asked(cleanup: ExitStack) -> None:
    """As long as said, and no longer."""
    stuck = pipe(cleanup)
    fill(stuck.fd)
    assert write_line(stuck.fd, LINE, 0.01) == 0

    def read_later() -> None:
        select.select([], [], [], 0.05)
        stuck.drain()

    reader = threading.Thread(target=read_later)
    reader.start()
    assert write_line(stuck.fd, LINE, 60.0) == len(LINE)
    reader.join()


def test_what_is_impossible_raises_nothing(cleanup: ExitStack) -> None:
    """A full disk, a closed descriptor, a pipe that nobody reads, one that cannot be written, none at all."""
    full = os.open("/dev/full", os.O_WRONLY)
    cleanup.callback(os.close, full)
    read_fd, unread = os.pipe()
    cleanup.callback(os.close, unread)
    os.close(read_fd)
    readable, writable = os.pipe()
    for each in (readable, writable):
        cleanup.callback(os.close, each)
    closed = os.dup(full)
    os.close(closed)
    for fd in (full, unread, readable, closed, -1):
        assert write_line(fd, LINE, 3600) == 0
    assert not select.select([readable], [], [], 0)[0]


def test_a_file_is_written_where_the_others_are(cleanup: ExitStack, tmp_path: os.PathLike[str]) -> None:
    """`2>file` without O_APPEND: COMMAND's own lines and ours do not overwrite each other."""
    fd = os.open(os.path.join(tmp_path, "stderr"), os.O_CREAT | os.O_RDWR)
    cleanup.callback(os.close, fd)
    os.write(fd, b"one\n")
    assert write_line(fd, b"two\n") == 4
    os.write(fd, b"three\n")
    assert os.pread(fd, 100, 0) == b"one\ntwo\nthree\n"


def test_a_line_is_cut_where_a_pipe_would_split_it(cleanup: ExitStack) -> None:
    """Longer ones of several writers could be mixed, and could have to wait."""
    stuck = pipe(cleanup)
    assert fcntl.fcntl(stuck.fd, fcntl.F_GETPIPE_SZ) > MAX_LINE_BYTES
    assert write_line(stuck.fd, b"x" * 5000) == MAX_LINE_BYTES
