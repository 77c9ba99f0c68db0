"""Listeners: which connections are admitted, which one makes room at the cap, how they end."""

from __future__ import annotations

import asyncio
import socket
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from prom_probe.web.app import App
from prom_probe.web.context import Listener
from prom_probe.web.http.acceptor import Acceptor
from prom_probe.web.http.limits import HttpLimits
from prom_probe.web.http.message import Answer, Request, Response
from prom_probe.web.http.protocol import Connection

if TYPE_CHECKING:
    from prom_probe.web.http.security import Security
    from prom_probe.web.http.tls import TlsFault

_BUFFER_BYTES = 64 * 1024
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Server:
    """All listeners of one App. Owned by the loop's thread."""

    def __init__(self, app: App, limits: HttpLimits | None = None, security: Security | None = None) -> None:
        """`security` applies to all listeners but Unix sockets."""
        self._app = app
        self._limits = limits or HttpLimits()
        self._security = security
        self._listeners: list[HttpListener] = []

    def start(self, sock: socket.socket, api: bool, loopback: bool) -> None:
        """Serve `sock`, which is listening. `api`: with the query API; `loopback`: on loopback only."""
        by_name = sock.family != socket.AF_UNIX  # no browser uses a Unix socket: its Host header is not checked
        security = self._security if by_name else None
        kind = Listener(api=api, loopback=loopback, by_name=by_name, guarded=security is not None)
        self._listeners.append(HttpListener(self._app, self._limits, kind, sock, security))

    def refresh(self) -> None:
        """Reread the web configuration if it has changed; it applies to new connections.

        If other client certificates count, connections end that were made before.
        """
        if self._security is not None and self._security.refresh():
            for listener in self._listeners:
                listener.end_connections()

    async def drain(self, timeout_s: float) -> None:
        """Accept no more connections, let answers in progress finish, cut off the rest after `timeout_s`."""
        for listener in self._listeners:
            listener.drain()
        deadline = time.monotonic() + timeout_s
        for listener in self._listeners:
            await listener.wait_closed(max(0.0, deadline - time.monotonic()))
        self._listeners.clear()
        self._app.close()


class HttpListener:
    """One listening socket and its connections."""

    def __init__(
        self, app: App, limits: HttpLimits, kind: Listener, sock: socket.socket, security: Security | None
    ) -> None:
        self.limits = limits
        self.buffer = memoryview(bytearray(_BUFFER_BYTES))
        self._draining = False
        self._app = app
        self._incidents = app.incidents
        self._kind = kind
        self._security = security
        self._arriving: dict[Connection, asyncio.Task[Any]] = {}  # accepted; their handshake is not complete
        self._connections: set[Connection] = set()
        self._leaving: set[Connection] = set()  # cut off to make room, but not closed yet
        self._empty = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        times = (limits.header_s, limits.body_s, limits.idle_s, limits.stall_s, limits.answer_s, limits.linger_s)
        self._tick_s = min(1.0, min(times) / 4)
        self._date = (0, b"")
        self._acceptor = Acceptor(self, sock, limits.burst)

    def end_connections(self) -> None:
        """End those that are guarded: idle ones at once, the others after their answer."""
        if self._security is not None:
            for task in self._arriving.values():
                task.cancel()
            for connection in tuple(self._connections):
                connection.drain()

    def drain(self) -> None:
        """Close the socket and idle connections at once, the others after their answer."""
        self._draining = True
        self._acceptor.close()
        for task in self._arriving.values():
            task.cancel()
        for connection in tuple(self._connections):
            connection.drain()
        self._maybe_empty()

    async def wait_closed(self, timeout_s: float) -> None:
        """Wait until the last connection has ended; cut off those left after `timeout_s`."""
        try:
            await asyncio.wait_for(self._empty.wait(), timeout_s)
        except TimeoutError:
            for connection in tuple(self._connections):
                connection.abort()
            await self._empty.wait()

    # --- what the acceptor calls

    def has_room(self) -> bool:
        return len(self._connections) + len(self._arriving) < self.limits.connections

    def make_room(self) -> bool:
        """Cut off the one whose complete request, or beginning, is oldest, of those that we wait for."""
        if self._leaving:
            return True
        waiting = [connection for connection in self._connections if connection.waits_for_client]
        waiting.extend(self._arriving)
        if not waiting:
            return False
        oldest = min(waiting, key=lambda connection: connection.completed_at)
        self._leaving.add(oldest)
        self._incidents.evicted()
        if oldest in self._arriving:
            self._arriving[oldest].cancel()
        else:
            oldest.abort()
        return True

    def welcome(self, sock: socket.socket, peer: str) -> None:
        connection = Connection(self, peer)
        context = self._security.context if self._security is not None else None
        handshake = self._loop.connect_accepted_socket(
            lambda: connection,
            sock,
            ssl=context,
            ssl_handshake_timeout=self.limits.header_s if context is not None else None,
        )
        task = self._arriving[connection] = self._loop.create_task(handshake)
        task.add_done_callback(partial(self._arrived, connection, sock, context is not None))

    def _arrived(self, connection: Connection, sock: socket.socket, tls: bool, task: asyncio.Task[Any]) -> None:
        if self._arriving.pop(connection, None) is not None:
            self._leaving.discard(connection)
        error = None if task.cancelled() else task.exception()
        if error is not None and tls:
            self._incidents.handshake_failed(error, connection.peer)
        elif error is not None:
            self._incidents.broke(error)
        if error is not None or task.cancelled():
            sock.close()
            self._left()

    def full(self) -> None:
        self._incidents.paused(self.limits.connections)

    def failed(self, error: OSError) -> bool:
        return self._incidents.accept_failed(error)

    # --- what connections call

    def opened(self, connection: Connection) -> None:
        self._arriving.pop(connection, None)
        self._connections.add(connection)
        if self._draining:  # accepted at the last moment
            connection.drain()
        fault = self._maybe_fault(connection)
        if fault is not None:
            self._incidents.refused(*fault, connection.peer)
            connection.abort()
        if self._timer is None:
            self._timer = self._loop.call_later(self._tick_s, self._tick)

    def closed(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._leaving.discard(connection)
        self._left()

    def _maybe_fault(self, connection: Connection) -> TlsFault | None:
        """Why the client's certificate is not good any more."""
        security = self._security
        return security.maybe_fault(connection.certificate(), self._app.clock()) if security is not None else None

    def _left(self) -> None:
        if not self._draining:
            self._acceptor.resume()
        self._maybe_empty()

    def answer(self, request: Request) -> Answer:
        return self._app.answer(request, self._kind)

    def cors_lines(self, request: Request) -> bytes:
        return self._app.cors_lines(request) if self._kind.api else b""

    def accepts_large_body(self, path: str) -> bool:
        return self._kind.api and self._app.accepts_large_body(path)

    def has_room_for_bodies(self) -> bool:
        return sum(connection.held_bytes for connection in self._connections) < self.limits.bodies_bytes

    def has_room_for_large_body(self) -> bool:
        return sum(connection.large for connection in self._connections) < self.limits.large_bodies

    def refused(self, response: Response) -> None:
        self._app.counted(response)

    def log(self, level: str, message: str) -> None:
        self._app.log(level, message)

    def fixed_lines(self) -> bytes:
        """The header lines of every answer; the Date line is made once a second."""
        now = int(self._app.clock())
        if self._date[0] != now:
            t = time.gmtime(now)
            line = (
                f"Date: {_DAYS[t.tm_wday]}, {t.tm_mday:02d} {_MONTHS[t.tm_mon - 1]} {t.tm_year} "
                f"{t.tm_hour:02d}:{t.tm_min:02d}:{t.tm_sec:02d} GMT\r\n"
            )
            self._date = (now, line.encode())
        return self._date[1] if self._security is None else self._date[1] + self._security.headers

    def _tick(self) -> None:
        """Check every connection's deadline; one timer for all of them costs a request nothing."""
        self._timer = None
        now = self._loop.time()
        for connection in tuple(self._connections):
            connection.check(now)
            if self._maybe_fault(connection) is not None:
                connection.drain()
        if self._connections:
            self._timer = self._loop.call_later(self._tick_s, self._tick)

    def _maybe_empty(self) -> None:
        if self._draining and not self._connections and not self._arriving:
            self._empty.set()
