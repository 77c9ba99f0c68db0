"""The HTTP front over real sockets: framing, keep-alive, pipelining, HEAD, gzip, refusals, draining."""

from __future__ import annotations

import asyncio
import gzip
import socket
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from prom_probe.web.context import About
from prom_probe.web.http.limits import HttpLimits
from tests.support.waiting import DEADLINE_S
from tests.support.web_harness import Client, FakeStore, Site, request, rows, serving, wait_for


@pytest.fixture(scope="module")
def site() -> object:
    with serving(FakeStore(rows())) as running:
        yield running


METRICS = (
    b"# HELP proctree_resident_memory_bytes Resident memory.\n# TYPE proctree_resident_memory_bytes gauge\n"
    b'proctree_resident_memory_bytes{tree="t0"} 1\n'
)


def test_metrics(site: Site) -> None:
    """A plain scrape."""
    reply = site.ask("/metrics")
    assert (reply.status, reply.body) == (200, METRICS)
    assert reply.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert reply.headers["date"] == "Tue, 14 Nov 2023 22:13:20 GMT"


def test_keep_alive(site: Site) -> None:
    """Many requests on one connection, also from HTTP/1.0 when it asks."""
    client = site.client()
    for _ in range(3):
        client.send(request("/metrics"))
        assert client.read().body == METRICS
    client.send(b"GET /metrics HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert client.read().headers["connection"] == "keep-alive"
    client.send(b"GET /metrics HTTP/1.0\r\n\r\n")
    assert client.read().headers["connection"] == "close"
    assert client.ended()


def test_connection_close(site: Site) -> None:
    """The server closes when the client says so."""
    client = site.client()
    client.send(request("/metrics", Connection="close"))
    assert client.read().headers["connection"] == "close"
    assert client.ended()


def test_pipelining(site: Site) -> None:
    """Requests sent at once are answered in order, also when bytes trickle."""
    client = site.client()
    targets = ["/metrics", "/-/healthy", "/nope", "/-/ready"] * 20
    data = b"".join(request(target) for target in targets)
    client.send(data)
    assert [client.read().status for _ in targets] == [200, 200, 404, 200] * 20
    for i in range(200):
        client.send(data[i : i + 1])
    client.send(data[200:])
    assert [client.read().status for _ in targets] == [200, 200, 404, 200] * 20


def test_head(site: Site) -> None:
    """The header of a GET, without its body."""
    client = site.client()
    client.send(request("/metrics", method="HEAD") + request("/-/healthy"))
    reply = client.read("HEAD")
    assert (reply.status, reply.headers["content-length"]) == (200, str(len(METRICS)))
    assert client.read().text == "prom_probe is healthy.\n"


@pytest.mark.parametrize(("accept", "packed"), [("gzip", True), ("gzip;q=0", False), ("", False), ("*", True)])
def test_gzip_when_accepted(accept: str, packed: bool) -> None:
    """A body that is worth it is compressed if the client accepts that."""
    with serving(FakeStore(rows(100))) as site:
        plain = site.ask("/metrics").body
        reply = site.ask("/metrics", Accept_Encoding=accept)
        assert reply.headers.get("content-encoding") == ("gzip" if packed else None)
        assert (gzip.decompress(reply.body) if packed else reply.body) == plain
        assert (len(reply.body) < len(plain) / 3) == packed


def test_small_bodies_are_not_compressed(site: Site) -> None:
    """Compressing a few bytes makes them more."""
    assert "content-encoding" not in site.ask("/-/healthy", Accept_Encoding="gzip").headers


def test_a_body_in_chunks(site: Site) -> None:
    """A chunked POST is assembled; trailers change nothing."""
    client = site.client()
    client.send(
        b"POST /api/v1/labels HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
        b"Content-Type: application/x-www-form-urlencoded\r\n\r\n"
        b"5\r\nlimit\r\n3;x=y\r\n=-1\r\n0\r\nHost: evil\r\nHost: more\r\n\r\n"
    )
    reply = client.read()
    assert reply.status == 400
    assert "limit must be non-negative" in reply.text
    client.send(request("/-/healthy"))
    assert client.read().status == 200


def test_expect_continue(site: Site) -> None:
    """The client is told to continue before it sends the body."""
    client = site.client()
    head, _, body = request("/api/v1/labels", method="POST", body=b"limit=0", Expect="100-continue").partition(
        b"\r\n\r\n"
    )
    client.send(head + b"\r\n\r\n")
    assert client.read().status == 100
    client.send(body)
    assert client.read().status == 200


def test_an_upgrade_is_not_taken_up(site: Site) -> None:
    """h2c and websockets are answered in HTTP/1.1."""
    client = site.client()
    client.send(request("/-/healthy", Connection="Upgrade, HTTP2-Settings", Upgrade="h2c"))
    assert client.read().status == 200
    assert client.ended()


def test_absolute_targets(site: Site) -> None:
    """As a proxy sends them."""
    assert site.ask("http://localhost/-/healthy").status == 200
    assert site.ask("HTTP://localhost:80").status == 200
    assert site.ask("ftp://localhost/-/healthy").status == 404


ok = "GET / HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        ("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),  # TLS
        ("GET\r\n\r\n", 400),
        ("NOPE / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/9.9\r\nHost: a\r\n\r\n", 400),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        ("GET / HTTP/1.1\r\n\r\n", 400),  # no Host
        (ok + "Host: b\r\n\r\n", 400),
        (ok + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400),
        (ok + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400),
        (ok + "Content-Length: 5, 5\r\n\r\nhello", 400),
        (ok + "Content-Length: -5\r\n\r\n", 400),
        (ok + "Content-Length: +5\r\n\r\n", 400),
        (ok + "Content-Length: 0x5\r\n\r\n", 400),
        (ok + "Content-Length: 99999999999999999999999\r\n\r\n", 400),
        (ok + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (ok + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
        (ok + "Transfer-Encoding: gzip\r\n\r\n", 400),
        (ok + "Transfer-Encoding: chunked, gzip\r\n\r\n", 400),
        (ok + "Transfer-Encoding: xchunked\r\n\r\n", 400),
        (ok + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        (ok + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (ok + "Transfer-Encoding: chunked\r\n\r\n-1\r\n", 400),
        (ok + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", 400),
        (ok + "Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", 400),
        ("GET / HTTP/1.1\r\nHost : localhost\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHo\x00st: a\r\n\r\n", 400),
        (ok + "X: a\x00b\r\n\r\n", 400),
        (ok + "Content-Length: 1048577\r\n\r\n", 413),
        (ok + "Expect: 200-maybe\r\nContent-Length: 1\r\n\r\n", 417),
        ("GET /" + "a" * 8200 + " HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (ok + "X: " + "a" * 17_000 + "\r\n\r\n", 431),
        (ok + "X: y\r\n" * 101 + "\r\n", 431),
        (ok + "".join(f"X-{i}: {'v' * 1000}\r\n" for i in range(20)) + "\r\n", 431),
    ],
)
def test_refusals(site: Site, data: str, status: int) -> None:
    """An invalid request gets its status and the end of the connection, never a second answer."""
    client = site.client()
    client.send(data.encode("latin-1"))
    reply = client.read()
    assert (reply.status, reply.headers["connection"]) == (status, "close")
    assert "Traceback" not in reply.text
    client.sock.shutdown(socket.SHUT_WR)
    assert client.ended()
    assert not site.logged


def test_a_refusal_ends_what_the_server_sends() -> None:
    """The client sees the end at once, and may still be sending."""
    with serving(FakeStore(), http=HttpLimits(linger_s=60.0)) as site:
        client = site.client()
        client.send(b"nonsense\r\n\r\n")
        assert client.read().status == 400
        assert client.ended()
        for _ in range(200):
            client.send(b"x" * 65536)


def test_requests_before_a_bad_one_are_answered(site: Site) -> None:
    """Order is kept: the good answers first, then the refusal."""
    client = site.client()
    client.send(request("/-/healthy") + request("/metrics") + b"nonsense\r\n\r\n" + request("/-/ready"))
    assert [client.read().status for _ in range(3)] == [200, 200, 400]
    assert client.ended()


def test_a_large_post_reads_its_refusal(site: Site) -> None:
    """20 MB are refused; the client can still read why, whether it announced the size or not."""
    for head in (f"Content-Length: {20 << 20}", "Transfer-Encoding: chunked"):
        client = site.client()
        client.send(f"POST /api/v1/query HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n".encode())
        piece = b"x" * 65536 if "Length" in head else b"10000\r\n" + b"x" * 65536 + b"\r\n"
        try:
            for _ in range((20 << 20) // 65536):
                client.send(piece)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert client.read().status == 413


def test_incomplete_bodies_share_a_limit() -> None:
    """An incomplete large form leaves less room for others; small ones are always accepted."""
    head = request("/api/v1/labels", method="POST", body=b"x" * 1000)[:-1000]
    with serving(FakeStore(), http=HttpLimits(small_body_bytes=200, bodies_bytes=1100)) as site:
        begun, refused = site.client(), site.client()
        begun.send(head + b"x" * 700)
        wait_for(lambda: site.call(lambda: any(each.held_bytes for each in site.server._listeners[0]._connections)))
        refused.send(head + b"x" * 600)
        assert refused.read().status == 503
        assert site.post("/api/v1/labels", "limit=0").status == 200
        begun.send(b"x" * 300)
        assert begun.read().status == 200
        assert site.post("/api/v1/labels", "limit=0&" + "x" * 900).status == 200


CHUNKED = "POST /api/v1/query HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("head", "piece", "status"),
    [
        (CHUNKED, "1;" + "e" * 1000 + "\r\nx\r\n", 413),
        (CHUNKED + "1;", "e" * 1000, 413),
        (CHUNKED + "0\r\nTrailer: ", "t" * 1000, 413),
        ("GET / HTTP/1.1\r\nX: ", "v" * 1000, 431),
        ("GET / HTTP/1.1\r\n", "n" * 1000, 431),
        ("GET / HTTP/1.1\r\nX: ", "\r\n " * 1000, 400),
    ],
)  # fmt: skip
def test_what_never_ends_is_bounded(head: str, piece: str, status: int) -> None:
    """Framing must not cost much more than the body, and a header field must end."""
    with serving(FakeStore(), http=HttpLimits(body_bytes=10_000)) as site:
        client = site.client()
        client.send(head.encode())
        try:
            for _ in range(5000):
                client.send(piece.encode())
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert client.read().status == status


def test_half_closed(site: Site) -> None:
    """A client that has shut down its sending side gets all its answers."""
    client = site.client()
    client.send(request("/metrics") * 3)
    client.sock.shutdown(socket.SHUT_WR)
    assert [client.read().body for _ in range(3)] == [METRICS] * 3
    assert client.ended()


def test_half_closed_in_the_middle_of_a_request(site: Site) -> None:
    """Half a request is not answered."""
    client = site.client()
    client.send(request("/metrics")[:20])
    client.sock.shutdown(socket.SHUT_WR)
    assert client.ended()


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"", b""),
        (b"GET /metrics HTTP/1.1\r\nHost: loc", b"408 Request Timeout"),
        (b"POST /api/v1/query HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nquer", b"408 Request Timeout"),
    ],
)
def test_stalled_clients_are_ended(sent: bytes, answer: bytes) -> None:
    """No request in time, no end of the header, no end of the body."""
    with serving(FakeStore(), http=HttpLimits(header_s=0.1, body_s=0.1, idle_s=0.1, linger_s=0.1)) as site:
        client = site.client()
        client.send(sent)
        out = client.rest_of_it()
        assert (answer in out) if answer else not out


@pytest.mark.parametrize("body", [False, True])
def test_a_trickle_of_bytes_does_not_extend_the_deadline(body: bool) -> None:
    """The deadline is that of the whole header or body."""
    with serving(FakeStore(), http=HttpLimits(header_s=0.2, body_s=0.2, linger_s=0.1)) as site:
        client = site.client()
        client.send(
            request("/api/v1/query", method="POST", body=b"x" * 1000)[:-1000] if body else b"GET / HTTP/1.1\r\nX: "
        )
        client.sock.settimeout(0.02)
        out = b""
        end = time.monotonic() + DEADLINE_S
        while b"408" not in out and time.monotonic() < end:
            try:
                client.send(b"x")
                out += client.sock.recv(1000)
            except TimeoutError:
                continue
            except OSError:
                break
        assert b"408 Request Timeout" in out


def test_an_idle_connection_is_ended() -> None:
    """After an answer, a connection may wait, but not forever."""
    with serving(FakeStore(), http=HttpLimits(header_s=30.0, idle_s=0.1)) as site:
        client = site.client()
        client.send(request("/-/healthy"))
        assert client.read().status == 200
        assert client.ended()


def test_at_the_cap_the_one_without_a_request_for_longest_makes_room() -> None:
    """Idle connections do not lock others out."""
    with serving(FakeStore(), http=HttpLimits(connections=3)) as site:
        clients = [site.client() for _ in range(3)]
        for client in clients:
            client.send(request("/-/healthy"))
            assert client.read().status == 200
        clients[0].send(request("/-/healthy"))
        assert clients[0].read().status == 200
        site.ask("/-/healthy")
        assert clients[1].ended()
        for client in (clients[0], clients[2]):
            client.send(request("/-/healthy"))
            assert client.read().status == 200


def test_at_the_cap_with_all_of_them_busy_nobody_is_accepted() -> None:
    """The next client waits in the kernel's queue, the socket is not polled, and it is served once there is room."""
    begun: list[asyncio.Future[str]] = []

    def reload() -> asyncio.Future[str]:
        begun.append(asyncio.get_running_loop().create_future())
        return begun[-1]

    about = About({}, reload=reload)
    with serving(FakeStore(), http=HttpLimits(connections=2), about=about) as site:
        busy = [site.client() for _ in range(2)]
        for client in busy:
            client.send(request("/-/reload", method="POST"))
        wait_for(lambda: len(begun) == 2)
        waiting = site.client()
        waiting.send(request("/-/healthy"))
        wait_for(lambda: site.value("prom_probe_http_accept_pauses_total"))
        listener = site.server._listeners[0]
        assert site.call(lambda: listener._acceptor._sock.fileno() not in _polled(site))
        assert len(listener._connections) == 2 and len([line for line in site.logged if "are busy" in line]) == 1
        site.call(lambda: begun[0].set_result(""))
        assert busy[0].read().status == 200
        assert waiting.read().status == 200
        site.call(lambda: begun[1].set_result(""))
        assert busy[1].read().status == 200
        assert site.value("prom_probe_http_evicted_connections_total") == 1


def _polled(site: Site) -> Mapping[int, object]:
    """The descriptors that the server's loop waits for."""
    return site.loop._selector.get_map()  # type: ignore[attr-defined,no-any-return]


def test_a_flood_of_connections_does_not_stop_a_scrape() -> None:
    """Hundreds of silent connections, and every scrape is answered."""
    with serving(FakeStore(rows()), http=HttpLimits(connections=20)) as site:
        for _ in range(10):
            for _ in range(30):
                site.client().send(b"GET /metrics HT")
            assert site.ask("/metrics").body == METRICS


@pytest.mark.parametrize("limits", [HttpLimits(stall_s=0.2), HttpLimits(answer_s=0.2)])
def test_a_slow_reader_is_cut_off(limits: HttpLimits) -> None:
    """A client that does not read its answer, or reads too slowly, is disconnected, and blocks nobody."""
    with serving(FakeStore(rows(20_000)), http=limits) as site:
        client = slow_reader(site)
        client.send(request("/metrics") * 50)
        wait_for(lambda: site.value("prom_probe_http_requests_total", handler="/metrics", code="200"))
        assert site.ask("/-/healthy").status == 200
        wait_for(lambda: not site.call(lambda: site.server._listeners[0]._connections))
        assert site.value("prom_probe_http_requests_total", handler="/metrics", code="200") < 50
        with pytest.raises(ConnectionResetError):  # what it did not take is not kept for it
            while client.sock.recv(65536):
                pass


def slow_reader(site: Site) -> Client:
    """A connection whose client has a tiny receive buffer."""
    client = Client(site.address, receive_bytes=4096)
    site.clients.append(client)
    return client


def test_a_flood_of_slow_readers_does_not_stop_a_scrape() -> None:
    """A client that reads nothing makes room too."""
    with serving(FakeStore(rows(20_000)), http=HttpLimits(connections=5)) as site:
        for _ in range(5):
            slow_reader(site).send(request("/metrics"))
        wait_for(lambda: site.value("prom_probe_http_requests_total", handler="/metrics", code="200") == 5)
        assert site.ask("/-/healthy").status == 200


def test_draining_ends_idle_connections_and_finishes_answers() -> None:
    """The socket and idle connections are closed; an answer in progress is finished."""
    with serving(FakeStore(rows(20_000))) as site:
        idle, busy = site.client(), site.client()
        idle.send(request("/-/healthy"))
        assert idle.read().status == 200
        busy.send(request("/metrics"))
        wait_for(lambda: site.value("prom_probe_http_requests_total", handler="/metrics", code="200"))
        done = site.call(lambda: __import__("asyncio").ensure_future(site.server.drain(60.0)))
        assert idle.ended()
        assert busy.read().body.count(b"\n") == 20_002
        assert busy.ended()
        wait_for(done.done)
        with pytest.raises(OSError):
            site.client()


def test_unix_socket(tmp_path: Path) -> None:
    """Served in the same way, with any Host."""
    with serving(FakeStore(), unix=tmp_path / "api.sock") as site:
        assert site.ask("/api/v1/status/buildinfo", Host="whatever").status == 200


def test_the_web_listener_has_no_api() -> None:
    """The web listener does not serve what shows every PID's command."""
    with serving(FakeStore(rows()), api=False) as site:
        for target in ("/api/v1/query?query=1", "/federate", "/api/v1/status/flags"):
            assert site.ask(target).status == 404
        for target in ("/", "/metrics", "/-/healthy", "/-/ready"):
            assert site.ask(target, Host="any.name").status == 200


@pytest.mark.parametrize(
    ("target", "method", "status", "body", "allow"),
    [
        ("/nope", "GET", 404, "404 page not found\n", None),
        ("/api/v1/nope", "POST", 404, "404 page not found\n", None),
        ("/metrics/", "GET", 404, "404 page not found\n", None),
        ("/api/v1/label//values", "GET", 404, "404 page not found\n", None),
        ("/metrics", "POST", 405, "Method Not Allowed\n", "GET, HEAD"),
        ("/api/v1/status/buildinfo", "POST", 405, "Method Not Allowed\n", "GET, OPTIONS"),
        ("/api/v1/query", "DELETE", 405, "Method Not Allowed\n", "GET, OPTIONS, POST"),
        ("/api/v1/query", "OPTIONS", 204, "", None),
    ],
)
def test_unknown_paths_and_methods(
    site: Site, target: str, method: str, status: int, body: str, allow: str | None
) -> None:
    """In plain text, as Prometheus does."""
    reply = site.ask(target, method=method)
    assert (reply.status, reply.text, reply.headers.get("allow")) == (status, body, allow)


def test_requests_are_counted_by_route() -> None:
    """A path that a client made up makes no series."""
    with serving(FakeStore(rows())) as site:
        for target in ("/metrics", "/metrics", "/x/1", "/x/2", "/api/v1/label/job/values", "/api/v1/query?time=x"):
            site.ask(target)
        client = site.client()
        client.send(b"garbage\r\n\r\n")
        client.read()
        name = "prom_probe_http_requests_total"
        assert site.value(name, handler="/metrics", code="200") == 2
        assert site.value(name, handler="none", code="404") == 2
        assert site.value(name, handler="none", code="400") == 1
        assert site.value(name, handler="/api/v1/label/:name/values", code="200") == 1
        assert site.value(name, handler="/api/v1/query", code="400") == 1
        assert site.value("prom_probe_scrape_duration_seconds_count") == 2


def test_ready_only_when_it_is() -> None:
    """503 until the first samples are stored; healthy all the time."""
    is_ready = [False]
    with serving(FakeStore(), about=About({}, ready=lambda: is_ready[0])) as site:
        assert (site.ask("/-/ready").status, site.ask("/-/healthy").status) == (503, 200)
        is_ready[0] = True
        assert site.ask("/-/ready").status == 200


def test_a_bug_is_a_500_and_a_line_in_the_log() -> None:
    """The client learns no details, and the next request is answered."""
    store = FakeStore(rows())
    with serving(store) as site:
        good, store.rows = store.rows, None  # type: ignore[assignment]
        client = site.client()
        client.send(request("/metrics"))
        reply = client.read()
        assert (reply.status, reply.text) == (500, "Internal Server Error\n")
        assert "answering /metrics failed: TypeError" in site.logged[0]
        assert "text.py" in site.logged[0]
        store.rows = good
        client.send(request("/metrics"))
        assert client.read().body == METRICS


def test_http_2_without_asking() -> None:
    """A clear answer, and the end of the connection."""
    with serving() as site:
        client = site.client()
        client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9))
        reply = client.read()
        assert (reply.status, reply.text) == (505, "505 HTTP Version Not Supported: only HTTP/1.1 is spoken here\n")
        assert client.ended()


@pytest.mark.parametrize(
    ("free", "listeners"), [(12, 2), (30, 2), (100, 3), (1000, 2), (1_000_000, 2), (0, 1), (50, 0)]
)
def test_connections_follow_the_descriptors(free: int, listeners: int) -> None:
    """All listeners' connections fit into what is free, if that is enough for one of each."""
    limits = HttpLimits().fitted(listeners, free)
    most = HttpLimits()
    assert 1 <= limits.connections <= most.connections
    if free >= 20:
        assert listeners * limits.connections <= free - 8
    if free >= 10_000:
        assert limits == most
