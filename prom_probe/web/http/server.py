"""Listeners: accept connections, cap their number, drain them at the end."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING

from prom_probe.web.app import App
from prom_probe.web.context import Listener
from prom_probe.web.http.limits import HttpLimits
from prom_probe.web.http.message import Answer, Request, Response
from prom_probe.web.http.protocol import Connection

if TYPE_CHECKING:
    from prom_probe.web.http.security import Security

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

    async def start(self, sock: socket.socket, api: bool, loopback: bool) -> None:
        """Serve `sock`, which is bound and listening. `api`: with the query API; `loopback`: on loopback only."""
        by_name = sock.family != socket.AF_UNIX  # no browser uses a Unix socket: its Host header is not checked
        security = self._security if by_name else None
        kind = Listener(api=api, loopback=loopback, by_name=by_name, guarded=security is not None)
        listener = HttpListener(self._app, self._limits, kind, security=security)
        self._listeners.append(listener)
        await listener.start(sock)

    def refresh(self) -> None:
        """Reread the web configuration if it has changed; it applies to new connections."""
        if self._security is not None and self._security.refresh():
            for listener in self._listeners:
                listener.renew()

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

    def __init__(self, app: App, limits: HttpLimits, kind: Listener, *, security: Security | None = None) -> None:
        self.limits = limits
        self.buffer = memoryview(bytearray(_BUFFER_BYTES))
        self._draining = False
        self._app = app
        self._kind = kind
        self._security = security
        self._sock: socket.socket | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._connections: set[Connection] = set()
        self._empty = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        times = (limits.header_s, limits.body_s, limits.idle_s, limits.stall_s, limits.answer_s, limits.linger_s)
        self._tick_s = min(1.0, min(times) / 4)
        self._date = (0, b"")

    async def start(self, sock: socket.socket) -> None:
        """Accept from `sock`."""
        context = self._security.context if self._security is not None else None
        if context is not None and self._sock is None:
            self._sock = sock.dup()  # for `renew`
        self._server = await self._loop.create_server(
            lambda: Connection(self),
            sock=sock,
            backlog=self.limits.burst,
            ssl=context,
            ssl_handshake_timeout=self.limits.header_s if context is not None else None,
        )

    def renew(self) -> None:
        """Use the current certificate for new connections; existing ones keep theirs."""
        if self._sock is not None and not self._draining:
            self._renewing = self._loop.create_task(self._renew(self._sock.dup()))

    async def _renew(self, sock: socket.socket) -> None:
        before = self._server
        await self.start(sock)
        if before is not None:
            for old in before.sockets:
                self._loop.remove_reader(old.fileno())
            await asyncio.sleep(0)  # asyncio loses what a server has accepted and not yet handed over when it is closed
            before.close()

    def drain(self) -> None:
        """Close the socket and idle connections at once, the others after their answer."""
        self._draining = True
        if self._server is not None:
            self._server.close()
        if self._sock is not None:
            self._sock.close()
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

    # --- what connections call

    def opened(self, connection: Connection) -> bool:
        """Admit the connection. At the cap, the one with the oldest complete request makes room."""
        room = len(self._connections) < self.limits.connections
        if not room:
            waiting = [other for other in self._connections if other.waits_for_client]
            if waiting:
                min(waiting, key=lambda other: other.completed_at).abort()
                room = True
        self._connections.add(connection)
        if self._draining:  # accepted at the last moment
            connection.drain()
        if self._security is not None and not self._security.admits(connection.certificate()):
            connection.abort()
        if self._timer is None:
            self._timer = self._loop.call_later(self._tick_s, self._tick)
        return room

    def closed(self, connection: Connection) -> None:
        """Forget the connection."""
        self._connections.discard(connection)
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
        if self._connections:
            self._timer = self._loop.call_later(self._tick_s, self._tick)

    def _maybe_empty(self) -> None:
        if self._draining and not self._connections:
            self._empty.set()
