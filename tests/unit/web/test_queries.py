"""Running queries: on the loop or in threads, queued, timed out, dropped, streamed."""

from __future__ import annotations

import gzip
import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest

from prom_probe.model.feature import Feature
from prom_probe.model.labels import Labels, make_labels
from prom_probe.model.matcher import Matcher
from prom_probe.model.regex import RegexTimeout
from prom_probe.promql.limits import QueryLimits
from prom_probe.web.api.estimate import is_small
from prom_probe.web.http.limits import HttpLimits
from tests.support.waiting import DEADLINE_S
from tests.support.web_harness import NOW_MS, Client, FakeStore, Site, request, serving, stored, wait_for

LABELS = "/api/v1/labels"


class GatedStore(FakeStore):
    """A store whose `labels` look-ups wait at a gate; it seems large, so that they run in threads."""

    def __init__(self, look_up: Callable[[], list[str]] = lambda: ["a"]) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.entered = 0
        self.look_up = look_up

    def stats(self) -> Any:
        return SimpleNamespace(series=10_000, samples=0, bytes=0)

    def snapshot(self) -> Any:
        return self

    def label_names(self, *_: object, **__: object) -> list[str]:
        self.entered += 1
        assert self.gate.wait(DEADLINE_S)
        return self.look_up()


@pytest.fixture
def gated() -> Iterator[tuple[GatedStore, Site]]:
    """Two queries at once."""
    store = GatedStore()
    with serving(store, limits=QueryLimits(max_concurrency=2, alone_s=0)) as site:
        try:
            yield store, site
        finally:
            store.gate.set()


def asking(site: Site, count: int) -> list[Client]:
    """Connections that have each sent a query."""
    clients = [site.client() for _ in range(count)]
    for client in clients:
        client.send(request(LABELS))
    return clients


def waiting(site: Site) -> int:
    return len(site.app._queries._waiting)


def test_no_more_than_allowed_run_at_once(gated: tuple[GatedStore, Site]) -> None:
    """The others wait for their turn; everything else is answered meanwhile."""
    store, site = gated
    clients = asking(site, 5)
    wait_for(lambda: store.entered == 2 and waiting(site) == 3)
    assert site.ask("/metrics").status == 200
    assert site.ask("/api/v1/status/buildinfo").status == 200
    assert store.entered == 2
    store.gate.set()
    assert [client.read().json["data"] for client in clients] == [["a"]] * 5
    assert store.entered == 5


def test_a_query_has_no_other_beside_it_until_it_takes_long() -> None:
    """Of four that may run at once, the second begins when the first has been alone for its time, or has ended."""
    store = GatedStore()
    with serving(store, limits=QueryLimits(alone_s=DEADLINE_S)) as site:
        clients = asking(site, 3)
        wait_for(lambda: store.entered == 1 and waiting(site) == 2)
        store.gate.set()
        assert [client.read().status for client in clients] == [200] * 3
    store = GatedStore()
    with serving(store, limits=QueryLimits(alone_s=0.05)) as site:
        clients = asking(site, 5)
        wait_for(lambda: store.entered == 4 and waiting(site) == 1)
        store.gate.set()
        assert [client.read().status for client in clients] == [200] * 5


def test_a_query_that_waits_too_long_is_timed_out() -> None:
    """503, while those before it run on."""
    store = GatedStore()
    with serving(store, limits=QueryLimits(max_concurrency=1, timeout_s=0.2)) as site:
        first, second = asking(site, 2)
        reply = second.read()
        assert (reply.status, reply.json["errorType"]) == (503, "timeout")
        assert reply.json["error"] == "query timed out in query queue"
        store.gate.set()
        assert first.read().status == 200
        assert site.ask(LABELS).status == 200


def test_a_query_that_waited_is_answered() -> None:
    """Its timeout in the queue is cancelled once it has begun."""
    store = GatedStore()
    with serving(store, limits=QueryLimits(max_concurrency=1)) as site:
        clients = asking(site, 2)
        wait_for(lambda: waiting(site))
        timer = site.app._queries._waiting[0].timer
        store.gate.set()
        assert [client.read().status for client in clients] == [200, 200]
        assert timer is not None and timer.cancelled()


@pytest.mark.parametrize("how", ["close", "reset", "half"])
def test_no_work_for_a_client_that_left_the_queue(gated: tuple[GatedStore, Site], how: str) -> None:
    """A dashboard that was closed costs nothing."""
    store, site = gated
    clients = asking(site, 4)
    wait_for(lambda: waiting(site) == 2)
    if how == "half":
        clients[3].sock.shutdown(socket.SHUT_WR)
    else:
        if how == "reset":
            clients[3].sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        clients[3].close()
    wait_for(lambda: any(item.answer.cancelled() for item in site.app._queries._waiting))
    store.gate.set()
    assert [client.read().status for client in clients[:3]] == [200] * 3
    assert site.ask(LABELS).status == 200
    assert store.entered == 4  # the three and the one after them


def test_a_client_that_leaves_during_its_query_frees_the_place(gated: tuple[GatedStore, Site]) -> None:
    """The result is dropped."""
    store, site = gated
    for client in asking(site, 2):
        client.close()
    wait_for(lambda: store.entered == 2)
    store.gate.set()
    assert site.ask(LABELS).status == 200
    assert not site.logged


def test_a_half_closed_client_gets_the_answer_that_was_begun(gated: tuple[GatedStore, Site]) -> None:
    """It sends no more, and still reads."""
    store, site = gated
    (client,) = asking(site, 1)
    wait_for(lambda: store.entered == 1)
    client.sock.shutdown(socket.SHUT_WR)
    assert site.ask("/-/healthy").status == 200
    store.gate.set()
    assert client.read().json["data"] == ["a"]
    assert client.ended()


def test_pipelined_queries_are_answered_in_order(gated: tuple[GatedStore, Site]) -> None:
    """A quick answer waits for the slow one before it."""
    store, site = gated
    client = site.client()
    client.send(request(LABELS) + request("/-/healthy") + request(LABELS))
    wait_for(lambda: store.entered == 1)
    client.send(request("/-/healthy") * 3000)  # more than is read ahead
    store.gate.set()
    assert client.read().json["data"] == ["a"]
    assert client.read().text == "prom_probe is healthy.\n"
    assert client.read().json["data"] == ["a"]
    assert [client.read().status for _ in range(3000)] == [200] * 3000


def test_a_regex_past_its_deadline(gated: tuple[GatedStore, Site]) -> None:
    """It is a timeout like any other."""
    store, site = gated

    def late() -> list[str]:
        raise RegexTimeout

    store.look_up = late
    store.gate.set()
    reply = site.ask(LABELS)
    assert (reply.status, reply.json["errorType"]) == (503, "timeout")


def test_a_failure_in_a_thread_is_logged(gated: tuple[GatedStore, Site]) -> None:
    """500 `internal`, without details; the place is free again."""
    store, site = gated
    store.look_up = lambda: [{}["secret"]]  # type: ignore[index]
    store.gate.set()
    for _ in range(3):
        reply = site.ask(LABELS)
        assert (reply.status, reply.json["errorType"]) == (500, "internal")
        assert "secret" not in reply.text
    assert len(site.logged) == 3
    assert "KeyError: 'secret'" in site.logged[0]


@lru_cache(maxsize=2)
def _wide(count: int) -> list[Labels]:
    return [make_labels("m", {"i": str(i), "pad": "x" * 100}) for i in range(count)]


class WideStore(GatedStore):
    """A store with many long series; a test may put in one that cannot be encoded."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.found = list(_wide(count))
        self.gate.set()

    def series(self, *_: object, **__: object) -> list[Labels]:
        self.entered += 1
        assert self.gate.wait(DEADLINE_S)
        return self.found


SERIES = "/api/v1/series?match[]=m"


def test_a_large_answer_comes_in_pieces() -> None:
    """Chunked to HTTP/1.1, up to the end of the connection to 1.0; compressed if accepted; complete each time."""
    store = WideStore(20_000)
    with serving(store, limits=QueryLimits(max_concurrency=1)) as site:
        want = [dict(labels) for labels in sorted(store.found)]
        client = site.client()
        client.send(request(SERIES))
        reply = client.read()
        assert reply.headers["transfer-encoding"] == "chunked"
        assert reply.json["data"] == want
        client.send(request(SERIES, Accept_Encoding="gzip"))
        reply = client.read()
        assert (reply.headers["transfer-encoding"], reply.headers["content-encoding"]) == ("chunked", "gzip")
        assert json.loads(gzip.decompress(reply.body))["data"] == want
        client.send(b"GET " + SERIES.encode() + b" HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        reply = client.read()
        assert "transfer-encoding" not in reply.headers
        assert reply.json["data"] == want


def test_slow_readers_of_streams_block_nobody() -> None:
    """What they do not read is not made; meanwhile others get their turn."""
    store = WideStore(40_000)
    patient = HttpLimits(stall_s=600)
    with serving(store, http=patient, limits=QueryLimits(max_concurrency=1, timeout_s=600)) as site:
        clients = []
        for _ in range(3):
            clients.append(client := Client(site.address, receive_bytes=4096))
            client.send(request(SERIES))
            assert client.sock.recv(100)
        assert site.ask(SERIES + "&limit=1").status == 200
        assert not site.logged
        for client in clients:
            client.close()


def test_a_client_that_leaves_a_stream_frees_the_place() -> None:
    """At once."""
    with serving(WideStore(40_000), limits=QueryLimits(max_concurrency=1)) as site:
        for _ in range(3):
            client = site.client()
            client.send(request(SERIES))
            assert client.sock.recv(100)
            client.close()
        assert site.ask(SERIES + "&limit=1").status == 200


def test_a_client_that_leaves_before_its_stream_begins_frees_the_place() -> None:
    """What was made for it is dropped."""
    store = WideStore(20_000)
    with serving(store, limits=QueryLimits(max_concurrency=1)) as site:
        store.gate.clear()
        client = site.client()
        client.send(request(SERIES))
        wait_for(lambda: store.entered == 1)
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        wait_for(lambda: not site.call(lambda: site.server._listeners[0]._connections))
        store.gate.set()
        assert site.ask(SERIES + "&limit=1").status == 200


def test_a_stream_that_breaks_is_not_ended_properly() -> None:
    """The client sees that something is missing."""
    store = WideStore(20_000)
    store.found[-1] = (("z", "\ud800"),)  # sorts last, and cannot be encoded
    with serving(store, limits=QueryLimits(max_concurrency=1)) as site:
        client = site.client()
        client.send(request(SERIES))
        with pytest.raises(AssertionError, match="ended after"):
            client.read()
        wait_for(lambda: site.logged)
        assert "an answer was cut short: UnicodeEncodeError" in site.logged[0]
        assert site.ask(SERIES + "&limit=1").status == 200


class Counting:
    """A snapshot that only counts: `series` series, each with a sample per second."""

    def __init__(self, series: int) -> None:
        self.series = series

    def count(
        self, mint: int, maxt: int, matchers: Sequence[Matcher], *, deadline: float | None = None
    ) -> tuple[int, int]:
        return self.series, self.series * (maxt - mint) // 1000


@pytest.mark.parametrize(
    ("expr", "series", "range_s", "step_s", "small"),
    [
        ("1", 0, 0, 1, True),
        ("foo(", 10_000, 3600, 1, True),
        ("up", 1, 0, 1, True),
        ("up", 1, 3600, 15, True),
        ("up", 1, 7200, 1, False),
        ("rate(up[1m])", 1, 3600, 15, True),
        ("up", 1, 0, 1, True),
        ("up", 10_000, 0, 1, False),
        ("up", 100, 3600, 15, False),
        ("quantile_over_time(0.9, up[5m])", 5, 3600, 15, False),
        ("up[6h]", 1, 0, 1, False),
        ("up[5m]", 5, 0, 1, True),
        ("up[5m]", 30, 0, 1, False),
        ("(up[5m])", 30, 0, 1, False),
        ("max_over_time(up[5m])", 30, 0, 1, True),
        ("max_over_time(up[1m:1s])", 1, 0, 1, False),
        ("up @ 0", 10, 3600, 600, True),
        ("up @ 0", 100, 3600, 600, False),
        ("up @ end() offset -5m", 1, 3600, 15, True),
        ('up{a=~"b|c"}', 1, 0, 1, True),
        ('up{a=~"(b+)+$"}', 1, 0, 1, False),
        ('up{a!~".*x"}', 1, 0, 1, False),
        ('up{a=~".*"}', 1, 0, 1, True),
        ('up{a=~".+"}', 1, 0, 1, False),
        ('up{a!~".*"}', 1, 0, 1, False),
        ('label_replace(up, "a", "$1", "b", "(b+)+$")', 1, 0, 1, False),
        ("sum(up) / sum by (a) (-up > 1) + topk(2, up)", 1, 0, 1, True),
        ("up + up + up + up + up + up + up", 1, 60, 1, True),
        ("up + up + up + up + up + up + up", 1, 600, 1, False),
        ("1" + " + 1" * 199, 0, 0, 1, False),
        ("max_over_time(up[step()])", 1, 3600, 60, True),
        ("max_over_time(up[100 * step()])", 30, 3600, 600, False),
        ("max_over_time(up[range()])", 30, 3600, 600, False),
        ("up smoothed", 1, 0, 1, False),
        ("rate(up[1m] anchored)", 1, 0, 1, False),
    ],
)
def test_what_runs_on_the_loop(expr: str, series: int, range_s: int, step_s: int, small: bool) -> None:
    """Queries that read and make few values, including wrong ones."""
    snapshot: Any = Counting(series)
    assert (
        is_small(snapshot, expr, NOW_MS - range_s * 1000, NOW_MS, step_s * 1000, 300_000, frozenset(Feature)) is small
    )


def test_the_first_query_and_heavy_ones_leave_the_loop() -> None:
    """Loading the engine is slow; later small queries need no thread."""
    with serving(stored((make_labels("up"), [(NOW_MS, 1.0)]))) as site:
        threads: list[str] = []
        run = site.app._queries.run

        def spy(*args: Any, inline: bool, **more: Any) -> Any:
            threads.append("loop" if inline else "thread")
            return run(*args, inline=inline, **more)

        site.app._queries.run = spy  # type: ignore[method-assign]
        for query in ("up", "up", "max_over_time(up[1h:1s])"):
            assert site.ask(f"/api/v1/query?query={query}").json["data"]["result"]
        assert threads == ["thread", "loop", "thread"]
        assert sys.getswitchinterval() == pytest.approx(0.0005)


def test_hundreds_of_queries_at_once() -> None:
    """Each is answered, and a scrape among them too."""
    with serving(stored((make_labels("up"), [(NOW_MS - 1000 * i, 1.0) for i in range(60, -1, -1)]))) as site:
        clients = [site.client() for _ in range(200)]
        for i, client in enumerate(clients):
            client.send(request(f"/api/v1/query?query=sum_over_time(up[1m:1s])%2B{i}"))
        assert site.ask("/metrics").status == 200
        got = [client.read().json["data"]["result"][0]["value"][1] for client in clients]
        assert got == [str(60 + i) for i in range(200)]


@pytest.mark.parametrize("path", ["query?query=up", "query_range?start=0&end=9&step=1&query=up", "labels?match[]=up"])
def test_a_regex_that_would_take_forever(path: str) -> None:
    """Ends at the deadline."""
    labels = make_labels("up", {"x": "a" * 60 + "b"})
    with serving(stored((labels, [(1000, 1.0)]))) as site:
        assert site.ask("/api/v1/query?query=up").status == 200  # from now on small queries may run on the loop
        site.call(lambda: site.app.change(QueryLimits(timeout_s=0.3), ()))
        reply = site.ask(f"/api/v1/{path}" + quote('{x=~"(a|aa|aaa)+c?"}'))
        assert (reply.status, reply.json["errorType"]) == (503, "timeout")


def test_memory_goes_back_once_queries_have_ended(
    gated: tuple[GatedStore, Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not while one is running, and once for several in a row."""
    store, site = gated
    monkeypatch.setattr("prom_probe.web.api.queries._TRIM_S", 0.01)
    trimmed: list[int] = []
    monkeypatch.setattr("prom_probe.web.api.queries.trim_heap", lambda: trimmed.append(len(site.app._queries._running)))
    clients = asking(site, 2)
    wait_for(lambda: store.entered == 2)
    store.gate.set()
    assert [client.read().status for client in clients] == [200, 200]
    wait_for(lambda: trimmed)
    assert trimmed == [0]
