"""A remote write receiver of ours that checks each request, keeps its samples or passes it on, and answers as told."""

from __future__ import annotations

import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from prom_probe.model.labels import Labels, label_value
from prom_probe.model.sample import STALE_BYTES
from tests.support.waiting import DEADLINE_S
from tests.support.write_reader import TYPE_V2, ReadRequest, Violation, read_request


class Fault(NamedTuple):
    """An answer other than 204: a status with headers and words, or none at all, after a while.

    `stored`: the request's samples are kept all the same, as when an answer is lost on its way.
    """

    status: int = 0  # 0 closes the connection without an answer
    words: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    after_s: float = 0.0
    stored: bool = False


class KeptRequest(NamedTuple):
    """A request that was stored."""

    headers: dict[str, str]
    samples: int
    bytes: int
    content: ReadRequest
    at_s: float  # Unix time of its arrival
    done: bool  # the sender was told so, in time


class RawRequest(NamedTuple):
    """A request as it came, and the status that answered it, 0 for none."""

    method: str
    headers: dict[str, str]
    body: bytes
    began_s: float  # monotonic
    ended_s: float
    status: int


class FaultReceiver:
    """Answers the next requests by `faults`, one each, and all others by 204, or as `behind` answers.

    `behind`: the URL of the receiver that gets what is stored.
    """

    def __init__(
        self,
        faults: Iterable[Fault] = (),
        *,
        unix: Path | None = None,
        tls: ssl.SSLContext | None = None,
        port: int = 0,
        behind: str = "",
        patience_s: float = float("inf"),
    ) -> None:
        """`patience_s`: how long after the request's arrival the sender surely waits for the answer."""
        self.faults = list(faults)
        self.always: Fault | None = None  # the answer to all requests while it is set
        self.refuses: Callable[[ReadRequest], bool] = lambda content: False  # such requests are answered by 500
        self.knows_v2 = False
        self.requests: list[KeptRequest] = []
        self.raw: list[RawRequest] = []  # all of them
        self.refused = 0
        self.violations: list[Violation] = []
        self._lock = threading.Lock()
        self._behind = behind
        self._patience_s = patience_s
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 60

            def address_string(self) -> str:
                return "client"

            def log_message(self, format: str, *args: Any) -> None:
                pass

            def do_POST(self) -> None:
                receiver._answer(self)

        class Listener(HTTPServer):
            address_family = socket.AF_UNIX if unix is not None else socket.AF_INET
            daemon_threads = True

            def server_bind(self) -> None:
                self.socket.bind(self.server_address)
                self.server_address = self.socket.getsockname()

            def process_request(self, request: Any, client: Any) -> None:
                threading.Thread(target=self._serve, args=(request, client), daemon=True).start()

            def _serve(self, request: Any, client: Any) -> None:
                try:
                    if tls is not None:
                        request = tls.wrap_socket(request, server_side=True)
                    self.finish_request(request, client or ("", 0))
                except OSError:
                    pass
                self.shutdown_request(request)

        address: Any = str(unix) if unix is not None else ("127.0.0.1", port)
        self._server = Listener(address, Handler)
        self.port = 0 if unix is not None else self._server.server_address[1]
        scheme = "https" if tls is not None else "http"
        self.url = f"unix:{unix}:/write" if unix is not None else f"{scheme}://127.0.0.1:{self.port}/write"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def __enter__(self) -> FaultReceiver:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        if error is None and self.violations:
            raise self.violations[0]

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        began_s = time.monotonic()
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        kept = None
        with self._lock:
            fault = self.always or (self.faults.pop(0) if self.faults else None)
            if fault is None and self._refuses(handler, body):
                fault = Fault(500, "too old")
            answer = fault or Fault(204)
            if fault is None and handler.headers["Content-Type"] == TYPE_V2 and not self.knows_v2:
                pass  # as 1.x receivers do: 204, and nothing is stored
            elif fault is None or fault.stored:
                if self._behind:
                    stored = _post(self._behind, dict(handler.headers.items()), body)
                    answer = fault or stored
                kept = self._keep(handler, body, done=answer.status // 100 == 2 and not answer.after_s)
            else:
                self.refused += 1
        if answer.after_s:
            time.sleep(answer.after_s)
        headers = dict(handler.headers.items())
        self.raw.append(RawRequest(handler.command, headers, body, began_s, time.monotonic(), answer.status))
        if not answer.status:
            handler.close_connection = True
            return
        handler.send_response(answer.status)
        if fault is None and self.knows_v2:
            handler.send_header("X-Prometheus-Remote-Write-Samples-Written", str(self.requests[-1].samples))
        for name, value in answer.headers:
            handler.send_header(name, value)
        words = answer.words.encode()
        handler.send_header("Content-Length", str(len(words)))
        told = False
        try:
            handler.end_headers()
            handler.wfile.write(words)
            told = time.monotonic() - began_s <= self._patience_s
        finally:
            if kept is not None and not told:
                self.requests[kept] = self.requests[kept]._replace(done=False)

    def _refuses(self, handler: BaseHTTPRequestHandler, body: bytes) -> bool:
        try:
            return self.refuses(read_request(handler.command, dict(handler.headers.items()), body))
        except Violation:
            return False  # `_keep` says so

    def _keep(self, handler: BaseHTTPRequestHandler, body: bytes, *, done: bool) -> int | None:
        """Its place among the kept requests."""
        headers = dict(handler.headers.items())
        try:
            content = read_request(handler.command, headers, body)
        except Violation as error:
            self.violations.append(error)
            return None
        samples = sum(len(samples) for _, samples in content.series)
        self.requests.append(KeptRequest(headers, samples, len(body), content, time.time(), done))
        return len(self.requests) - 1

    def samples(self, *, markers: bool = True) -> dict[Labels, list[tuple[int, bytes]]]:
        """All samples by series, in the order in which they came."""
        found: dict[Labels, list[tuple[int, bytes]]] = {}
        for request in list(self.requests):
            for labels, samples in request.content.series:
                kept = [one for one in samples if markers or one[1] != STALE_BYTES]
                if kept:
                    found.setdefault(labels, []).extend(kept)
        return found

    def of(self, name: str) -> dict[Labels, list[tuple[int, bytes]]]:
        """The samples of one metric."""
        return {k: v for k, v in self.samples().items() if label_value(k, "__name__") == name}


def _post(url: str, headers: dict[str, str], body: bytes) -> Fault:
    """Pass a request on: what to answer to it. No answer if there is none."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=DEADLINE_S) as response:
            return Fault(response.status)
    except urllib.error.HTTPError as error:
        return Fault(error.code, error.read().decode(errors="replace"))
    except OSError:
        return Fault()
