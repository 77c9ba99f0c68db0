"""Pages over HTTP: whole, within a deadline and a size, whatever the peer does."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from prom_probe.sources.http_page import Endpoint, HttpPage, Page, PageAccess, PageError, check_redirect, parse_endpoint
from tests.support.http_peer import Answer, Peer
from tests.support.waiting import DEADLINE_S

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
MAX = 1000


@pytest.fixture
def peer() -> Iterator[Callable[..., Peer]]:
    """A maker of peers, which end with the test."""
    peers: list[Peer] = []

    def make(*answers: bytes | Answer) -> Peer:
        peers.append(Peer(*answers))
        return peers[-1]

    yield make
    for one in peers:
        one.close()


def sized(body: bytes, *headers: bytes) -> bytes:
    return b"".join([OK, *(header + b"\r\n" for header in headers), b"Content-Length: %d\r\n\r\n" % len(body), body])


def read(url: str, timeout_s: float = 10.0) -> Page:
    with closing(HttpPage(parse_endpoint(url), {"Accept": "x"}, MAX)) as page:
        return page.read(timeout_s)


def flood(sock: socket.socket, request: bytes) -> None:
    sock.sendall(OK + b"Content-Length: 100000000\r\n\r\n")
    for _ in range(1000):
        sock.sendall(bytes(100_000))


def flood_chunks(sock: socket.socket, request: bytes) -> None:
    sock.sendall(OK + b"Transfer-Encoding: chunked\r\n\r\n")
    for _ in range(1000):
        sock.sendall(b"186a0\r\n" + bytes(100_000) + b"\r\n")


def flood_headers(sock: socket.socket, request: bytes) -> None:
    sock.sendall(OK)
    for i in range(100_000):
        sock.sendall(b"X-%d: y\r\n" % i)


def drip(sock: socket.socket, request: bytes) -> None:
    for byte in sized(bytes(100)):
        sock.sendall(bytes([byte]))
        time.sleep(0.02)


def until_closed(sock: socket.socket, request: bytes) -> None:
    sock.sendall(OK + b"\r\nabc")


def silence(sock: socket.socket, request: bytes) -> None:
    sock.recv(1)


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (sized(b"abc"), b"abc"),
        (sized(b""), b""),
        (sized(bytes(MAX)), bytes(MAX)),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", b"abc"),
        (sized(gzip.compress(b"abc"), b"Content-Encoding: gzip"), b"abc"),
        (sized(b"abc", b"Content-Encoding:"), b"abc"),
        (sized(b"abc", b"Content-Encoding: identity"), b"abc"),
        (sized(gzip.compress(b"ab") + gzip.compress(b"c"), b"content-encoding: GZIP"), b"abc"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + sized(b"abc"), b"abc"),
        (until_closed, b"abc"),
    ],
)
def test_a_page_comes_whole(answer: bytes | Answer, body: bytes, peer: Callable[..., Peer]) -> None:
    """Counted, in chunks, compressed, or ended by the connection's end."""
    assert read(peer(answer).url) == Page(body, "text/plain")


@pytest.mark.parametrize(
    ("answer", "reason", "text"),
    [
        (sized(bytes(MAX + 1)), "size", "more than 1000 bytes"),
        (sized(gzip.compress(bytes(50_000_000)), b"Content-Encoding: gzip"), "size", "more than 1000 bytes"),
        (flood, "size", "more than 1000 bytes"),
        (flood_chunks, "size", "more than 1000 bytes"),
        (flood_headers, "size", "headers have no end"),
        (b"HTTP/1.1 500 Oh No\r\nContent-Length: 0\r\n\r\n", "http", "the status is 500 Oh No"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "http", "204"),
        (b"SSH-2.0-OpenSSH\r\n", "http", "not HTTP"),
        (b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", "http", "another protocol"),
        (sized(b"abc", b"Content-Encoding: br"), "http", "'br' was not asked for"),
        (sized(b"abc", b"Content-Encoding: gzip"), "http", "damaged"),
        (sized(gzip.compress(b"abc")[:-4], b"Content-Encoding: gzip"), "http", "cut off"),
        (lambda sock, request: sock.sendall(sized(b"abc")[:-1]), "http", "closed before"),
        (lambda sock, request: sock.sendall(OK[:20]), "http", "closed before"),
        (lambda sock, request: None, "http", "closed before"),
        (b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", "http", "more than 5 redirects"),
        (b"HTTP/1.1 302 Found\r\nLocation: ftp://x/\r\nContent-Length: 0\r\n\r\n", "http", "redirect to nowhere"),
        (
            b"HTTP/1.1 302 Found\r\nLocation: unix:/run/x.sock\r\nContent-Length: 0\r\n\r\n",
            "http",
            "redirect to a Unix socket",
        ),
        (b"HTTP/1.1 302 Found\r\nLocation: http://a..b/\r\nContent-Length: 0\r\n\r\n", "connect", "not a host name"),
        (b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", "http", "302"),
    ],
)
def test_what_is_no_page_says_why(answer: bytes | Answer, reason: str, text: str, peer: Callable[..., Peer]) -> None:
    """A reason that is counted, a text that is logged."""
    with pytest.raises(PageError, match=text) as error:
        read(peer(answer).url)
    assert error.value.reason == reason


@pytest.mark.parametrize("answer", [drip, silence])
def test_a_page_that_does_not_come_in_time_is_given_up(answer: Answer, peer: Callable[..., Peer]) -> None:
    """The deadline is for the whole page, however it trickles in."""
    with pytest.raises(PageError, match="deadline") as error:
        read(peer(answer).url, 0.3)
    assert error.value.reason == "timeout"


def test_a_connection_is_kept_and_replaced_when_it_has_ended(peer: Callable[..., Peer]) -> None:
    """Two pages over one; after the peer has closed it, another, without a failure."""

    def last(sock: socket.socket, request: bytes) -> None:
        sock.sendall(sized(b"2"))  # and closes

    one = peer(sized(b"1"), last, sized(b"3"))
    with closing(HttpPage(parse_endpoint(one.url), {"Accept": "x"}, MAX)) as page:
        assert [page.read(10).body for _ in range(3)] == [b"1", b"2", b"3"]
    assert one.connections == 2
    head = one.requests[0].decode().split("\r\n")
    assert head[0] == "GET /metrics?a=b HTTP/1.1"
    assert {"Accept: x", "X-Prometheus-Scrape-Timeout-Seconds: 10", f"Host: {one.url.split('/')[2]}"} <= set(head)


def test_what_nobody_asked_for_is_no_page(peer: Callable[..., Peer]) -> None:
    """Some servers say 408 on a connection that nobody uses: behind the page, or later."""
    answered, spoken = threading.Event(), threading.Event()
    idle = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 2\r\n\r\nno"

    def later(sock: socket.socket, request: bytes) -> None:
        sock.sendall(sized(b"2"))
        assert answered.wait(DEADLINE_S)
        sock.sendall(idle)
        spoken.set()
        sock.recv(1)

    one = peer(sized(b"1") + idle, later, sized(b"3") + b"junk")
    with closing(HttpPage(parse_endpoint(one.url), {}, MAX)) as page:
        assert [page.read(10).body for _ in range(2)] == [b"1", b"2"]
        answered.set()
        assert spoken.wait(DEADLINE_S)
        assert [page.read(10).body for _ in range(2)] == [b"3", b"3"]
    assert one.connections == 4


def test_redirects_are_followed(peer: Callable[..., Peer]) -> None:
    """Within a host and to another one."""
    other = peer(sized(b"abc"))
    away = b"HTTP/1.1 307 X\r\nLocation: " + other.url.encode() + b"\r\nContent-Length: 0\r\n\r\n"
    one = peer(b"HTTP/1.1 301 X\r\nLocation: b%20c?d\r\nContent-Length: 0\r\n\r\n", away)
    assert read(one.url).body == b"abc"
    assert one.requests[1].startswith(b"GET /b%20c?d HTTP/1.1\r\n")


def test_a_password_stays_with_its_server(peer: Callable[..., Peer]) -> None:
    """A redirect within the server takes the Authorization header along, one to another port does not."""
    other = peer(sized(b"abc"))
    away = b"HTTP/1.1 307 X\r\nLocation: " + other.url.encode() + b"\r\nContent-Length: 0\r\n\r\n"
    one = peer(b"HTTP/1.1 301 X\r\nLocation: b\r\nContent-Length: 0\r\n\r\n", away)
    access = PageAccess(lambda: [("Authorization", "Basic eDp5")])
    with closing(HttpPage(parse_endpoint(one.url), {}, MAX, access)) as page:
        assert page.read(10).body == b"abc"
    assert [b"Basic eDp5" in request for request in [*one.requests, *other.requests]] == [True, True, False]


@pytest.mark.parametrize(
    ("address", "target", "kind"),
    [
        ("127.0.0.1", "10.1.2.3", "loopback"),
        ("127.9.9.9", "10.1.2.3", "loopback"),
        ("::1", "10.1.2.3", "loopback"),
        ("::ffff:127.0.0.1", "10.1.2.3", "loopback"),
        ("0.0.0.0", "10.1.2.3", "loopback"),
        ("::", "2001:db8::1", "loopback"),
        ("169.254.169.254", "10.1.2.3", "link-local"),
        ("169.254.169.254", "127.0.0.1", "link-local"),
        ("169.254.169.254", "169.254.1.1", "link-local"),
        ("::ffff:169.254.169.254", "10.1.2.3", "link-local"),
        ("fe80::1%2", "10.1.2.3", "link-local"),
        ("127.0.0.1", "127.0.0.2", ""),
        ("::1", "127.0.0.1", ""),
        ("169.254.1.1", "169.254.1.1", ""),
        ("10.1.2.4", "127.0.0.1", ""),
        ("192.168.0.1", "10.1.2.3", ""),
    ],
)
def test_where_a_redirect_may_lead(address: str, target: str, kind: str) -> None:
    """Not to services that trust whoever can reach them, unless the target is there itself."""
    endpoint = parse_endpoint("http://somewhere:80/")
    if not kind:
        check_redirect(endpoint, address, target)
        return
    with pytest.raises(PageError, match=f"a redirect to somewhere:80, a {kind} address"):
        check_redirect(endpoint, address, target)


@pytest.mark.parametrize("location", ["http://169.254.169.254/latest/meta-data/", "http://[fe80::1%251]/x"])
def test_a_redirect_to_a_link_local_address_is_not_followed(location: str, peer: Callable[..., Peer]) -> None:
    """A failed scrape; nothing is connected to, so that the test ends at once."""
    one = peer(f"HTTP/1.1 302 X\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode())
    with pytest.raises(PageError) as error:
        read(one.url)
    assert error.value.reason in ("http", "connect")
    assert "link-local" in str(error.value) or "fe80" in location


def test_nobody_there() -> None:
    """A port where nobody listens, a name that nobody has, a socket that is not there."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for url in (f"http://127.0.0.1:{port}", "http://no-such-host.invalid", "unix:/no/such/socket"):
        with pytest.raises(PageError) as error:
            read(url)
        assert error.value.reason == "connect"


@pytest.mark.parametrize(
    ("url", "endpoint", "instance"),
    [
        ("http://a:80/metrics", Endpoint("http", "a", 80, "", "/metrics"), "a:80"),
        ("http://a", Endpoint("http", "a", 80, "", "/metrics"), "a:80"),
        ("https://a", Endpoint("https", "a", 443, "", "/metrics"), "a:443"),
        ("https://[::1]:9/x?y#z", Endpoint("https", "::1", 9, "", "/x?y"), "[::1]:9"),
        ("http://a?y", Endpoint("http", "a", 80, "", "/?y"), "a:80"),
        ("http://a/", Endpoint("http", "a", 80, "", "/"), "a:80"),
        ("unix:/run/a.sock", Endpoint("unix", "", 0, "/run/a.sock", "/metrics"), "/run/a.sock"),
        ("unix:/run/a.sock:/m?x", Endpoint("unix", "", 0, "/run/a.sock", "/m?x"), "/run/a.sock"),
    ],
)
def test_urls(url: str, endpoint: Endpoint, instance: str) -> None:
    """The port that is meant, the page that is usual."""
    assert parse_endpoint(url) == endpoint
    assert endpoint.instance == instance


@pytest.mark.parametrize(
    "url", ["", "a:1", "ftp://a", "http://", "http://a:0", "http://a:65536", "http://u@a", "unix:"]
)
def test_what_is_no_url(url: str) -> None:
    """Refused with the text."""
    with pytest.raises(ValueError, match="not http://"):
        parse_endpoint(url)
