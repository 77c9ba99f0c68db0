"""HTTP messages as values: a complete request, and the response to it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol, TypeAlias

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"

REASONS: dict[int, str] = {
    100: "Continue",
    200: "OK",
    204: "No Content",
    304: "Not Modified",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    413: "Content Too Large",
    414: "URI Too Long",
    415: "Unsupported Media Type",
    417: "Expectation Failed",
    422: "Unprocessable Entity",
    431: "Request Header Fields Too Large",
    499: "Client Closed Request",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
}


class Request:
    """A complete request. Header names are in lower case; `path` and `query` are still percent-encoded."""

    __slots__ = ("body", "headers", "http_1_0", "keep_alive", "method", "path", "query")

    def __init__(
        self,
        method: str,
        path: str,
        query: bytes = b"",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        *,
        keep_alive: bool = True,
        http_1_0: bool = False,
    ) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers or {}
        self.body = body
        self.keep_alive = keep_alive
        self.http_1_0 = http_1_0


class BodyStream(Protocol):
    """A large body, made while it is sent. `ended`: the last pull gave the end of it."""

    ended: bool

    def compress(self) -> None:
        """Compress with gzip; to be called before the first pull."""

    def pull(self) -> asyncio.Future[bytes]:
        """The next piece. One call at a time, none after the end."""

    def close(self) -> None:
        """No more pieces are wanted. Must be called once, after the end too."""


class Response:
    """What answers a request: a status, and a body as bytes or as a stream."""

    __slots__ = ("body", "content_type", "headers", "status", "stream")

    def __init__(
        self,
        status: int,
        body: bytes = b"",
        content_type: str = TEXT,
        headers: tuple[tuple[str, str], ...] = (),
        stream: BodyStream | None = None,
    ) -> None:
        self.status = status
        self.body = body
        self.content_type = content_type
        self.headers = headers
        self.stream = stream


# A handler answers at once, or with a future that gives the response later.
Answer: TypeAlias = "Response | Pending"


class Pending(asyncio.Future[Response]):
    """A response to come. `queued`: work on it has not begun, so that cancelling it saves work."""

    queued = False


def plain(status: int, text: str = "", headers: tuple[tuple[str, str], ...] = ()) -> Response:
    """A response in plain text: `text`, or the status's reason phrase."""
    return Response(status, (text or REASONS[status]).encode() + b"\n", TEXT, headers)
