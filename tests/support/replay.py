"""A target that replays pages: the n-th request of each client for a path gets the n-th answer of that path."""

from __future__ import annotations

import gzip
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Literal, NamedTuple

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

# How an answer goes: as it should; told to be longer than it is; without an end of its headers; never; without end, a
# byte at a time; by way of redirects.
How = Literal["whole", "short", "cut", "hang", "drip", "redirect"]


class Answer(NamedTuple):
    """One answer: a page, or what there is instead of one."""

    body: bytes
    content_type: str = TEXT
    status: int = 200
    how: How = "whole"
    gzipped: bool = False


def page(text: str, content_type: str = TEXT) -> Answer:
    return Answer(text.encode(), content_type)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256  # all clients come at once


class Replay:
    """Serves `answers` by path; after the last one it is repeated."""

    def __init__(self, answers: Mapping[str, Sequence[Answer]]) -> None:
        self.answers = answers
        self.asked: Counter[tuple[str, str]] = Counter()  # (path, client) -> requests
        self.headers: dict[str, dict[str, str]] = {}  # client -> its newest request's
        self.ports: dict[str, set[int]] = {}  # client -> where it came from
        self._ended = threading.Event()
        replay = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                replay.answer(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Replay:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()

    def has_asked(self, path: str, client: str, times: int) -> bool:
        return self.asked[path, client] >= times

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        client = request.headers.get("User-Agent", "").partition("/")[0]
        path, _, hop = request.path.partition("?")
        key = (path, client)
        self.headers[client] = dict(request.headers)
        self.ports.setdefault(client, set()).add(request.client_address[1])
        answers = self.answers[path]
        answer = answers[min(self.asked[key], len(answers) - 1)]
        if answer.how == "redirect" and hop != "hop=2":
            self._redirect(request, f"{path}?hop={int(hop[4:] or 0) + 1}")
            return
        self.asked[key] += 1
        self._send(request, answer)

    def _redirect(self, request: BaseHTTPRequestHandler, location: str) -> None:
        request.send_response(302)
        request.send_header("Location", location)
        request.send_header("Content-Length", "0")
        request.end_headers()

    def _send(self, request: BaseHTTPRequestHandler, answer: Answer) -> None:
        if answer.how == "cut":
            request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Ty")
            request.close_connection = True
            return
        if answer.how == "hang":
            self._ended.wait()
            request.close_connection = True
            return
        body = gzip.compress(answer.body) if answer.gzipped else answer.body
        request.send_response(answer.status)
        request.send_header("Content-Type", answer.content_type)
        if answer.gzipped:
            request.send_header("Content-Encoding", "gzip")
        request.send_header("Content-Length", str(len(body) + 10 * (answer.how == "short")))
        request.end_headers()
        try:
            if answer.how == "drip":
                for i in range(len(body)):
                    request.wfile.write(body[i : i + 1])
                    request.wfile.flush()
                    if self._ended.wait(0.05):
                        break
            else:
                request.wfile.write(body)
        except OSError:
            request.close_connection = True
        if answer.how in ("short", "drip"):
            request.close_connection = True
