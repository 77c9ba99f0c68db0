"""One HTTP/1.1 connection: bytes to requests, answers to bytes, with limits on what a client can make us hold."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import httptools

from prom_probe.log import describe_error
from prom_probe.web.access import is_host
from prom_probe.web.http.encoding import accepts_gzip, gzip
from prom_probe.web.http.limits import HttpLimits
from prom_probe.web.http.message import REASONS, Answer, BodyStream, Pending, Request, Response, plain

# How a client begins that takes HTTP/2 for granted.
_HTTP_2 = b"PRI * HTTP/2.0\r\n"

_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?#]*)(.*)", re.DOTALL)

_BODILESS = (204, 304)

# Compressing less than this saves no packet.
_GZIP_BYTES = 1024

# How much may wait for the client to read it before we stop writing.
_UNSENT_BYTES = 64 * 1024

# How much a client may send ahead of the answer to its request before we stop reading.
_AHEAD_BYTES = 64 * 1024


class Owner(Protocol):
    """The listener that a connection belongs to."""

    limits: HttpLimits
    buffer: memoryview  # shared by all connections: each read is parsed before the next one

    def opened(self, connection: Connection) -> None:
        """Note the connection."""

    def closed(self, connection: Connection) -> None:
        """Forget the connection."""

    def answer(self, request: Request) -> Answer:
        """The answer to a request."""

    def cors_lines(self, request: Request) -> bytes:
        """The header lines that let a web page of another origin read the answer, if it may."""

    def accepts_large_body(self, path: str) -> bool:
        """Whether a request to `path` may have a body of more than `limits.body_bytes`."""

    def has_room_for_bodies(self) -> bool:
        """Whether more bytes of incomplete bodies may be held; large bodies have a limit of their own."""

    def has_room_for_large_body(self) -> bool:
        """Whether one more large body may be held."""

    def refused(self, response: Response) -> None:
        """Count an answer to a request that never became complete."""

    def log(self, level: str, message: str) -> None:
        """Log what went wrong on our side."""

    def fixed_lines(self) -> bytes:
        """The header lines of every answer: the date and the configured headers."""


class Connection(asyncio.BufferedProtocol):
    """Reads requests, has them answered one after the other, writes the answers in order.

    The listener calls `check` now and then, which ends a connection that has waited too long.
    """

    def __init__(self, owner: Owner, peer: str) -> None:
        """`peer`: the client's address, "" at a Unix socket."""
        self.peer = peer
        self._owner = owner
        self._limits = owner.limits
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._time: Callable[[], float] = asyncio.get_running_loop().time
        # The request being read.
        self._reading = False  # it has begun and is not complete
        self._in_body = False
        self._began = False  # it began in this read
        self._fed = 0  # its bytes, not counting the read in which it began
        self._url = b""
        self._headers: dict[str, str] = {}
        self._fields = 0
        self._header_bytes = 0
        self._body: list[bytes] = []
        self._body_bytes = 0
        self.large = False  # this body, or that of a request not answered yet, is above the usual limit
        self._refusal: Response | None = None
        # The answers.
        self._queue: deque[Request] = deque()
        self._ahead = bytearray()
        self._pending: Pending | None = None
        self._stream: BodyStream | None = None
        self._chunked = self._pulling = False
        self._head = b""  # the header of a streamed answer, sent with its first piece
        self._full = False  # the transport wants no more data for the moment
        self._closing = False  # close once the queue is answered
        self._lingering = False
        # Times by the loop's clock.
        self.completed_at = self._since = self._time()  # the last complete request; the start of the current wait
        self._written = 0
        self._taken = 0  # bytes that the client had read when last checked
        self._taken_at = self._since

    # --- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=_UNSENT_BYTES)
        self._owner.opened(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._owner.buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._lingering:
            return
        if self._busy():
            self._ahead += self._owner.buffer[:nbytes]
            if len(self._ahead) > _AHEAD_BYTES:
                self._transport.pause_reading()
            return
        self._feed(self._owner.buffer[:nbytes])
        self._go_on()

    def eof_received(self) -> bool:
        if not self._busy() or self._lingering:
            return False  # asyncio closes
        self._closing = True
        if self._pending is not None and self._pending.queued:
            self._pending.cancel()  # the client has probably gone, and no work has begun
        return True

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        if self._stream is not None:
            self._pull()
        else:
            self._go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self._queue.clear()
        self._ahead.clear()
        if self._pending is not None:
            self._pending.cancel()
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        self._parser = None  # breaks a reference cycle
        self._owner.closed(self)

    # --- httptools' side

    def on_message_begin(self) -> None:
        self._reading = self._began = True
        self._in_body = False
        self._url = b""
        self._headers = {}
        self._fields = self._header_bytes = self._body_bytes = self._fed = 0
        self._body = []
        self._since = self._time()

    def on_url(self, url: bytes) -> None:
        self._url += url
        if len(self._url) > self._limits.uri_bytes:
            self._reject(414)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_body:  # a trailer must not change what has been decided
            return
        self._fields += 1
        self._header_bytes += len(name) + len(value)
        if self._fields > self._limits.header_fields or self._header_bytes > self._limits.header_bytes:
            self._reject(431)
            return
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        if key in self._headers:
            if key == "host":
                self._reject(400, "more than one Host")
            text = f"{self._headers[key]}, {text}"
        self._headers[key] = text

    def on_headers_complete(self) -> None:
        self._in_body = True
        self._since = self._time()
        if self._refusal is not None:
            return
        if "host" not in self._headers and self._parser.get_http_version() == "1.1":
            self._reject(400, "missing Host header")
        authority = _target_parts(self._url)[0]
        if authority is not None:  # it replaces Host (RFC 9112, 3.2.2)
            self._headers["host"] = authority
        if not is_host(self._headers.get("host", "")):
            self._reject(400, "not a Host")
        if "," in self._headers.get("transfer-encoding", ""):  # the parser wants the last one to be chunked
            self._reject(501, "of transfer codings only chunked is known")
        length = self._headers.get("content-length", "0")
        self._admit(int(length) if length.isascii() and length.isdigit() else self._limits.large_body_bytes + 1)
        expect = self._headers.get("expect")
        if expect is not None and self._refusal is None:
            if expect.lower() != "100-continue":
                self._reject(417)
            elif not self._busy():
                self._send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        self._admit(self._body_bytes)
        if self._refusal is None:
            self._body.append(body)
        else:
            self._body.clear()

    def on_message_complete(self) -> None:
        self._reading = self._in_body = False
        self.completed_at = self._since = self._time()
        if self._refusal is not None or self._closing:
            return
        _, path, query = _target_parts(self._url)
        version = self._parser.get_http_version()
        self._queue.append(
            Request(
                self._parser.get_method().decode("latin-1"),
                path,
                query,
                self._headers,
                b"".join(self._body),
                keep_alive=self._parser.should_keep_alive(),
                http_1_0=version == "1.0",
            )
        )

    # --- reading

    def _admit(self, body_bytes: int) -> None:
        """Refuse the request if its body, known to have at least `body_bytes`, is too large."""
        limits = self._limits
        if body_bytes > limits.small_body_bytes and not self.large and not self._owner.has_room_for_bodies():
            self._reject(503, "too many bodies at once")
        if body_bytes > limits.body_bytes and not self.large:
            if not self._owner.accepts_large_body(_target_parts(self._url)[1]):
                self._reject(413)
            elif not self._owner.has_room_for_large_body():
                self._reject(503, "too many large bodies at once")
            else:
                self.large = True
        if body_bytes > limits.large_body_bytes:
            self._reject(413)

    def _feed(self, data: memoryview | bytearray) -> None:
        """Parse `data`: complete requests are queued, an error becomes `_refusal`."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:  # we offer no upgrade: answered as an ordinary request
            self._closing = True
        except httptools.HttpParserCallbackError as error:
            self._owner.log("error", f"reading a request failed: {describe_error(error.__context__ or error)}")
            self._reject(500)
        except httptools.HttpParserError as error:
            if bytes(data[: len(_HTTP_2)]) == _HTTP_2:
                self._reject(505, "only HTTP/1.1 is spoken here")
            else:
                self._reject(400, str(error))
        if self._reading:
            self._fed += 0 if self._began else len(data)
            body_bytes = self._limits.large_body_bytes if self.large else self._limits.body_bytes
            room = self._limits.header_bytes + (2 * body_bytes if self._in_body else 0)
            if self._fed > room:  # a header field that never ends, or endless tiny chunks
                self._reject(413 if self._in_body else 431)
        self._began = False

    def _reject(self, status: int, reason: str = "") -> None:
        """Note that this request cannot be answered; the first reason counts."""
        if self._refusal is None:
            self._refusal = plain(status, f"{status} {REASONS[status]}" + (f": {reason}" if reason else ""))

    def _busy(self) -> bool:
        """Whether an answer is being made or sent."""
        return self._pending is not None or self._stream is not None or self._full

    def _go_on(self) -> None:
        """Answer queued requests as far as possible at the moment."""
        while not self._busy():
            if self._queue:
                self._begin_answer(self._queue.popleft())
            elif self._closing:
                self._close()
                return
            elif self._refusal is not None:
                self._refuse(self._refusal)
                return
            elif self._ahead:
                data, self._ahead = self._ahead, bytearray()
                self._feed(data)
                self._transport.resume_reading()
            else:
                self.large = self.large and self._in_body
                return

    # --- answering

    def _begin_answer(self, request: Request) -> None:
        answer = self._owner.answer(request)
        if isinstance(answer, Response):
            self._write(request, answer)
        else:
            self._pending = answer
            answer.add_done_callback(partial(self._answered, request))

    def _answered(self, request: Request, pending: Pending) -> None:
        self._pending = None
        if pending.cancelled():
            self._close()
            return
        self._write(request, pending.result())
        self._go_on()

    def _write(self, request: Request, response: Response) -> None:
        """Write the whole `response`, or start to stream it."""
        if self._transport.is_closing():
            if response.stream is not None:
                response.stream.close()
            return
        if not request.keep_alive:
            self._closing = True
        body, stream = response.body, response.stream
        extra = b""
        worth_it = stream is not None or len(body) >= _GZIP_BYTES
        if worth_it and accepts_gzip(request.headers.get("accept-encoding", "")):
            extra = b"Content-Encoding: gzip\r\nVary: Accept-Encoding\r\n"
            if stream is not None:
                stream.compress()
            else:
                body = gzip(body)
        chunked = stream is not None and not request.http_1_0
        if chunked:
            extra += b"Transfer-Encoding: chunked\r\n"
        elif stream is not None:
            self._closing = True  # closing the connection ends the body
        elif response.status not in _BODILESS:
            extra += b"Content-Length: %d\r\n" % len(body)
        head = _head(
            request,
            response,
            close=self._closing,
            extra=self._owner.fixed_lines() + self._owner.cors_lines(request) + extra,
        )
        self._since = self._taken_at = self._time()
        if request.method == "HEAD":
            self._send(head)
            if stream is not None:
                stream.close()
        elif stream is not None:
            self._head, self._stream, self._chunked = head, stream, chunked
            self._pull()
        else:
            self._send(head + body)

    def _send(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._written += len(data)
            self._transport.write(data)

    def _pull(self) -> None:
        """Ask the stream for its next piece, unless that is under way or the client must read first."""
        if self._stream is not None and not self._pulling and not self._full:
            self._pulling = True
            self._stream.pull().add_done_callback(self._pulled)

    def _pulled(self, made: asyncio.Future[bytes]) -> None:
        self._pulling = False
        if self._stream is None:  # the client is gone
            return
        error = made.exception()
        if error is not None:
            self._owner.log("error", f"an answer was cut short: {describe_error(error)}")
            self._transport.abort()  # without a final chunk, so that the client notices
            return
        piece, ended = made.result(), self._stream.ended
        if self._chunked:
            piece = (b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b"") + (b"0\r\n\r\n" if ended else b"")
        head, self._head = self._head, b""
        self._send(head + piece)
        if not ended:
            self._pull()
            return
        self._stream.close()
        self._stream = None
        self._since = self._time()
        self._go_on()

    # --- ending

    def _refuse(self, response: Response) -> None:
        """Send `response`, then discard what the client sends for a while: closing at once could lose the answer."""
        self._owner.refused(response)
        self._refusal = None
        self._closing = self._lingering = True
        self._in_body = False
        self._body.clear()
        self._queue.clear()
        self._since = self._time()
        extra = self._owner.fixed_lines() + b"Content-Length: %d\r\n" % len(response.body)
        self._send(_head(None, response, close=True, extra=extra) + response.body)
        if self._transport.can_write_eof() and not self._transport.is_closing():
            self._transport.write_eof()

    def _close(self) -> None:
        self._closing = True
        if not self._transport.is_closing():
            self._transport.close()

    def certificate(self) -> dict[str, object] | None:
        """The client's certificate as `ssl` gives it, if it has presented one."""
        found: dict[str, object] | None = self._transport.get_extra_info("peercert")
        return found

    def abort(self) -> None:
        """End the connection at once, whatever is in flight."""
        self._transport.abort()

    def _reset(self) -> None:
        """End the connection with a RST: the kernel drops the unsent data, which can be megabytes."""
        sock = self._transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def drain(self) -> None:
        """End the connection after the answer in progress."""
        self._queue.clear()
        self._ahead.clear()
        self._closing = True
        if not self._busy() and not self._lingering:
            self._close()

    @property
    def held_bytes(self) -> int:
        """The bytes held of an incomplete body; 0 for a small or a large one."""
        held = self._body_bytes if self._in_body and not self.large and self._refusal is None else 0
        return held if held > self._limits.small_body_bytes else 0

    @property
    def waits_for_client(self) -> bool:
        """Whether we wait for the client to send or read; only then may it be dropped to make room."""
        return self._pending is None and (self._full or self._stream is None)

    def check(self, now: float) -> None:
        """End the connection if what it waits for is overdue."""
        limits = self._limits
        unsent = self._transport.get_write_buffer_size()
        if self._lingering:
            if now - self._since > limits.linger_s:
                self.abort()
        elif unsent or self._full or self._stream is not None:
            taken = self._written - unsent
            if not unsent or taken - self._taken >= limits.stall_bytes:
                self._taken, self._taken_at = taken, now
            if now - self._taken_at > limits.stall_s or now - self._since > limits.answer_s:
                self._reset()
        elif self._pending is not None:
            pass  # the query has a timeout of its own
        elif self._reading:
            if now - self._since > (limits.body_s if self._in_body else limits.header_s):
                self._refuse(plain(408))
        elif now - self._since > (limits.idle_s if self._written else limits.header_s):
            self._close()


def _target_parts(url: bytes) -> tuple[str | None, str, bytes]:
    """Host, path and query of a request target; only proxies send it with a host."""
    host, found = None, _ABSOLUTE.fullmatch(url)
    if found is not None:
        host, url = found[1].decode("latin-1"), found[2] if found[2][:1] == b"/" else b"/" + found[2]
    path, _, query = url.partition(b"?")
    return host, path.decode("latin-1"), query


_STATUS_LINES = {status: f"HTTP/1.1 {status} {reason}\r\n".encode() for status, reason in REASONS.items()}


def _head(request: Request | None, response: Response, *, close: bool, extra: bytes) -> bytes:
    """The status line and header fields; `extra` is complete lines."""
    lines = [_STATUS_LINES[response.status], extra]
    if response.status not in _BODILESS:
        lines.append(b"Content-Type: %b\r\nX-Content-Type-Options: nosniff\r\n" % response.content_type.encode())
    for name, value in response.headers:
        lines.append(f"{name}: {value}\r\n".encode("latin-1", "replace"))
    if close:
        lines.append(b"Connection: close\r\n")
    elif request is not None and request.http_1_0:
        lines.append(b"Connection: keep-alive\r\n")
    lines.append(b"\r\n")
    return b"".join(lines)
