"""A server on loopback in a thread of its own, and a client that sees every byte."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from prom_probe.history.history import History
from prom_probe.history.run_info import RunInfo
from prom_probe.model.family import Column, Family, column
from prom_probe.model.labels import Labels
from prom_probe.model.matcher import Matcher
from prom_probe.model.meter import Meter
from prom_probe.model.series import Newest
from prom_probe.promql.limits import QueryLimits
from prom_probe.remote.receiver import Receiver
from prom_probe.tsdb.store import Snapshot, Store, StoreOptions
from prom_probe.web.app import App
from prom_probe.web.context import About
from prom_probe.web.http.limits import HttpLimits
from prom_probe.web.http.security import Security
from prom_probe.web.http.server import Server
from tests.support.waiting import DEADLINE_S

NOW_S = 1_700_000_000.0
NOW_MS = 1_700_000_000_000


def wait_for(condition: Callable[[], object]) -> None:
    """Wait until `condition` holds; fail after the deadline."""
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.002)


@dataclass
class Reply:
    """A response as it came."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """One connection. Reads responses with a Content-Length, chunked, or up to the end."""

    def __init__(self, address: tuple[str, int] | str, receive_bytes: int = 0) -> None:
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.sock = socket.socket(family)
        if receive_bytes:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.sock.settimeout(DEADLINE_S)
        self.sock.connect(address)
        self.rest = b""

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def read(self, method: str = "GET") -> Reply:
        """The next response; interim ones are skipped."""
        head = self._until(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        status = int(lines[0].split()[1])
        headers = {}
        for line in lines[1:]:
            if line:
                name, _, value = line.partition(":")
                headers[name.lower()] = value.strip()
        if status == 100:
            return Reply(100, headers, b"")
        if method == "HEAD" or status in (204, 304):
            return Reply(status, headers, b"")
        if headers.get("transfer-encoding") == "chunked":
            return Reply(status, headers, b"".join(self._chunks()))
        if "content-length" in headers:
            return Reply(status, headers, self._exactly(int(headers["content-length"])))
        return Reply(status, headers, self.rest_of_it())

    def rest_of_it(self) -> bytes:
        """Everything up to the end of the connection."""
        out, self.rest = self.rest, b""
        while piece := self._recv():
            out += piece
        return out

    def ended(self) -> bool:
        """Whether the server has closed, without another byte."""
        return not self.rest and not self._recv()

    def close(self) -> None:
        self.sock.close()

    def _recv(self) -> bytes:
        try:
            return self.sock.recv(65536)
        except ConnectionResetError:
            return b""

    def _more(self) -> None:
        piece = self._recv()
        assert piece, f"the connection ended after {self.rest!r}"
        self.rest += piece

    def _until(self, mark: bytes) -> bytes:
        while mark not in self.rest:
            self._more()
        head, _, self.rest = self.rest.partition(mark)
        return head

    def _exactly(self, size: int) -> bytes:
        while len(self.rest) < size:
            self._more()
        out, self.rest = self.rest[:size], self.rest[size:]
        return out

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self._until(b"\r\n"), 16):
            yield self._exactly(size)
            assert self._exactly(2) == b"\r\n"
        assert self._exactly(2) == b"\r\n"


@dataclass
class Site:
    """A running server: its address, and what it logged."""

    address: tuple[str, int] | str
    store: Any
    meter: Meter
    app: App
    logged: list[str]
    loop: asyncio.AbstractEventLoop
    server: Server
    clients: list[Client] = field(default_factory=list)

    def client(self) -> Client:
        client = Client(self.address)
        self.clients.append(client)
        return client

    def ask(self, target: str, *, method: str = "GET", body: bytes = b"", **headers: str) -> Reply:
        """One request over a connection of its own."""
        client = self.client()
        client.send(request(target, method=method, body=body, **{"Connection": "close", **headers}))
        reply = client.read(method)
        client.close()
        return reply

    def post(self, target: str, form: str) -> Reply:
        return self.ask(target, method="POST", body=form.encode(), Content_Type="application/x-www-form-urlencoded")

    def value(self, name: str, **labels: str) -> float:
        """The value of one of our own metrics, 0 where there is none."""
        want = dict(labels)
        for one, value in zip(self.meter.layout.columns, self.meter.layout.row, strict=False):
            found = dict(one.labels)
            if found.pop("__name__") == name and found == want:
                return value
        return 0.0

    def call(self, work: Callable[[], Any]) -> Any:
        """Run `work` on the server's loop."""

        async def there() -> Any:
            out = work()
            return await out if asyncio.iscoroutine(out) else out

        return asyncio.run_coroutine_threadsafe(there(), self.loop).result(DEADLINE_S)


def request(target: str, *, method: str = "GET", body: bytes = b"", **headers: str) -> bytes:
    """A request's bytes, with a Host and, where there is a body, its length."""
    fields = {"Host": "localhost", **headers}
    if body or method == "POST":
        fields["Content-Length"] = str(len(body))
    lines = [f"{method} {target} HTTP/1.1", *(f"{name.replace('_', '-')}: {value}" for name, value in fields.items())]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


@contextmanager
def serving(
    store: Any = None,
    *,
    http: HttpLimits | None = None,
    limits: QueryLimits | None = None,
    about: About | None = None,
    api: bool = True,
    loopback: bool = True,
    allowed_hosts: Iterable[str] = (),
    unix: Path | None = None,
    remote_write: bool = False,
    cors_origin: str | None = None,
    history: History | None = None,
    web_config: Path | None = None,
    clock: Callable[[], float] = lambda: NOW_S,
) -> Iterator[Site]:
    """A server with one listener; it must end without an error from asyncio."""
    sock = socket.socket(socket.AF_UNIX if unix else socket.AF_INET)
    sock.bind(str(unix) if unix else ("127.0.0.1", 0))
    sock.listen(256)
    made: list[Site] = []
    logged: list[str] = []
    ready, stop = threading.Event(), threading.Event()
    failures: list[object] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: failures.append(context))
        meter = Meter()

        def log(level: str, message: str) -> None:
            logged.append(f"{level}: {message}")

        security = Security(str(web_config), log) if web_config is not None else None
        app = App(
            store if store is not None else Store(),
            history=history or History(RunInfo(), Store()),
            meter=meter,
            limits=limits or QueryLimits(),
            about=about or About({"version": "1.2.3"}),
            log=log,
            clock=clock,
            allowed_hosts=allowed_hosts,
            receiver=Receiver(store, log) if remote_write else None,
            cors_origin=cors_origin,
            security=security,
        )
        server = Server(app, http, security)
        address = sock.getsockname()
        server.start(sock, api=api, loopback=loopback)
        made.append(Site(address, store, meter, app, logged, loop, server))
        ready.set()
        while not stop.is_set():
            await asyncio.sleep(0.005)
        await server.drain(0.5)

    thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    thread.start()
    try:
        assert ready.wait(DEADLINE_S)
        yield made[0]
        queries = made[0].app._queries
        wait_for(lambda: not queries._running and not queries._waiting)  # each place is given back
    finally:
        stop.set()
        thread.join(DEADLINE_S)
        for client in made[0].clients if made else ():
            client.close()
        assert not thread.is_alive()
        assert not failures, failures


def stored(*series: tuple[Labels, Sequence[tuple[int, float]]]) -> Store:
    """A store with these series' samples."""
    store = Store(StoreOptions())
    for labels, samples in series:
        for t_ms, value in samples:
            store.append(labels, t_ms, value)
    return store


MEMORY = Family("proctree_resident_memory_bytes", "gauge", "Resident memory.", "bytes")


def rows(count: int = 1) -> list[Newest]:
    """Exposed series of this number."""
    columns = [column(MEMORY, tree=f"t{i}") for i in range(count)]
    return [Newest("process", 0, columns, 1000, array("d", range(1, count + 1)).tobytes())]


class FakeStore:
    """A store whose answers are set by the test."""

    def __init__(self, rows: Sequence[Newest] = (), families: Sequence[Family] = ()) -> None:
        self.rows = list(rows)
        self._families = list(families)

    def newest(self) -> list[Newest]:
        return self.rows

    def families(self) -> list[Family]:
        return self._families

    def snapshot(self) -> Snapshot:
        return Store().snapshot()

    def stats(self) -> Any:
        return SimpleNamespace(series=7, samples=1234, bytes=56_789)

    def chunks(self) -> int:
        return 9


__all__ = ["Column", "FakeStore", "Matcher", "Site", "serving", "stored"]
