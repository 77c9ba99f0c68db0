"""Reads a page over HTTP, within a deadline and a size limit, and keeps the connection."""

from __future__ import annotations

import re
import socket
import time
import zlib
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urljoin

import httptools

from prom_probe.client_connection import HostConnector, has_spoken

if TYPE_CHECKING:
    import ssl

_URL = re.compile(r"(https?)://(?:\[([^\[\]/?#]+)\]|([^:/?#@\[\]]+))(?::([0-9]{1,5}))?([/?][^#]*)?(?:#.*)?", re.DOTALL)
_UNPRINTABLE = re.compile(r"[^!-~]")

_CHUNK_BYTES = 64 << 10
_HEAD_BYTES = 64 << 10  # of a status line and headers
_REDIRECTS = 5
_REDIRECT_STATUS = (301, 302, 303, 307, 308)


class PageError(Exception):
    """The page could not be read; `reason` is "connect", "tls", "timeout", "http", "size" or "credentials"."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Endpoint(NamedTuple):
    """Where a page is: at a host and port, or behind the Unix socket `path`."""

    scheme: str  # "http", "https" or "unix"
    host: str
    port: int
    path: str
    resource: str  # the page's path and query

    @property
    def instance(self) -> str:
        """`host:port`, or the socket's path."""
        if self.path:
            return self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Page(NamedTuple):
    """The decompressed body, and the Content-Type header ("" where there was none)."""

    body: bytes
    content_type: str


def parse_endpoint(url: str) -> Endpoint:
    """The endpoint of `http://HOST[:PORT][/PAGE]`, the same with https, or `unix:PATH[:/PAGE]`; PAGE is /metrics.

    Raises ValueError for anything else.
    """
    if url.startswith("unix:") and len(url) > 5:
        path, colon, page = url[5:].rpartition(":/")
        return (
            Endpoint("unix", "", 0, path, f"/{page}")
            if colon and path
            else Endpoint("unix", "", 0, url[5:], "/metrics")
        )
    match = _URL.fullmatch(url)
    port = int(match[4] or (443 if match[1] == "https" else 80)) if match is not None else -1
    if match is None or not 0 < port < 65536:
        raise ValueError(f"not http://HOST:PORT/PAGE, https://HOST:PORT/PAGE or unix:PATH:/PAGE: {url!r}")
    resource = match[5] or "/metrics"
    return Endpoint(match[1], match[2] or match[3], port, "", resource if resource[0] == "/" else f"/{resource}")


def _default_tls() -> ssl.SSLContext:
    import ssl  # 4 MB

    return ssl.create_default_context()


class PageAccess:
    """What a target asks for, and how it is recognised.

    `secret_headers` go to the target alone, not to where it redirects; they are asked for with each request.
    `tls_context` is asked for with each connection. Both may raise OSError or UnicodeDecodeError.
    """

    def __init__(
        self,
        secret_headers: Callable[[], Sequence[tuple[str, str]]] = lambda: (),
        tls_context: Callable[[], ssl.SSLContext] | None = None,
        server_name: str = "",
        *,
        follow_redirects: bool = True,
    ) -> None:
        self.secret_headers = secret_headers
        self.tls_context = tls_context if tls_context is not None else cache(_default_tls)
        self.server_name = server_name
        self.follow_redirects = follow_redirects


class HttpPage:
    """One endpoint's page. Not thread-safe. The connection is kept between two readings."""

    def __init__(
        self,
        endpoint: Endpoint,
        headers: dict[str, str],
        max_bytes: int,
        access: PageAccess | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`max_bytes` limits the decompressed body; `headers` are sent with every request."""
        self._endpoint = endpoint
        self._headers = dict(headers)
        self._max_bytes = max_bytes
        self._access = access if access is not None else PageAccess()
        self._monotonic = monotonic
        self._connector = HostConnector(monotonic)
        self._sock: socket.socket | None = None
        self._peer: tuple[str, str, int, str] | None = None  # the endpoint that the connection is to
        self._address = ""  # the target's own, as it was connected to

    def read(self, timeout_s: float) -> Page:
        """The whole page, within `timeout_s`; follows a few redirects. Raises PageError."""
        deadline_s = self._monotonic() + timeout_s
        self._headers["X-Prometheus-Scrape-Timeout-Seconds"] = f"{timeout_s:g}"
        endpoint = self._endpoint
        for redirects in range(_REDIRECTS + 1):
            answer = self._ask(endpoint, deadline_s, redirected=bool(redirects))
            if answer.status == 200:
                return Page(answer.body(), answer.headers.get("content-type", ""))
            location = answer.headers.get("location")
            if answer.status not in _REDIRECT_STATUS or location is None or not self._access.follow_redirects:
                raise PageError("http", f"the status is {answer.status} {answer.phrase}".rstrip())
            endpoint = _follow(endpoint, location)
        raise PageError("http", f"more than {_REDIRECTS} redirects")

    def close(self) -> None:
        """Close the connection."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def _ask(self, endpoint: Endpoint, deadline_s: float, *, redirected: bool) -> _Answer:
        """Send a request and read the whole answer; if the peer has closed the kept connection, on a new one."""
        while True:
            kept = self._sock is not None and self._peer == endpoint[:4] and not has_spoken(self._sock)
            answer = _Answer(self._max_bytes)
            try:
                if not kept:
                    self.close()
                    self._sock, self._peer = self._connect(endpoint, deadline_s, redirected), endpoint[:4]
                self._exchange(endpoint, answer, deadline_s)
            except TimeoutError:
                self.close()
                raise PageError("timeout", "the deadline passed before the page was complete") from None
            except _Closed:
                self.close()
                if kept and not answer.begun:
                    continue
                raise PageError("http", "the connection was closed before the page was complete") from None
            except OSError as error:
                self.close()
                if kept and not answer.begun:
                    continue
                raise PageError("connect", error.strerror or str(error)) from None
            except httptools.HttpParserError as error:
                self.close()
                # What `_Answer` raises in a callback comes as the parser error's context.
                cause = error.__context__
                raise cause if isinstance(cause, PageError) else PageError("http", f"not HTTP: {error}") from None
            except httptools.HttpParserUpgrade:
                self.close()
                raise PageError("http", "not HTTP: it switches to another protocol") from None
            except PageError:
                self.close()
                raise
            if not answer.keep:
                self.close()
            return answer

    def _exchange(self, endpoint: Endpoint, answer: _Answer, deadline_s: float) -> None:
        sock = self._sock
        assert sock is not None
        host = "localhost" if endpoint.path else endpoint.instance
        head = [("Host", host), *self._headers.items()]
        if endpoint[:4] == self._endpoint[:4]:  # a server must not send a password elsewhere
            head += self._secret_headers()
        lines = [f"GET {_quoted(endpoint.resource)} HTTP/1.1", *(f"{name}: {value}" for name, value in head)]
        self._left(sock, deadline_s)
        sock.sendall("\r\n".join([*lines, "\r\n"]).encode())
        while not answer.complete:
            self._left(sock, deadline_s)
            data = sock.recv(_CHUNK_BYTES)
            if not data:
                if answer.ends_with_connection:
                    answer.keep = False
                    return
                raise _Closed
            answer.feed(data)

    def _secret_headers(self) -> Sequence[tuple[str, str]]:
        try:
            return self._access.secret_headers()
        except (OSError, UnicodeDecodeError) as error:
            raise PageError("credentials", _reason(error)) from None

    def _left(self, sock: socket.socket, deadline_s: float) -> None:
        """Give the next call on `sock` the time that is left; raises TimeoutError if there is none."""
        left_s = deadline_s - self._monotonic()
        if left_s <= 0:
            raise TimeoutError
        sock.settimeout(left_s)

    def _connect(self, endpoint: Endpoint, deadline_s: float, redirected: bool) -> socket.socket:
        if endpoint.path:
            return self._connect_to(endpoint.path, deadline_s)

        def admit(address: str) -> None:
            if redirected:
                check_redirect(endpoint, address, self._address)

        sock = self._connector.connect(endpoint.host, endpoint.port, deadline_s, admit)
        if not redirected:
            self._address = str(sock.getpeername()[0])
        return sock if endpoint.scheme == "http" else self._secured(sock, endpoint.host, deadline_s)

    def _connect_to(self, path: str, deadline_s: float) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._left(sock, deadline_s)
            sock.connect(path)
        except OSError:
            sock.close()
            raise
        return sock

    def _secured(self, sock: socket.socket, host: str, deadline_s: float) -> socket.socket:
        import ssl

        try:
            context = self._access.tls_context()
        except (OSError, UnicodeDecodeError) as error:
            sock.close()
            raise PageError("credentials", _reason(error)) from None
        try:
            self._left(sock, deadline_s)
            return context.wrap_socket(sock, server_hostname=self._access.server_name or host)
        except ssl.SSLCertVerificationError as error:
            sock.close()
            raise PageError("tls", f"its certificate is not trusted: {error.verify_message or error.reason}") from None
        except ssl.SSLError as error:
            sock.close()
            raise PageError("tls", f"no TLS connection: {error.reason or error}") from None
        except OSError:
            sock.close()
            raise


def _reason(error: OSError | UnicodeDecodeError) -> str:
    """What is wrong with a file of a secret, by its name."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


class _Closed(Exception):
    """The peer has closed the connection."""


class _Answer:
    """An HTTP response as it arrives: httptools' callbacks, the body's size limit and decompression."""

    def __init__(self, max_bytes: int) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._max_bytes = max_bytes
        self._parts: list[bytes] = []
        self._size = 0
        self._head_bytes = 0
        self._gzip: zlib._Decompress | None = None
        self._in_body = False
        self.begun = False
        self.complete = False
        self.keep = True
        self.status = 0
        self.phrase = ""
        self.headers: dict[str, str] = {}

    def feed(self, data: bytes) -> None:
        self.begun = True
        if not self._in_body:
            self._head_bytes += len(data)
            if self._head_bytes > _HEAD_BYTES + _CHUNK_BYTES:
                raise PageError("size", "the headers have no end")
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            if not self.complete:
                raise
            self.keep = False  # something came behind the whole answer

    def body(self) -> bytes:
        if self._gzip is not None and not self._gzip.eof:
            raise PageError("http", "the compressed body is cut off")
        return b"".join(self._parts)

    @property
    def ends_with_connection(self) -> bool:
        """Whether the end of the connection is the end of the body, as it has no length and no chunks."""
        return self._in_body and "content-length" not in self.headers and "transfer-encoding" not in self.headers

    def on_message_begin(self) -> None:
        if self.complete:
            raise PageError("http", "a second answer to one request")

    def on_status(self, status: bytes) -> None:
        self.phrase += status.decode("ascii", "replace")

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        if self.status < 200:
            return
        self._in_body = True
        encoding = self.headers.get("content-encoding", "").strip().lower() or "identity"
        if encoding == "gzip":
            self._gzip = zlib.decompressobj(wbits=31)
        elif encoding != "identity":
            raise PageError("http", f"Content-Encoding {encoding!r} was not asked for")

    def on_body(self, data: bytes) -> None:
        if self._gzip is None:
            self._add(data)
            return
        while data:
            if self._gzip.eof:  # another gzip member follows
                self._gzip = zlib.decompressobj(wbits=31)
            try:
                self._add(self._gzip.decompress(data, self._max_bytes - self._size + 1))
            except zlib.error as error:
                raise PageError("http", f"the compressed body is damaged: {error}") from None
            data = self._gzip.unused_data or self._gzip.unconsumed_tail

    def _add(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._max_bytes:
            raise PageError("size", f"the body has more than {self._max_bytes} bytes")
        self._parts.append(data)

    def on_message_complete(self) -> None:
        if self.status >= 200:
            self.complete = True
            self.keep = self._parser.should_keep_alive()
        else:
            self.headers.clear()
            self.phrase = ""


def _follow(endpoint: Endpoint, location: str) -> Endpoint:
    """The endpoint that a redirect leads to."""
    if endpoint.path:
        if not location.startswith("/"):
            raise PageError("http", f"a redirect from a Unix socket to {_shown(location)!r}")
        return endpoint._replace(resource=location)
    try:
        led = parse_endpoint(urljoin(f"{endpoint.scheme}://{endpoint.instance}{endpoint.resource}", location))
    except ValueError:
        raise PageError("http", f"a redirect to nowhere: {_shown(location)!r}") from None
    if led.path:  # a server must not make us connect to this machine's sockets
        raise PageError("http", f"a redirect to a Unix socket: {_shown(location)!r}")
    return led


def check_redirect(endpoint: Endpoint, address: str, target: str) -> None:
    """Raise PageError if a target elsewhere leads to loopback, or to a link-local address that is not the target's.

    `address` and `target` are the IP addresses of the redirect and the target. Services there trust whoever can reach
    them: a cloud's metadata among them, at 169.254.169.254.
    """
    kind = _kind_of(address)
    if kind and address != target and (kind == "link-local" or _kind_of(target) != kind):
        raise PageError(
            "http", f"a redirect to {endpoint.instance}, a {kind} address; if that is meant, scrape it directly"
        )


def _kind_of(address: str) -> str:
    """ "loopback", "link-local", or "" for any other address."""
    from ipaddress import IPv6Address, ip_address  # rarely needed

    found = ip_address(address.partition("%")[0])
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    if found.is_loopback or found.is_unspecified:
        return "loopback"
    return "link-local" if found.is_link_local else ""


def _shown(location: str) -> str:
    """A URL without its user and its query, which may be secret."""
    return re.sub(r"//.*@", "//", location).partition("?")[0]


def _quoted(resource: str) -> str:
    """`resource`, percent-encoding what a request line must not contain."""
    return _UNPRINTABLE.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), resource)
