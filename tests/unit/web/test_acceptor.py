"""Accepting where accept(2) fails or there is no room: nothing is lost, nothing spins."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable

import pytest

from prom_probe.web.http.acceptor import Acceptor
from tests.support.waiting import DEADLINE_S

# Short, as it is waited for.
RETRY_S = 0.05


class FailingSocket(socket.socket):
    """A listening socket whose first calls of accept fail with these errors."""

    errors: list[int]
    calls = 0

    def accept(self) -> tuple[socket.socket, object]:
        self.calls += 1
        if self.errors:
            raise OSError(self.errors.pop(0), "simulated")
        return super().accept()


class Host:
    """Notes what is asked of it. `room` and `spare`: how many more may be accepted, or made room for."""

    def __init__(self, room: int = 100, spare: int = 0) -> None:
        self.room, self.spare = room, spare
        self.accepted: list[socket.socket] = []
        self.failures: list[int | None] = []
        self.fulls = 0

    def has_room(self) -> bool:
        return self.room > 0

    def make_room(self) -> bool:
        if not self.spare:
            return False
        self.spare -= 1
        self.room += 1
        return True

    def welcome(self, sock: socket.socket, peer: str) -> None:
        assert peer == "127.0.0.1"
        self.room -= 1
        self.accepted.append(sock)

    def full(self) -> None:
        self.fulls += 1

    def failed(self, error: OSError) -> bool:
        self.failures.append(error.errno)
        return error.errno == errno.EMFILE


def accepting(host: Host, clients: int, until: Callable[[], bool], errors: list[int]) -> FailingSocket:
    """Accept until the condition holds; the socket, closed."""
    sock = FailingSocket()
    sock.errors = errors
    sock.bind(("127.0.0.1", 0))
    sock.listen(16)
    peers = [socket.create_connection(sock.getsockname()) for _ in range(clients)]

    async def main() -> None:
        acceptor = Acceptor(host, sock, 4, RETRY_S)
        while not until():
            await asyncio.sleep(0.001)
        acceptor.close()

    try:
        asyncio.run(asyncio.wait_for(main(), DEADLINE_S))
    finally:
        for one in (*peers, *host.accepted):
            one.close()
    return sock


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.EPERM, errno.ENETDOWN])
def test_a_failure_is_tried_again_after_a_pause(code: int) -> None:
    """Not before, so that one that stays does not take a whole CPU."""
    host = Host()
    sock = accepting(host, 3, lambda: len(host.accepted) == 3, [code, code])
    assert host.failures == [code, code]
    assert sock.calls == 2 + 3 + 1


@pytest.mark.parametrize("code", [errno.ECONNABORTED, errno.EINTR, errno.EAGAIN])
def test_a_client_that_left_before_is_no_failure(code: int) -> None:
    """accept(2): to be tried again."""
    host = Host()
    accepting(host, 2, lambda: len(host.accepted) == 2, [code])
    assert not host.failures and not host.fulls


def test_without_descriptors_a_connection_that_can_be_spared_makes_room() -> None:
    """At once, without a pause."""
    host = Host(spare=1)
    accepting(host, 1, lambda: len(host.accepted) == 1, [errno.EMFILE])
    assert host.failures == [errno.EMFILE] and host.spare == 0


def test_without_room_it_waits() -> None:
    """One pause for the clients that are too many; with room, they are taken."""
    host = Host(room=2, spare=1)

    def until() -> bool:
        if host.fulls == 2:
            host.room = 10
        return len(host.accepted) == 5

    sock = accepting(host, 5, until, [])
    assert host.fulls == 2
    assert sock.calls <= 5 + 2
