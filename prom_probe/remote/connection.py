"""Posts requests to one receiver over HTTP/1.1, on a connection that is kept; http, https and Unix sockets."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import unquote

import httptools

from prom_probe import __version__
from prom_probe.client_connection import HostConnector, has_spoken, is_readable
from prom_probe.config.http_credentials import ClientTls, authorization_header, basic_header
from prom_probe.config.remote_write import Destination

_URL = re.compile(
    r"(?P<scheme>https?)://(?:(?P<user>[^/?#@]*)@)?(?:\[(?P<v6>[^\]]+)\]|(?P<host>[^:/?#]+))(?::(?P<port>[0-9]+))?"
    r"(?P<resource>[/?].*)?"
)
_UNPRINTABLE = re.compile(r"[^!-~]")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

_CHUNK_BYTES = 16 << 10
# Of an answer's head, of what is read of its body and for how long, and of what is kept of that: receivers say there
# what was wrong. The answer is known without it.
_HEAD_BYTES = 64 << 10
_BODY_BYTES, _BODY_S = 64 << 10, 2.0
_WORDS_BYTES = 1024
# How long the rest of a TLS record is waited for, of an answer that was there when its time had passed.
_LATE_S = 0.01
# The statuses of answers that have no body.
_BODILESS = (204, 304)

# A connection that was idle for longer is not used again: most servers would be about to close it.
_IDLE_S = 50.0


class SendError(Exception):
    """The receiver was not reached, or did not answer. `sent`: it may have the request all the same."""

    def __init__(self, text: str, *, sent: bool) -> None:
        super().__init__(text)
        self.sent = sent


class SendAnswer(NamedTuple):
    """What a receiver said: its status, its headers by name in lower case, the beginning of the body.

    `repeated`: the request was sent twice, as the kept connection was closed before the first answer.
    """

    status: int
    headers: Mapping[str, str]
    words: str
    repeated: bool = False


class ReceiverAddress(NamedTuple):
    """A receiver's URL in its parts; `path` is a Unix socket's."""

    tls: bool
    host: str
    port: int
    path: str
    resource: str
    user: str

    @property
    def authority(self) -> str:
        """The Host header."""
        if self.path:
            return "localhost"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


def parse_receiver(url: str) -> ReceiverAddress:
    """The parts of a URL that `config.remote_write` has accepted."""
    if url.startswith("unix:"):
        path, _, page = url[5:].rpartition(":/")
        return ReceiverAddress(False, "", 0, path, f"/{page}", "")
    found = _URL.fullmatch(url)
    if found is None:
        raise ValueError("not the URL of a receiver")
    tls = found["scheme"] == "https"
    resource = found["resource"] or "/"
    return ReceiverAddress(
        tls,
        found["v6"] or found["host"],
        int(found["port"] or (443 if tls else 80)),
        "",
        resource if resource[0] == "/" else f"/{resource}",
        found["user"] or "",
    )


class ReceiverConnection:
    """One receiver's connection. Not thread-safe."""

    def __init__(
        self,
        destination: Destination,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._destination = destination
        self._address = parse_receiver(destination.url.reveal())
        self._monotonic = monotonic
        self._connector = HostConnector(monotonic)
        self._sock: socket.socket | None = None
        self._used_s = 0.0
        self._tls = ClientTls(destination.tls_config)

    def close(self) -> None:
        """Close the connection."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def post(self, body: bytes, headers: Mapping[str, str], timeout_s: float) -> SendAnswer:
        """The receiver's answer, within `timeout_s`. Raises SendError.

        A kept connection that the receiver has closed meanwhile is replaced, once, if nothing of an answer came.
        """
        deadline_s = self._monotonic() + timeout_s
        try:
            head = self._head(headers, len(body))
        except (OSError, ValueError) as error:
            raise SendError(_reason(error), sent=False) from None
        if self._sock is not None and (self._monotonic() - self._used_s > _IDLE_S or has_spoken(self._sock)):
            self.close()
        kept, repeated = self._sock is not None, False
        while True:
            reader = _AnswerReader()
            sent = False
            try:
                if self._sock is None:
                    self._sock = self._connect(deadline_s)
                self._left(self._sock, deadline_s)
                sent = True
                self._send(self._sock, head + body)
                self._read(self._sock, reader, deadline_s)
            except (OSError, ValueError, httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
                self.close()
                if not reader.known:
                    if kept and not reader.begun and isinstance(error, OSError) and not isinstance(error, TimeoutError):
                        kept, repeated = False, True
                        continue
                    raise SendError(_what(error, sent=sent), sent=sent) from None
            self._used_s = self._monotonic()
            if not reader.keep:
                self.close()
            return SendAnswer(reader.status, reader.headers, reader.words(), repeated)

    def _head(self, headers: Mapping[str, str], length: int) -> bytes:
        """The request line and headers: the user's, and those that they cannot replace."""
        destination, address = self._destination, self._address
        fields = {name: value.reveal() for name, value in destination.headers.items()}
        if (authorization := self._authorization()) is not None:
            fields = {name: value for name, value in fields.items() if name.lower() != "authorization"}
            fields["Authorization"] = authorization
        fields |= {"Host": address.authority, "User-Agent": f"prom_probe/{__version__}", **headers}
        fields["Content-Length"] = str(length)
        for name, value in fields.items():
            if _CONTROL.search(value):
                raise ValueError(f"the header {name} would have a control character; see its file")
        resource = _UNPRINTABLE.sub(lambda c: "".join(f"%{byte:02X}" for byte in c[0].encode()), address.resource)
        lines = [f"POST {resource} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        return "\r\n".join([*lines, "\r\n"]).encode("latin-1", "replace")

    def _authorization(self) -> str | None:
        """The Authorization header; files are read anew each time."""
        found = authorization_header(self._destination.basic_auth, self._destination.authorization)
        if found is None and self._address.user:
            user, _, password = self._address.user.partition(":")
            return basic_header(unquote(user), unquote(password))
        return found

    def _connect(self, deadline_s: float) -> socket.socket:
        address = self._address
        if address.path:
            sock = socket.socket(socket.AF_UNIX)
            try:
                self._left(sock, deadline_s)
                sock.connect(address.path)
            except OSError:
                sock.close()
                raise
            return sock
        sock = self._connector.connect(address.host, address.port, deadline_s)
        if not address.tls:
            return sock
        try:
            self._left(sock, deadline_s)
            name = self._destination.tls_config.server_name or address.host
            return self._tls.get().wrap_socket(sock, server_hostname=name)
        except (OSError, ValueError):
            sock.close()
            raise

    def _send(self, sock: socket.socket, data: bytes) -> None:
        """A receiver that has answered before it had read all may have closed its end: its answer is still there."""
        try:
            sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            if not is_readable(sock):
                raise

    def _read(self, sock: socket.socket, reader: _AnswerReader, deadline_s: float) -> None:
        late = False
        while not reader.complete:
            if reader.known:
                deadline_s = min(deadline_s, reader.known_s + _BODY_S)
            try:
                self._left(sock, deadline_s)
            except TimeoutError:  # it may be we who are late, where CPU time is short: what has come is read, once
                if late or not is_readable(sock):
                    raise
                late = True
                sock.settimeout(_LATE_S)
            data = sock.recv(_CHUNK_BYTES)
            if not data:
                if reader.ends_with_connection:
                    return
                raise ConnectionResetError("the connection was closed without an answer")
            reader.feed(data, self._monotonic())

    def _left(self, sock: socket.socket, deadline_s: float) -> None:
        """Give the next call on `sock` the time that is left; raises TimeoutError if there is none."""
        left_s = deadline_s - self._monotonic()
        if left_s <= 0:
            raise TimeoutError
        sock.settimeout(left_s)


class _AnswerReader:
    """A response as it arrives: httptools' callbacks. The first that is not 100 Continue or its like counts.

    `known`: its status and headers are there. A body that is cut off, or without end, changes nothing about them, but
    the connection is not used again.
    """

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._body = bytearray()
        self._read = self._body_read = 0
        self.begun = False
        self.known = False
        self.known_s = 0.0
        self.complete = False
        self.keep = False
        self.status = 0
        self.headers: dict[str, str] = {}

    def feed(self, data: bytes, now_s: float) -> None:
        self.begun = True
        if not self.known:
            self.known_s = now_s
            self._read += len(data)
            if self._read > _HEAD_BYTES + _CHUNK_BYTES:
                raise OSError("the answer's headers have no end")
        self._parser.feed_data(data)

    def words(self) -> str:
        body = bytes(self._body)
        if self.headers.get("content-encoding", "").lower() in ("gzip", "deflate"):
            body = _decompressed(body)
        return body.decode(errors="backslashreplace")

    @property
    def ends_with_connection(self) -> bool:
        return self.known and "content-length" not in self.headers and "transfer-encoding" not in self.headers

    def on_message_begin(self) -> None:
        if self.complete:
            self.keep = False  # a second answer to one request

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.known:
            self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        if not self.known:
            self.status = self._parser.get_status_code()
            self.known = self.status >= 200
            if self.status in _BODILESS:  # whatever its headers say, and some versions of llhttp believe them
                self._complete()

    def on_body(self, data: bytes) -> None:
        if self.complete:
            self.keep = False
            return
        self._body += data[: _WORDS_BYTES - len(self._body)]
        self._body_read += len(data)
        self.complete = self._body_read > _BODY_BYTES

    def on_message_complete(self) -> None:
        if not self.known:
            self.headers.clear()
        elif not self.complete:
            self._complete()

    def _complete(self) -> None:
        self.complete = True
        self.keep = self._parser.should_keep_alive()


def _decompressed(body: bytes) -> bytes:
    """The beginning of a compressed body; what it is not is left as it is."""
    import zlib  # rarely needed

    try:
        return zlib.decompressobj(wbits=32 + zlib.MAX_WBITS).decompress(body, _WORDS_BYTES)
    except zlib.error:
        return body


def _what(error: Exception, *, sent: bool) -> str:
    """What has kept the answer from coming."""
    if isinstance(error, TimeoutError):
        return "no answer in time" if sent else "not connected in time"
    if isinstance(error, httptools.HttpParserUpgrade):
        return "not HTTP: it switches to another protocol"
    return _reason(error) if isinstance(error, OSError | ValueError) else f"not HTTP: {error}"


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)
