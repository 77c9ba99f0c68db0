"""Accepts connections from one listening socket, as long as there is room for them."""

from __future__ import annotations

import asyncio
import socket
from typing import Protocol

# How many seconds nothing is accepted after a failure, or where there is no room, unless a connection ends before.
_RETRY_S = 1.0


class Admission(Protocol):
    """What the connections are for."""

    def has_room(self) -> bool:
        """Whether one more connection may be accepted."""

    def make_room(self) -> bool:
        """End a connection that can be spared; False if there is none. The room is there a moment later."""

    def welcome(self, sock: socket.socket, peer: str) -> None:
        """Take the connection to the client `peer`, and with it ownership of `sock`."""

    def full(self) -> None:
        """There is no room, and none can be made: no connection is accepted for the moment."""

    def failed(self, error: OSError) -> bool:
        """A connection could not be accepted. Whether the end of another one would help."""


class Acceptor:
    """Takes ownership of `sock`, which is listening. Owned by the loop's thread.

    While it is paused, the socket is not polled: clients wait in the kernel's queue, and cost nothing.
    """

    def __init__(self, host: Admission, sock: socket.socket, burst: int, retry_s: float = _RETRY_S) -> None:
        """`burst`: how many are accepted before others get their turn; `retry_s`: how long a pause lasts."""
        self._host = host
        self._sock = sock
        self._burst = burst
        self._retry_after_s = retry_s
        self._loop = asyncio.get_running_loop()
        self._retry: asyncio.TimerHandle | None = None
        sock.setblocking(False)
        self._loop.add_reader(sock, self._ready)

    def resume(self) -> None:
        """Go on after a pause: there is room, perhaps."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
            self._loop.add_reader(self._sock, self._ready)

    def close(self) -> None:
        """Accept no more connections."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        else:
            self._loop.remove_reader(self._sock)
        self._sock.close()

    def _ready(self) -> None:
        """A client is waiting."""
        if not self._host.has_room():
            if not self._host.make_room():
                self._host.full()
                self._pause()
            return
        for _ in range(self._burst):
            try:
                sock, address = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if not (self._host.failed(error) and self._host.make_room()):
                    self._pause()
                return
            self._host.welcome(sock, str(address[0]) if isinstance(address, tuple) else "")
            if not self._host.has_room():
                return

    def _pause(self) -> None:
        self._loop.remove_reader(self._sock)
        self._retry = self._loop.call_later(self._retry_after_s, self.resume)
