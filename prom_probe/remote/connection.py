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
from prom_probe.config.http_credentials import ClientTls, authorization_header, basic_header
from prom_probe.config.remote_write import Destination

_URL = re.compile(
    r"(?P<scheme>https?)://(?:(?P<user>[^/?#@]*)@)?(?:\[(?P<v6>[^\]]+)\]|(?P<host>[^:/?#]+))(?::(?P<port>[0-9]+))?"
    r"(?P<resource>[/?].*)?"
)
_UNPRINTABLE = re.compile(r"[^!-~]")

_CHUNK_BYTES = 16 << 10
# Of an answer's head, and of what is kept of its body: receivers say there what was wrong.
_HEAD_BYTES = 64 << 10
_WORDS_BYTES = 1024

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
        except (OSError, UnicodeDecodeError) as error:
            raise SendError(_reason(error), sent=False) from None
        if self._monotonic() - self._used_s > _IDLE_S:
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
                self._sock.sendall(head + body)
                self._read(self._sock, reader, deadline_s)
            except TimeoutError:
                self.close()
                raise SendError("no answer in time" if sent else "not connected in time", sent=sent) from None
            except (OSError, httptools.HttpParserError) as error:
                self.close()
                if kept and not reader.begun and isinstance(error, OSError):
                    kept, repeated = False, True
                    continue
                what = f"not HTTP: {error}" if isinstance(error, httptools.HttpParserError) else _reason(error)
                raise SendError(what, sent=sent) from None
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
        sock = socket.create_connection((address.host, address.port), max(0.001, deadline_s - self._monotonic()))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not address.tls:
            return sock
        try:
            self._left(sock, deadline_s)
            name = self._destination.tls_config.server_name or address.host
            return self._tls.get().wrap_socket(sock, server_hostname=name)
        except OSError:
            sock.close()
            raise

    def _read(self, sock: socket.socket, reader: _AnswerReader, deadline_s: float) -> None:
        while not reader.complete:
            self._left(sock, deadline_s)
            data = sock.recv(_CHUNK_BYTES)
            if not data:
                if reader.ends_with_connection:
                    reader.keep = False
                    return
                raise ConnectionResetError("the connection was closed without an answer")
            reader.feed(data)

    def _left(self, sock: socket.socket, deadline_s: float) -> None:
        """Give the next call on `sock` the time that is left; raises TimeoutError if there is none."""
        left_s = deadline_s - self._monotonic()
        if left_s <= 0:
            raise TimeoutError
        sock.settimeout(left_s)


class _AnswerReader:
    """A response as it arrives: httptools' callbacks."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._body = bytearray()
        self._read = 0
        self._in_body = False
        self.begun = False
        self.complete = False
        self.keep = True
        self.status = 0
        self.headers: dict[str, str] = {}

    def feed(self, data: bytes) -> None:
        self.begun = True
        if not self._in_body:
            self._read += len(data)
            if self._read > _HEAD_BYTES + _CHUNK_BYTES:
                raise OSError("the answer's headers have no end")
        self._parser.feed_data(data)

    def words(self) -> str:
        return self._body.decode(errors="backslashreplace")

    @property
    def ends_with_connection(self) -> bool:
        return self._in_body and "content-length" not in self.headers and "transfer-encoding" not in self.headers

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        self._in_body = self.status >= 200

    def on_body(self, data: bytes) -> None:
        self._body += data[: _WORDS_BYTES - len(self._body)]

    def on_message_complete(self) -> None:
        if self._in_body:
            self.complete = True
            self.keep = self._parser.should_keep_alive()
        else:  # 100 Continue and its like
            self.headers.clear()


def _reason(error: OSError | UnicodeDecodeError) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)
