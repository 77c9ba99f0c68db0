"""One receiver's connection, against peers that answer in every way that HTTP allows, and in some that it does not."""

from __future__ import annotations

import gzip
import socket
import ssl
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from prom_probe.config.remote_write import parse_destination
from prom_probe.remote.connection import ReceiverConnection, SendAnswer, SendError
from tests.support.fault_receiver import Fault, FaultReceiver
from tests.support.http_peer import Answer, Peer
from tests.support.sender_machine import destination_json
from tests.support.tls import Authority
from tests.support.waiting import DEADLINE_S

# Of tests in which nothing answers in time.
SHORT_S = 0.4

OK = b"HTTP/1.1 204 No Content\r\n\r\n"
NEXT = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext"


def connection(url: str, more: str = "") -> ReceiverConnection:
    return ReceiverConnection(parse_destination(destination_json(url, more)))


def post(to: ReceiverConnection, timeout_s: float = DEADLINE_S) -> SendAnswer:
    return to.post(b"body", {}, timeout_s)


def slowly(*parts: bytes) -> Answer:
    """The parts, each in a packet of its own."""

    def answer(sock: socket.socket, request: bytes) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in parts:
            sock.sendall(part)

    return answer


def reset_after(data: bytes) -> Answer:
    """The data, and then a reset in place of an end."""

    def answer(sock: socket.socket, request: bytes) -> None:
        sock.sendall(data)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return answer


def endless(head: bytes, part: bytes, pause_s: float = 0.0) -> Answer:
    """A head, and then the same again and again."""

    def answer(sock: socket.socket, request: bytes) -> None:
        sock.sendall(head)
        while True:
            sock.sendall(part)
            time.sleep(pause_s)

    return answer


def body(data: bytes, encoding: str) -> bytes:
    head = f"HTTP/1.1 400 Bad Request\r\nContent-Encoding: {encoding}\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode() + data


CHUNKED = b"HTTP/1.1 400 Bad Request\r\nTransfer-Encoding: chunked\r\n\r\n"
PLAIN = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 5\r\n\r\nwrong"

# By name: the answer, its status and words, and whether the connection is used again.
ANSWERS: dict[str, tuple[bytes | Answer, int, str, bool]] = {
    "a byte at a time": (slowly(*[PLAIN[i : i + 1] for i in range(len(PLAIN))]), 500, "wrong", False),
    "100 first": (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, 204, "", True),
    "103 with headers first": (b"HTTP/1.1 103 Early Hints\r\nRetry-After: 9\r\n\r\n" + OK, 204, "", True),
    "many of them": (b"HTTP/1.1 102 Processing\r\n\r\n" * 50 + PLAIN, 500, "wrong", True),
    "chunked": (CHUNKED + b"3\r\nout\r\n9;x=y\r\n of order\r\n0\r\nTrailer: x\r\n\r\n", 400, "out of order", True),
    "chunked, cut off": (slowly(CHUNKED + b"5\r\nwrong\r\n7\r\nx"), 400, "wrongx", False),
    "chunked, wrong": (CHUNKED + b"5\r\nwrong\r\nzz\r\n", 400, "wrong", False),
    "HTTP/1.0": (slowly(b"HTTP/1.0 400 Bad Request\r\n\r\nwrong"), 400, "wrong", False),
    "HTTP/1.0, kept": (
        b"HTTP/1.0 400 Bad\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nwrong",
        400,
        "wrong",
        True,
    ),
    "Connection: close": (b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", 204, "", False),
    "gzip": (body(gzip.compress(b"out of order"), "gzip"), 400, "out of order", True),
    "deflate": (body(zlib.compress(b"out of order"), "deflate"), 400, "out of order", True),
    "gzip, long": (body(gzip.compress(b"no " * 100_000), "gzip"), 400, ("no " * 342)[:1024], True),
    "gzip, but it is not": (body(b"wrong", "gzip"), 400, "wrong", True),
    "a huge body": (b"HTTP/1.1 500 Bad\r\nContent-Length: 9000000\r\n\r\n" + b"x" * 9_000_000, 500, "x" * 1024, False),
    "a body without end": (endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 1000), 200, "x" * 1024, False),
    "a body that stops": (endless(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", b"", 0.1), 200, "x", False),
    "a body that is cut off": (slowly(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"), 200, "x", False),
    "a reset behind it": (reset_after(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"), 200, "x", False),
    "204 with a body": (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nwrong", 204, "", False),
    "204 that says it has a body": (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", 204, "", True),
    "two answers": (OK + PLAIN, 204, "", False),
    "an upgrade": (
        b"HTTP/1.1 200 OK\r\nUpgrade: h2c\r\nConnection: upgrade\r\nContent-Length: 2\r\n\r\nok",
        200,
        "ok",
        True,
    ),
    "a redirect": (b"HTTP/1.1 308 Permanent\r\nLocation: /w\r\nContent-Length: 0\r\n\r\n", 308, "", True),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer(name: str) -> None:
    """Its status counts, whatever comes behind it; then the next request has its own answer."""
    answer, status, words, kept = ANSWERS[name]
    peer = Peer(answer, NEXT)
    to = connection(peer.url)
    try:
        found = post(to)
        assert (found.status, found.words, found.repeated) == (status, words, False)
        assert post(to).words == "next"
        assert peer.connections == (1 if kept else 2)
    finally:
        to.close()
        peer.close()


def test_an_answer_that_came_in_time_counts_although_it_is_looked_at_late() -> None:
    """A sender that gets no CPU for longer than its timeout must not send again what was taken."""
    answered, late = threading.Event(), threading.Event()

    def answer(sock: socket.socket, request: bytes) -> None:
        sock.sendall(OK)
        answered.set()

    def clock() -> float:
        if late.is_set() and answered.wait(0.1):
            return 1000.0
        return 0.0

    peer = Peer(NEXT, answer)
    to = ReceiverConnection(parse_destination(destination_json(peer.url, "")), clock)
    try:
        post(to)
        late.set()
        assert post(to).status == 204
    finally:
        to.close()
        peer.close()


# By name: what comes in place of an answer, and what the error says.
NO_ANSWERS: dict[str, tuple[bytes | Answer, str]] = {
    "nothing": (endless(b"", b"", 0.1), "no answer in time"),
    "half a head": (endless(b"HTTP/1.1 200 OK\r\nA: b", b"", 0.1), "no answer in time"),
    "a head without end": (endless(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n" * 1000), "no end"),
    "a header without end": (endless(b"HTTP/1.1 200 OK\r\nA: ", b"b" * 1000), "no end"),
    "100 without end": (endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100), "no end"),
    "100 and an end": (slowly(b"HTTP/1.1 100 Continue\r\n\r\n"), "closed without an answer"),
    "101": (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "another protocol"),
    "HTTP/2": (b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0d", "not HTTP"),
    "a mail server": (b"220 mail.example ESMTP\r\n", "not HTTP"),
    "half a status line": (slowly(b"HTTP/1.1 20"), "closed without an answer"),
    "a reset": (reset_after(b""), "reset"),
}


@pytest.mark.parametrize("name", NO_ANSWERS)
def test_no_answer(name: str) -> None:
    """An error in time that says what is wrong, and then the next request is answered."""
    answer, words = NO_ANSWERS[name]
    peer = Peer(answer, NEXT)
    to = connection(peer.url)
    try:
        with pytest.raises(SendError, match=words) as raised:
            post(to, SHORT_S if "in time" in words else DEADLINE_S)
        assert raised.value.sent
        assert post(to).words == "next"
    finally:
        to.close()
        peer.close()


@pytest.mark.parametrize("at_once", [True, False])
def test_what_comes_before_a_request_is_no_answer_to_it(at_once: bool) -> None:
    """Some servers say 408 on a connection that nobody uses, and close it; the request goes over another one."""
    answered, spoken = threading.Event(), threading.Event()

    def answer(sock: socket.socket, request: bytes) -> None:
        sock.sendall(NEXT)
        assert at_once or answered.wait(DEADLINE_S)
        sock.sendall(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        spoken.set()
        sock.recv(1)

    peer = Peer(answer, NEXT)
    to = connection(peer.url)
    try:
        assert post(to).status == 200
        answered.set()
        assert spoken.wait(DEADLINE_S)
        assert post(to).words == "next"
        assert peer.connections == 2
    finally:
        to.close()
        peer.close()


def test_an_answer_before_the_whole_request() -> None:
    """A receiver that says 413 at once, and closes: it is not taken for one that is not there."""
    large = b"x" * (32 << 20)

    def early(sock: socket.socket, request: bytes) -> None:
        sock.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    peer = Peer(early)
    to = connection(peer.url)
    try:
        assert to.post(large, {}, DEADLINE_S).status == 413
    finally:
        to.close()
        peer.close()


@pytest.mark.parametrize("host", ["[::1]", "127.0.0.1", "localhost"])
def test_hosts(host: str) -> None:
    """IPv4, IPv6, and a name that has both addresses, only one of which is listened at."""
    family = socket.AF_INET6 if host == "[::1]" else socket.AF_INET
    listener = socket.create_server(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0), family=family)
    port = listener.getsockname()[1]
    requests: list[bytes] = []

    def serve() -> None:
        sock, _ = listener.accept()
        with sock:
            requests.append(sock.recv(65536))
            sock.sendall(OK)

    threading.Thread(target=serve, daemon=True).start()
    to = connection(f"http://{host}:{port}/w")
    assert post(to).status == 204
    assert f"\r\nHost: {host}:{port}\r\n".encode() in requests[0]
    to.close()
    listener.close()


@pytest.mark.parametrize("host", ["a..b", "x" * 70, f"{'y.' * 200}z", ".example"])
def test_a_name_that_cannot_be_one(host: str) -> None:
    """Is a failure like any other, over TLS too."""
    for scheme in ("http", "https"):
        with pytest.raises(SendError):
            post(connection(f"{scheme}://{host}/w"))


def test_a_unix_socket_that_comes_back(tmp_path: Path) -> None:
    """Under the same name, once its server has been started again."""
    path = tmp_path / "receiver"
    to = connection(f"unix:{path}:/w")
    for _ in range(2):
        with pytest.raises(SendError, match="No such file"):
            post(to)
        with FaultReceiver([Fault(400), Fault(500, headers=(("Connection", "close"),))], unix=path):
            assert [post(to).status, post(to).status] == [400, 500]
        path.unlink()
    to.close()


@contextmanager
def tls_peer(folder: Path, talk: Callable[[ssl.SSLSocket], None]) -> Iterator[ReceiverConnection]:
    """A connection to a peer that has one connection after the other, over TLS."""
    Authority(folder).issue("server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.crt", folder / "server.key")
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                raw, _ = listener.accept()
            except OSError:
                return
            with context.wrap_socket(raw, server_side=True) as sock:
                talk(sock)

    threading.Thread(target=serve, daemon=True).start()
    ca = f', "tls_config": {{"ca_file": "{folder}/ca.crt"}}'
    to = connection(f"https://localhost:{listener.getsockname()[1]}/w", ca)
    yield to
    to.close()
    listener.close()


@pytest.mark.parametrize("notified", [False, True])
def test_the_end_of_tls(notified: bool, tmp_path: Path) -> None:
    """With and without close_notify: a body without length ends there, and the next request goes over a new one."""
    answers = [b"HTTP/1.1 400 Bad Request\r\n\r\nwrong", NEXT]

    def talk(sock: ssl.SSLSocket) -> None:
        sock.recv(65536)
        sock.sendall(answers.pop(0))
        if notified:
            with suppress(OSError):  # the client does not say that it has seen it
                sock.unwrap()

    with tls_peer(tmp_path, talk) as to:
        first = post(to)
        assert (first.status, first.words) == (400, "wrong")
        assert post(to).words == "next"


def test_a_tls_connection_is_kept(tmp_path: Path) -> None:
    """What TLS itself says between two answers is not taken for one, and a late 408 is not either."""
    connections: list[int] = []

    def talk(sock: ssl.SSLSocket) -> None:
        connections.append(0)
        while sock.recv(65536):
            connections[-1] += 1
            sock.sendall(NEXT + b"HTTP/1.1 408 Request Timeout\r\n\r\n" * (sum(connections) == 3))

    with tls_peer(tmp_path, talk) as to:
        assert [post(to).words for _ in range(5)] == ["next"] * 5
    assert connections == [3, 2]


def test_a_secret_with_a_line_break(tmp_path: Path) -> None:
    """Would be a header of its own; it is not shown."""
    token = tmp_path / "token"
    token.write_text("abc\r\nX-Other: 1\n")
    peer = Peer(OK)
    to = connection(peer.url, f', "authorization": {{"credentials_file": "{token}"}}')
    with pytest.raises(SendError, match="the header Authorization would have a control character") as raised:
        post(to)
    assert "abc" not in str(raised.value)
    assert not raised.value.sent
    peer.close()
