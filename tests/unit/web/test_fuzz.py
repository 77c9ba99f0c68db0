"""Bytes that no client should send: whatever they are, there is an answer or an end, and the server is as before."""

from __future__ import annotations

import gc
import socket
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from prom_probe.web.http.protocol import Connection
from tests.support.web_harness import Site, request, serving, wait_for

# What requests are made of, well and badly.
PIECES = [
    b"GET / HTTP/1.1\r\n",
    b"GET /metrics?collect[]=%zz&name[]=\xff HTTP/1.1\r\n",
    b"HEAD /metrics HTTP/1.0\r\n",
    b"POST /api/v1/query HTTP/1.1\r\n",
    b"OPTIONS /api/v1/labels HTTP/1.1\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"Host: localhost\r\n",
    b"Host: evil.example\r\n",
    b"Origin: null\r\n",
    b"Accept: application/openmetrics-text;q=1;;=,\r\n",
    b"Accept-Encoding: gzip;q=\r\n",
    b"Content-Type: application/x-www-form-urlencoded\r\n",
    b"Content-Length: 3\r\n",
    b"Content-Length: 99999999999999999999\r\n",
    b"Content-Length: 1048577\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: identity\r\n",
    b"Expect: 100-continue\r\n",
    b"Connection: upgrade\r\nUpgrade: h2c\r\n",
    b"Connection: close\r\n",
    b"X-Prometheus-Scrape-Timeout-Seconds: nan\r\n",
    b" folded\r\n",
    b"\r\n",
    b"\n",
    b"\r",
    b"abc",
    b"query=1",
    b"3\r\nabc\r\n",
    b"3;x=\x00\r\nabc\r\n",
    b"0\r\n\r\n",
    b"0\r\nHost: evil\r\n\r\n",
    b"ffffffffffffffff\r\n",
    b"\x00",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b": ",
    b"%",
]

# Bytes that went wrong somewhere once, in one server or another.
SEEDS = [
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 3\r\n\r\nabc",
    b"GET / HTTP/1.1\nHost: a\n\n",
    b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
    b"GET http://[ HTTP/1.1\r\nHost: [\r\n\r\n",
    b"GET //// HTTP/1.1\r\nHost: \r\n\r\n",
    b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n\x16\x03\x01",
    b"GET /api/v1/label/%ff%00/values HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /api/v1/query?query=%F0%9F%98%80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with serving() as running:
        yield running


def abuse(site: Site, data: bytes, cuts: list[int]) -> bytes:
    """The answer to `data`, sent in pieces that end at `cuts`."""
    client = site.client()
    before = 0
    try:
        for cut in (*sorted(cut for cut in cuts if cut < len(data)), len(data)):
            client.send(data[before:cut])
            before = cut
        client.sock.shutdown(socket.SHUT_WR)
    except OSError:
        pass
    out = client.rest_of_it()
    client.close()
    site.clients.remove(client)
    return out


def check(site: Site, data: bytes, cuts: list[int]) -> None:
    """An answer or an end; no traceback, no line in the log, nothing left behind."""
    out = abuse(site, data, cuts)
    assert not out or out.startswith(b"HTTP/1.1 ")
    assert b"Traceback" not in out
    assert b"HTTP/1.1 500 " not in out
    assert not site.logged
    assert site.ask("/-/healthy").status == 200
    wait_for(lambda: not site.server._listeners[0]._connections)


@pytest.mark.parametrize("data", SEEDS)
def test_seeds(site: Site, data: bytes) -> None:
    """At once, and byte by byte."""
    check(site, data, [])
    check(site, data, list(range(len(data))))


def test_no_request_is_smuggled(site: Site) -> None:
    """Where length and chunks contradict each other, what follows is not taken for a request."""
    inner = b"GET /-/ready HTTP/1.1\r\nHost: a\r\n\r\n"
    for fields in (
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        b"Content-Length: 0\r\nContent-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        b"Transfer-Encoding: x, chunked\r\nContent-Length: 0\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    ):
        out = abuse(site, b"GET /-/healthy HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n0\r\n\r\n" + inner, [])
        assert b"is ready" not in out, fields
        assert out.count(b"HTTP/1.1 ") == 1, fields


@settings(
    max_examples=120,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    st.one_of(st.binary(max_size=200), st.lists(st.sampled_from(PIECES), max_size=14).map(b"".join)),
    st.lists(st.integers(1, 400), max_size=4),
)
@example(request("/metrics") * 20, [3, 50, 51])
@example(request("/api/v1/query?query=1", method="POST", body=b"query=2") * 3, [10, 95, 120])
def test_any_bytes_end_in_answers_or_in_silence(site: Site, data: bytes, cuts: list[int]) -> None:
    """Whatever comes, in whatever pieces."""
    check(site, data, cuts)


def test_nothing_grows(site: Site) -> None:
    """A connection leaves nothing behind, however it ended."""
    for data in SEEDS * 5:
        abuse(site, data, [])
    wait_for(lambda: not site.server._listeners[0]._connections)
    gc.collect()
    ours = site.server._listeners
    assert not [each for each in gc.get_objects() if isinstance(each, Connection) and each._owner in ours]
