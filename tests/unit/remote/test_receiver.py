"""`POST /api/v1/write`: what is stored, what is refused and why, and what a client can make us hold."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prom_probe.config.error import ConfigError
from prom_probe.config.sources import make_config
from prom_probe.model.labels import Labels, make_labels
from prom_probe.model.sample import STALE
from prom_probe.remote import receiver, write_request
from prom_probe.remote.receiver import Receiver
from prom_probe.run.preflight import check_remote
from prom_probe.tsdb.store import AppendOutcome, Store, StoreOptions
from prom_probe.web.api.remote_write import store as store_body
from prom_probe.web.http.limits import HttpLimits
from prom_probe.web.http.message import Response
from tests.support.web_harness import NOW_MS, NOW_S, Reply, Site, request, serving, wait_for
from tests.support.write_tools import HEADERS, Sample, field, message, pack, series, varint

WRITE = "/api/v1/write"
UP = make_labels("up", {"job": "a"})
X = make_labels("x_total", {"job": "b"})


class Notebook:
    """A store that takes everything and remembers it."""

    def __init__(self) -> None:
        self.samples: list[tuple[Labels, int, bytes]] = []
        self.rejected: Counter[str] = Counter()
        self.settled = 0
        self.on_append: Callable[[], None] = lambda: None

    def append(self, labels: Labels, t_ms: int, value: float) -> AppendOutcome:
        self.on_append()
        self.samples.append((labels, t_ms, struct.pack("<d", value)))
        return AppendOutcome.APPENDED

    def reject(self, reason: str, samples: int) -> None:
        self.rejected[reason] += samples

    def settle(self) -> bool:
        self.settled += 1
        return self.settled % 3 != 0


def new_store(max_series: int = 10_000, retention_ms: int = 6 * 3_600_000) -> Store:
    """A store whose present is NOW."""
    store = Store(StoreOptions(max_series=max_series, retention_ms=retention_ms))
    store.maintain(NOW_MS)
    return store


@pytest.fixture
def site() -> Iterator[Site]:
    with serving(new_store(), remote_write=True) as running:
        yield running


def write(site: Site, data: bytes, **headers: str) -> Reply:
    """The answer to a request of these bytes, compressed."""
    return site.ask(WRITE, method="POST", body=pack(data), **{**HEADERS, **headers})


def stored(site: Site, expr: str) -> list[tuple[dict[str, str], list[tuple[float, str]]]]:
    """The series of a range selector, by our own API."""
    result = site.post("/api/v1/query", f"query={expr}&time={NOW_S}").json["data"]["result"]
    return [(one["metric"], [(t, v) for t, v in one["values"]]) for one in result]


def received(store: Notebook | Store, *bodies: bytes) -> list[Response]:
    """The answers of a receiver to bodies that come at once."""

    async def answers() -> list[Response]:
        taker = Receiver(store, lambda level, text: pytest.fail(text))
        return list(await asyncio.gather(*[store_body(taker, body) for body in bodies]))

    return asyncio.run(answers())


def test_what_is_written_can_be_queried(site: Site) -> None:
    """Two requests, several series, the second with the first's last sample again."""
    first = message((UP, [(NOW_MS - 3000, 1.0), (NOW_MS - 2000, 0.0)]), (X, [(NOW_MS - 2000, 2.5)]))
    second = message((UP, [(NOW_MS - 2000, 0.0), (NOW_MS - 1000, 1.0)]), (X, [(NOW_MS - 1000, 3.5)]))
    for data in (first, second):
        reply = write(site, data)
        assert (reply.status, reply.body) == (204, b"")
    assert stored(site, "up[1m]") == [(dict(UP), [(NOW_S - 3, "1"), (NOW_S - 2, "0"), (NOW_S - 1, "1")])]
    assert stored(site, "x_total[1m]") == [(dict(X), [(NOW_S - 2, "2.5"), (NOW_S - 1, "3.5")])]
    assert site.value("prom_probe_http_requests_total", handler=WRITE, code="204") == 2
    assert site.store.stats().rejected == {"duplicate": 1}


def test_an_empty_request_is_stored(site: Site) -> None:
    """So are metadata and series without samples: there is nothing to lose."""
    for data in (b"", field(3, b"\x08\x01\x12\x02up"), series(UP, [])):
        assert write(site, data).status == 204


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(-(1 << 62), 1 << 62), st.integers(0, (1 << 64) - 1)), max_size=5))
def test_values_go_through_bit_by_bit(samples: list[tuple[int, int]]) -> None:
    """Staleness markers and NaN payloads too."""
    samples.append((NOW_MS, struct.unpack("<Q", struct.pack("<d", STALE))[0]))
    wanted = [(UP, t_ms, bits.to_bytes(8, "little")) for t_ms, bits in samples if bits & ~(1 << 63)]
    data = message((UP, [(t_ms, struct.unpack("<d", raw)[0]) for _, t_ms, raw in wanted]))
    store = Notebook()
    assert [answer.status for answer in received(store, pack(data))] == [204]
    assert store.samples == wanted


def test_the_sender_waits_until_its_samples_are_sealed() -> None:
    """A fast sender cannot fill the memory with unsealed samples."""
    store = Notebook()
    assert [answer.status for answer in received(store, pack(message((UP, [(NOW_MS, 1.0)]))))] == [204]
    assert store.settled == 3


PROTO = "application/x-protobuf"


@pytest.mark.parametrize(
    ("headers", "status", "reason"),
    [
        ({}, 204, ""),
        ({"Content_Type": f"{PROTO};proto=prometheus.WriteRequest"}, 204, ""),
        ({"Content_Type": 'Application/X-Protobuf; charset=x; proto="prometheus.WriteRequest"'}, 204, ""),
        ({"Content_Type": "", "Content_Encoding": ""}, 204, ""),
        ({"Content_Encoding": "Snappy"}, 204, ""),
        (
            {"Content_Type": f"{PROTO};proto=io.prometheus.write.v2.Request"},
            415,
            "protobuf message 'io.prometheus.write.v2.Request' is not accepted here, only prometheus.WriteRequest",
        ),
        ({"Content_Type": f"{PROTO};proto="}, 415, "protobuf message ''"),
        ({"Content_Type": "application/json"}, 415, "content type 'application/json' is not accepted"),
        ({"Content_Type": ";"}, 415, "content type ';' is not accepted"),
        ({"Content_Encoding": "gzip"}, 415, "content encoding 'gzip' is not accepted here, only snappy"),
        ({"Content_Encoding": "zstd"}, 415, "content encoding 'zstd'"),
        ({"Content_Encoding": "snappy, gzip"}, 415, "content encoding 'snappy, gzip'"),
    ],
)
def test_types_and_encodings(site: Site, headers: dict[str, str], status: int, reason: str) -> None:
    """Remote write 2.0 and anything that is not 1.0 in snappy is 415; missing headers are taken for the right ones."""
    reply = write(site, message((UP, [(NOW_MS, 1.0)])), **headers)
    assert reply.status == status
    assert reason in reply.text
    assert site.store.stats().samples == (status == 204)


@pytest.mark.parametrize(
    ("remote_write", "api", "method", "status", "text"),
    [
        (False, True, "POST", 404, "remote write receiver needs to be enabled with --web.enable-remote-write-receiver"),
        (True, False, "POST", 404, "404 page not found"),
        (True, True, "GET", 405, "Method Not Allowed"),
        (True, True, "OPTIONS", 405, "Method Not Allowed"),
    ],
)
def test_only_where_it_is_switched_on(remote_write: bool, api: bool, method: str, status: int, text: str) -> None:
    """On API listeners, by POST."""
    with serving(new_store(), remote_write=remote_write, api=api) as site:
        reply = site.ask(WRITE, method=method, body=pack(message((UP, [(NOW_MS, 1.0)]))), **HEADERS)
        assert (reply.status, reply.text) == (status, text + "\n")
        assert not site.store.stats().samples


def test_a_page_in_a_browser_cannot_write(site: Site) -> None:
    """A foreign Origin is refused, with a type or without."""
    for headers in (HEADERS, {}):
        reply = site.ask(WRITE, method="POST", body=pack(b""), **{**headers, "Origin": "http://evil.example"})
        assert reply.status == 403


def test_what_can_be_stored_is_and_the_rest_is_reported() -> None:
    """400 with each reason, how often, and the first sample of each; the counters agree."""
    with serving(new_store(max_series=2, retention_ms=3_600_000), remote_write=True) as site:
        assert write(site, message((UP, [(NOW_MS - 5000, 1.0)]), (X, [(NOW_MS - 5000, 1.0)]))).status == 204
        odd = make_labels("up", {"line": "a\nb"})
        data = message(
            (UP, [(NOW_MS - 6000, 2.0), (NOW_MS - 5000, 2.0), (NOW_MS - 5000, 1.0), (NOW_MS - 4000, 4.0)]),
            (X, [(NOW_MS - 7000, 2.0), (NOW_MS - 86_400_000, 2.0), (NOW_MS - 3000, 9.0)]),
            (odd, [(NOW_MS, 1.0)]),
            ((("a", "1"),), [(NOW_MS, 1.0), (NOW_MS, 2.0)]),
        )
        data += field(1, series(UP, [])[2:] + field(4, b""))
        reply = write(site, data)
        assert reply.status == 400
        assert reply.text == (
            "8 of 11 samples are not stored: "
            '2 malformed (first: no metric name: {a="1"}); '
            '1 native histograms, which are not supported (first: up{job="a"}); '
            f'2 out of order (first: up{{job="a"}} at {NOW_MS - 6000} ms); '
            f'1 with another value at a stored timestamp (first: up{{job="a"}} at {NOW_MS - 5000} ms); '
            f'1 older than the retention (first: x_total{{job="b"}} at {NOW_MS - 86_400_000} ms); '
            f'1 of new series beyond the limit (first: up{{line="a\\nb"}} at {NOW_MS} ms)\n'
        )
        assert stored(site, "up[1m]") == [(dict(UP), [(NOW_S - 5, "1"), (NOW_S - 4, "4")])]
        assert stored(site, "x_total[1m]") == [(dict(X), [(NOW_S - 5, "1"), (NOW_S - 3, "9")])]
        assert site.store.stats().rejected == {
            "malformed": 2,
            "histogram": 1,
            "out_of_order": 2,
            "conflict": 1,
            "too_old": 1,
            "series_limit": 1,
            "duplicate": 1,
        }


def test_the_account_is_one_line_of_a_sensible_length() -> None:
    """Senders put it into their logs."""
    labels = (("a\n\r\tb", "x" * 1000),)
    (answer,) = received(new_store(), pack(message((labels, [(NOW_MS, 1.0)]))))
    text = answer.body.decode()
    assert answer.status == 400
    assert text.startswith('1 of 1 samples are not stored: 1 malformed (first: no metric name: {a b="xxx')
    assert text.count("\n") == 1
    assert len(text) < 400


BROKEN = pack(message((UP, [(NOW_MS, 1.0)])) * 5)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    st.one_of(
        st.binary(max_size=100),
        st.tuples(st.integers(0, len(BROKEN) - 1), st.integers(1, 255)).map(
            lambda flip: BROKEN[: flip[0]] + bytes([BROKEN[flip[0]] ^ flip[1]]) + BROKEN[flip[0] + 1 :]
        ),
        st.integers(0, len(BROKEN) - 1).map(lambda end: BROKEN[:end]),
        st.binary(max_size=100).map(pack),
    )
)
def test_any_body_is_answered(body: bytes) -> None:
    """204 or 400 with a reason, never anything else."""
    store = Notebook()
    (answer,) = received(store, body)
    assert answer.status in (204, 400)
    if answer.status == 400:
        text = answer.body.decode()
        assert "not usable" in text or "nothing of it is stored" in text or "are not stored" in text
        assert not store.samples or "nothing of it" not in text


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "the body is not in snappy's block format: snappy: corrupt input (empty)"),
        (b"\xff\x06\x00\x00sNaPpY", "the body is not in snappy's block format"),
        (varint(33 << 20) + b"abc", "34603008 bytes decompressed, more than 33554432"),
        (varint((1 << 32) - 1) + b"abc", "4294967295 bytes decompressed, more than 33554432"),
        (pack(b"\x0a\x05abc"), "at byte 0: field 1 goes 2 bytes beyond the end of its message"),
    ],
)
def test_unusable_bodies(site: Site, body: bytes, reason: str) -> None:
    """400 with the fault; a size that is too large is refused before anything is decompressed."""
    reply = site.ask(WRITE, method="POST", body=body, **HEADERS)
    assert reply.status == 400
    assert reply.text.startswith(f"not a usable remote write request, nothing of it is stored: {reason}")


def test_limits_of_a_request(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request over a limit is refused as a whole."""
    monkeypatch.setattr(write_request, "MAX_SAMPLES", 3)
    reply = write(site, message((UP, [(NOW_MS + i, 1.0) for i in range(4)])))
    assert (reply.status, reply.text.partition(": ")[2]) == (400, "more than 3 samples\n")
    assert site.store.stats().samples == 0


MANY = message(*[(make_labels("many", {"i": str(i)}), [(NOW_MS, float(i))]) for i in range(2000)])


def test_a_large_request_is_decoded_in_a_thread(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """And stored as any other; a small one is decoded on the loop."""
    threads = []

    def noted(body: bytes) -> memoryview:
        threads.append(threading.current_thread())
        return unpack(body)

    unpack = receiver.decompress
    monkeypatch.setattr(receiver, "decompress", noted)
    assert write(site, MANY).status == 204
    assert write(site, message((UP, [(NOW_MS, 1.0)]))).status == 204
    loop_thread = site.call(threading.current_thread)
    assert [thread is loop_thread for thread in threads] == [False, True]
    assert site.store.stats().series == 2001


def test_the_loop_has_its_turn_while_much_is_stored() -> None:
    """No slice takes longer than a millisecond and a few samples, by a clock that each append advances."""
    store = Notebook()
    now_s = 0.0
    slices = [0.0]

    def append_takes_time() -> None:
        nonlocal now_s
        now_s += 0.0001

    store.on_append = append_takes_time

    async def main() -> None:
        answer = store_body(Receiver(store, lambda level, text: None, lambda: now_s), pack(MANY))
        while not answer.done():
            slices.append(now_s)
            await asyncio.sleep(0)
        slices.append(now_s)

    asyncio.run(main())
    assert len(store.samples) == 2000
    longest = max(after - before for before, after in pairwise(slices))
    assert longest <= 0.001 + 0.0001 * 16


def test_requests_are_stored_in_the_order_in_which_they_came() -> None:
    """Also where the first takes a thread and the second does not."""
    store = Notebook()
    last: list[Sample] = [(NOW_MS + 1, 7.0)]
    answers = received(store, pack(MANY), pack(message((UP, last))), b"broken", pack(message((UP, last))))
    assert [answer.status for answer in answers] == [204, 204, 400, 204]
    assert [labels for labels, _, _ in store.samples[1999:]] == [make_labels("many", {"i": "1999"}), UP, UP]


def test_a_client_that_is_gone_before_its_turn_is_not_served() -> None:
    """Nobody would read the answer."""
    store = Notebook()

    async def main() -> None:
        taker = Receiver(store, lambda level, text: None)
        first, second = store_body(taker, pack(MANY)), store_body(taker, pack(message((UP, [(NOW_MS, 1.0)]))))
        assert second.queued
        second.cancel()
        assert (await first).status == 204
        assert not first.queued
        assert (await store_body(taker, pack(message((X, [(NOW_MS, 1.0)]))))).status == 204

    asyncio.run(main())
    assert len(store.samples) == 2001
    assert store.samples[-1][0] == X


def test_our_own_failure_is_a_500_and_not_the_end() -> None:
    """It is logged, and the next request is served."""
    store = Notebook()
    logged = []

    def fail() -> None:
        raise RuntimeError("boom")

    async def main() -> list[int]:
        taker = Receiver(store, lambda level, text: logged.append(f"{level}: {text}"))
        body = pack(message((UP, [(NOW_MS, 1.0)])))
        store.on_append = fail
        first = await store_body(taker, body)
        store.on_append = lambda: None
        return [first.status, (await store_body(taker, body)).status]

    assert asyncio.run(main()) == [500, 204]
    assert logged[0].startswith("error: a remote write failed: RuntimeError: boom at ")


# --- large bodies

SMALL = HttpLimits(body_bytes=1000, large_body_bytes=200_000, large_bodies=2)
LARGE = b"x" * 5000


def chunked(target: str, body: bytes) -> bytes:
    """A request without a length."""
    head = f"POST {target} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    pieces = [body[i : i + 700] for i in range(0, len(body), 700)]
    return head + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    ("remote_write", "api", "target", "size", "status"),
    [
        (True, True, WRITE, 200_000, 400),  # accepted, and found not to be snappy
        (True, True, "http://localhost" + WRITE + "?x=y", 200_000, 400),
        (True, True, WRITE, 200_001, 413),
        (True, True, "/api/v1/query", 1001, 413),
        (True, True, "/nowhere", 1001, 413),
        (False, True, WRITE, 1001, 413),
        (True, False, WRITE, 1001, 413),
    ],
)
def test_only_a_remote_write_may_be_large(
    whole: bool, remote_write: bool, api: bool, target: str, size: int, status: int
) -> None:
    """With a length or in chunks; all other bodies have the usual limit."""
    with serving(new_store(), remote_write=remote_write, api=api, http=SMALL) as site:
        client = site.client()
        body = b"x" * size
        client.send(request(target, method="POST", body=body) if whole else chunked(target, body))
        assert client.read().status == status
        client.close()


def test_few_large_bodies_at_a_time() -> None:
    """One more is refused; once one is answered, or its client has left, there is room again."""
    with serving(new_store(), remote_write=True, http=SMALL) as site:
        data = request(WRITE, method="POST", body=LARGE)
        first, second = site.client(), site.client()
        for client in (first, second):
            client.send(data[:-1])
        wait_for(lambda: site.call(lambda: not site.server._listeners[0].has_room_for_large_body()))
        third = site.client()
        third.send(data)
        reply = third.read()
        third.close()
        assert (reply.status, reply.text) == (503, "503 Service Unavailable: too many large bodies at once\n")
        assert site.ask(WRITE, method="POST", body=pack(b"")).status == 204
        first.send(data[-1:])
        assert first.read().status == 400
        assert site.ask(WRITE, method="POST", body=LARGE).status == 400
        first.send(data[:-1])
        wait_for(lambda: site.call(lambda: not site.server._listeners[0].has_room_for_large_body()))
        second.sock.shutdown(socket.SHUT_RDWR)
        wait_for(lambda: site.call(lambda: site.server._listeners[0].has_room_for_large_body()))
        assert site.ask(WRITE, method="POST", body=LARGE).status == 400


# --- switching it on


def test_without_cramjam_it_does_not_start() -> None:
    """One line says what to install; without the flag nothing is missing."""
    on = make_config({"web.enable-remote-write-receiver": "true"}, {})
    check_remote(on)
    check_remote(make_config({}, {}), lambda name: None)
    with pytest.raises(ConfigError, match=r"needs the package cramjam: pip install 'prom-probe\[remote\]'") as raised:
        check_remote(on, lambda name: None)
    assert raised.value.status == 1
