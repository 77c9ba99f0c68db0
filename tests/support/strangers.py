"""Clients that mean no good, each over a connection of its own: what they send, and what they must be told."""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Callable

from tests.support.waiting import DEADLINE_S

Address = tuple[str, int]
Attack = Callable[[Address, random.Random], None]


def address_of(url: str) -> Address:
    """Where http://HOST:PORT is."""
    host, _, port = url.partition("://")[2].rpartition(":")
    return host, int(port)


def connect(address: Address) -> socket.socket:
    return socket.create_connection(address, DEADLINE_S)


def send(sock: socket.socket, data: bytes) -> bool:
    """False once the server has had enough."""
    try:
        sock.sendall(data)
        return True
    except OSError:
        return False


def answer(sock: socket.socket) -> bytes:
    """The status line's beginning, or b"" for a close."""
    try:
        sock.settimeout(DEADLINE_S)
        return sock.recv(12)
    except OSError:
        return b""


def garbage(address: Address, rng: random.Random) -> None:
    with connect(address) as sock:
        send(sock, rng.randbytes(2000))
        assert answer(sock)[:9] in (b"HTTP/1.1 ", b"")


def tls_hello(address: Address, rng: random.Random) -> None:
    with connect(address) as sock:
        send(sock, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + rng.randbytes(300))
        assert answer(sock)[9:] in (b"400", b"")


def http2_preface(address: Address, rng: random.Random) -> None:
    with connect(address) as sock:
        send(sock, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert answer(sock)[9:] in (b"505", b"")


def large_post(address: Address, rng: random.Random) -> None:
    with connect(address) as sock:
        send(sock, b"POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20000000\r\n\r\n")
        for _ in range(20):
            if not send(sock, b"x" * 1_000_000):
                break
        assert answer(sock)[9:] in (b"413", b"")


def header_flood(address: Address, rng: random.Random) -> None:
    with connect(address) as sock:
        send(sock, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n")
        for i in range(100_000):
            if not send(sock, f"X-{i}: {i}\r\n".encode()):
                break
        assert answer(sock)[9:] in (b"431", b"")


def huge_header(address: Address, rng: random.Random) -> None:
    with connect(address) as sock:
        send(sock, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 1_000_000 + b"\r\n\r\n")
        assert answer(sock)[9:] in (b"431", b"")


def smuggler(address: Address, rng: random.Random) -> None:
    with connect(address) as sock:
        send(
            sock,
            b"POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"0\r\n\r\nG",
        )
        assert answer(sock)[9:] == b"400"


def bad_chunks(address: Address, rng: random.Random) -> None:
    with connect(address) as sock:
        send(sock, b"POST /api/v1/query HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
        assert answer(sock)[9:] in (b"400", b"405", b"404")


def half_request(address: Address, rng: random.Random) -> None:
    with connect(address) as sock:
        send(sock, b"GET /metrics HTTP/1.1\r\nHo")


def half_closed(address: Address, rng: random.Random) -> None:
    with connect(address) as sock:
        send(sock, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        sock.shutdown(socket.SHUT_WR)
        assert answer(sock)[9:] == b"200"


def resetter(address: Address, rng: random.Random) -> None:
    """Asks, and resets the connection instead of reading."""
    with connect(address) as sock:
        send(sock, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * rng.randint(1, 5))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def pipeliner(address: Address, rng: random.Random) -> None:
    with connect(address) as sock:
        send(sock, b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n" * 50)
        found = b""
        while found.count(b"HTTP/1.1 200") < 50:
            sock.settimeout(DEADLINE_S)
            piece = sock.recv(65536)
            assert piece
            found += piece


ATTACKS: tuple[Attack, ...] = (
    garbage,
    tls_hello,
    http2_preface,
    large_post,
    header_flood,
    huge_header,
    smuggler,
    bad_chunks,
    half_request,
    half_closed,
    resetter,
    pipeliner,
)
