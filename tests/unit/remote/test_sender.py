"""The sender against a receiver that fails in every way: what is stored there afterwards, and what is counted."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from prom_probe.model.family import CounterStart, Family, column
from prom_probe.model.labels import make_labels
from prom_probe.remote.feed import SampleFeed, SeriesChoice
from prom_probe.remote.feed_client import FeedClient
from prom_probe.remote.sender import Sender
from prom_probe.remote.sender_state import SLOT_BYTES
from prom_probe.remote.verdict import Verdict, judge, retry_after_s
from prom_probe.ring.slot import Slot
from prom_probe.tsdb.store import Store
from tests.support.fault_receiver import Fault, FaultReceiver
from tests.support.sender_machine import START_MS, V2, SenderMachine, destination_json
from tests.support.tls import Authority
from tests.support.tsdb_tools import bits, gauges, row
from tests.support.waiting import wait_for
from tests.support.write_reader import TYPE_V2


def _holds(receiver: FaultReceiver, expected: dict[Any, list[tuple[int, bytes]]]) -> bool:
    return receiver.samples() == expected


@pytest.fixture
def machine() -> Iterator[SenderMachine]:
    machine = SenderMachine()
    yield machine
    machine.close()


@contextmanager
def running(sender: Sender) -> Iterator[Callable[[], None]]:
    """The sender in its thread; what it gives ends it, with a flush."""
    thread = threading.Thread(target=sender.run, daemon=True)
    thread.start()

    def end() -> None:
        sender.stop(time.monotonic() + 20)
        thread.join()

    try:
        yield end
    finally:
        sender.stop(time.monotonic())
        thread.join()


def test_all_is_sent_and_ended(machine: SenderMachine) -> None:
    """Each sample once, markers at the end, metadata, and over one connection."""
    with FaultReceiver() as receiver, running(machine.sender(destination_json(receiver.url))) as end:
        wait_for("its samples", receiver.samples)
        end()
        assert receiver.samples() == machine.expected()
        assert receiver.requests[0].content.metadata == [(2, "g", "A gauge.", "")]
    counts = machine.counts
    assert (counts.sent, counts.up, counts.lag_s) == (33, True, 0.0)
    assert not counts.failed and not counts.dropped
    assert counts.highest_s == (START_MS + 9001) / 1000


FAULTS = [
    Fault(500, "no"),
    Fault(503, "later", (("Retry-After", "0"),)),
    Fault(429, "slow down", (("Retry-After", "0"),)),
    Fault(0),
    Fault(0, stored=False, after_s=0.05),
    Fault(502),
    Fault(301, headers=(("Location", "/elsewhere"),)),
]


def test_what_fails_is_repeated_until_it_is_stored(machine: SenderMachine) -> None:
    """5xx, 429, closed connections and redirects; the same samples come at last, once.

    A kept connection that is closed is no failure: the request goes over another one.
    """
    with FaultReceiver(FAULTS) as receiver, running(machine.sender(destination_json(receiver.url))) as end:
        wait_for("its samples", receiver.samples)
        end()
        assert receiver.samples() == machine.expected()
        assert receiver.refused == len(FAULTS)
    counts = machine.counts
    assert counts.failed == {"http_500": 1, "http_503": 1, "http_429": 1, "connection": 1, "http_502": 1, "http_301": 1}
    assert counts.retried == 6 * 30
    assert not counts.dropped


def test_a_redirect_is_told(machine: SenderMachine) -> None:
    """It is not followed: a request with a password may go nowhere but to its receiver."""
    fault = Fault(308, headers=(("Location", "https://other/w"),))
    with FaultReceiver([fault]) as receiver, running(machine.sender(destination_json(receiver.url))):
        wait_for("its samples", receiver.samples)
    assert machine.log[0][2]["answer"] == "308 (it redirects to https://other/w)"


def test_a_timeout_is_repeated(machine: SenderMachine) -> None:
    """With the same bytes: whoever stored them already knows them."""
    faults = [Fault(204, after_s=1.5, stored=True)]
    with (
        FaultReceiver(faults) as receiver,
        running(machine.sender(destination_json(receiver.url, ', "remote_timeout": "500ms"'))),
    ):
        wait_for("both", lambda: len(receiver.requests) == 2)
        first, second = receiver.requests
        assert first.content == second.content
        wait_for("a count", lambda: machine.counts.failed == {"timeout": 1})


@pytest.mark.parametrize("status", [400, 401, 404, 422])
def test_what_is_refused_for_good_is_dropped(machine: SenderMachine, status: int) -> None:
    """It is counted, logged with the receiver's words, printable, and what follows is sent."""
    refusal = Fault(status, "out of\x1b[31m order\nsample")
    with FaultReceiver([refusal]) as receiver, running(machine.sender(destination_json(receiver.url))) as end:
        wait_for("the drop", lambda: machine.counts.dropped)
        machine.store.append_row("c", 0, START_MS + 10_000, row([10.0, 10.5, 11.0]))
        end()
        assert [samples[0][0] for samples in receiver.samples().values()] == [START_MS + 10_000] * 3
    assert machine.counts.dropped == {f"http_{status}": 30}
    level, message, fields = machine.log[0]
    assert (level, message) == ("warn", "remote write to r failed")
    assert fields["answer"] == rf"{status} out of\x1b[31m order sample"


def test_failures_that_come_again_and_again_are_logged_once_a_minute(machine: SenderMachine) -> None:
    """A series that is always refused must not fill the log."""
    values = row([1.0, 2.0, 3.0])
    with FaultReceiver([Fault(400, "no")]) as receiver, running(machine.sender(destination_json(receiver.url))):
        for i in range(1, 6):
            wait_for("a drop", lambda drops=i: machine.counts.failed.get("http_400") == drops)  # type: ignore[misc]
            machine.store.append_row("c", 0, START_MS + 20_000 * i, values)
            wait_for("a success", lambda sent=i: len(receiver.requests) == sent)  # type: ignore[misc]
            receiver.faults.append(Fault(400, "no"))
            machine.store.append_row("c", 0, START_MS + 20_000 * i + 1000, values)
    assert [level for level, _, _ in machine.log] == ["warn", "info"]


def test_a_400_to_a_repeated_request_means_stored(machine: SenderMachine) -> None:
    """The first answer was lost, so the second one says that it is there."""
    faults = [Fault(0, stored=True), Fault(400, "out of order")]
    with FaultReceiver(faults) as receiver, running(machine.sender(destination_json(receiver.url))) as end:
        wait_for("the drop", lambda: machine.counts.dropped)
        end()
        assert receiver.samples() == machine.expected()
    assert machine.counts.dropped == {"repeated": 30}


def test_413_halves_the_requests() -> None:
    """Down to what the receiver takes; nothing is lost or sent twice."""
    machine = SenderMachine(rows=1000, series=3)
    try:
        faults = [Fault(413), Fault(413)]
        with FaultReceiver(faults) as receiver, running(machine.sender(destination_json(receiver.url))) as end:
            wait_for("a request", lambda: receiver.requests)
            end()
            assert receiver.samples() == machine.expected()
            assert max(request.samples for request in receiver.requests) <= 500
        assert machine.counts.dropped == {}
    finally:
        machine.close()


def test_413_for_the_smallest_request_drops_it(machine: SenderMachine) -> None:
    """Else it would be repeated for ever."""
    with FaultReceiver() as receiver:
        receiver.always = Fault(413)
        with running(machine.sender(destination_json(receiver.url, ', "metadata_config": {"send": false}'))):
            wait_for("the drop", lambda: machine.counts.dropped == {"http_413": 30})


def test_requests_are_bounded_by_count_and_bytes() -> None:
    """2,000 samples and 512 KiB decoded, and each series' samples in one request follow each other."""
    machine = SenderMachine(rows=200, series=200)
    try:
        external = {"long": "x" * 2_000}
        with (
            FaultReceiver() as receiver,
            running(machine.sender(destination_json(receiver.url), external=external)) as end,
        ):
            end()
            assert sum(request.samples for request in receiver.requests) == 200 * 201
            assert max(request.samples for request in receiver.requests) <= 2_000
            sizes = [sum(len(labels[1][1]) + 2_000 for labels, _ in one.content.series) for one in receiver.requests]
            assert max(sizes) <= 512 << 10
    finally:
        machine.close()


def test_a_killed_sender_goes_on_where_it_was(machine: SenderMachine, tmp_path: Path) -> None:
    """Its successor has the cursors from shared memory; after a restart of all, from the disk."""
    with FaultReceiver() as receiver:
        for other_slot in (False, True):
            if other_slot:
                machine.slot = Slot(SLOT_BYTES)
            with running(machine.sender(destination_json(receiver.url), folder=tmp_path)):
                newest = machine.store.newest()[0].t_ms + 1000
                i = (newest - START_MS) // 1000
                machine.store.append_row("c", 0, newest, row([i + 0.5 * n for n in range(3)]))
                expected = machine.expected(marked=False)
                wait_for("its samples", partial(_holds, receiver, expected))
            assert receiver.samples() == expected


def test_a_killed_sender_repeats_its_request_before_anything_newer(machine: SenderMachine, tmp_path: Path) -> None:
    """A receiver that has it refuses it as a whole, and would refuse with it what is new."""
    with FaultReceiver() as receiver:
        receiver.always = Fault(500, stored=True)
        with running(machine.sender(destination_json(receiver.url), folder=tmp_path)):
            wait_for("a request", lambda: receiver.requests)
        stored = len(receiver.requests)
        machine.store.append_row("c", 0, START_MS + 10_000, row([10.0, 10.5, 11.0]))
        machine.slot = Slot(SLOT_BYTES)
        receiver.always, receiver.faults = None, [Fault(400, "out of order", stored=True)]
        with running(machine.sender(destination_json(receiver.url), folder=tmp_path)) as end:
            wait_for("the new row", lambda: len(receiver.requests) == stored + 2)
            end()
        first, again, new = receiver.requests[0], *receiver.requests[stored : stored + 2]
        assert again.content.series == first.content.series
        assert {t_ms for _, samples in new.content.series for t_ms, _ in samples} == {START_MS + 10_000}
    assert machine.counts.dropped == {"repeated": 30}


NEWEST_FIRST = ', "send": {"newest_first": true}'


def _append(machine: SenderMachine, rows: range) -> None:
    for i in rows:
        machine.store.append_row("c", 0, START_MS + 1000 * i, row([i + 0.5 * n for n in range(3)]))


def _times(receiver: FaultReceiver) -> list[list[int]]:
    """The seconds that each request tells of."""
    return [
        sorted({(t_ms - START_MS) // 1000 for _, samples in one.content.series for t_ms, _ in samples})
        for one in receiver.requests
    ]


@pytest.mark.parametrize("killed", [False, True])
def test_the_newest_first(machine: SenderMachine, tmp_path: Path, killed: bool) -> None:
    """After an outage the newest sample goes first; the gap is filled behind it, by a successor too."""
    text = destination_json("URL", NEWEST_FIRST)
    with FaultReceiver() as receiver:
        destination = text.replace("URL", receiver.url)
        receiver.always = Fault(503)
        with running(machine.sender(destination, folder=tmp_path)) as end:
            wait_for("a failure", lambda: machine.counts.failed)
            _append(machine, range(10, 200))
            receiver.always, receiver.faults = None, [Fault(503)] if not killed else []
            if killed:
                wait_for("the newest", lambda: len(receiver.requests) >= 2)
            else:
                end()
        if killed:
            machine.slot = Slot(SLOT_BYTES)
            with running(machine.sender(destination, folder=tmp_path)) as end:
                end()
        first, newest, *rest = _times(receiver)
        assert (first, newest) == (list(range(10)), [199])
        assert sorted({t for some in rest for t in some} - {200, 199}) == list(range(10, 199))
        found = {labels: sorted(set(samples)) for labels, samples in receiver.samples().items()}
        assert found == machine.expected()
    assert not machine.counts.dropped and not machine.counts.lost_s


def test_a_gap_that_is_refused_does_not_keep_the_newest(machine: SenderMachine) -> None:
    """A receiver may want what is too old for it again and again: after a few times it is dropped, and counted."""
    with FaultReceiver() as receiver:
        receiver.always = Fault(503)
        with running(machine.sender(destination_json(receiver.url, NEWEST_FIRST))) as end:
            wait_for("a failure", lambda: machine.counts.failed)
            _append(machine, range(10, 100))
            receiver.refuses = lambda content: any(
                START_MS + 10_000 <= t_ms < START_MS + 99_000 for _, samples in content.series for t_ms, _ in samples
            )
            receiver.always = None
            for i in range(99, 110):
                _append(machine, range(max(100, i), i + 1))
                wait_for("the newest", lambda i=i: [i] in _times(receiver))  # type: ignore[misc]
            wait_for("the drop", lambda: machine.counts.dropped == {"http_500": 3 * 89})
            end()


def test_a_request_that_is_never_taken_is_dropped_at_last(machine: SenderMachine) -> None:
    """After the retention's time: until then the log tells its samples and the receiver's words, and the lag grows."""
    with FaultReceiver() as receiver:
        receiver.refuses = lambda content: any(t_ms == START_MS for _, samples in content.series for t_ms, _ in samples)
        with running(machine.sender(destination_json(receiver.url), retention_s=0.3)) as end:
            wait_for("a failure", lambda: machine.counts.failed)
            counts = machine.counts
            assert not counts.up
            assert counts.lag_s > 0.9 * (time.time() - START_MS / 1000)
            assert not counts.dropped
            _append(machine, range(10, 12))
            wait_for("the drop", lambda: machine.counts.dropped == {"http_500": 30})
            wait_for("what follows", receiver.samples)
            end()
        assert {t for some in _times(receiver) for t in some} == {10, 11}
    assert machine.counts.failed["http_500"] > 1
    level, message, fields = machine.log[0]
    assert (level, message) == ("warn", "remote write to r failed")
    told = {"tries": 1, "samples": 30, "oldest": "2023-11-14T22:13:20Z", "reason": "http_500"}
    assert fields == {**told, "answer": "500 too old"}
    assert [text for _, text, _ in machine.log] == [message, "remote write to r works again"]


def test_another_aggregator(machine: SenderMachine) -> None:
    """Its refs are others: labels are learned anew, and none is given to another series."""
    with FaultReceiver() as receiver, running(machine.sender(destination_json(receiver.url))):
        wait_for("its samples", receiver.samples)
        store = Store()
        store.announce("c", 0, 0, gauges(3)[::-1])
        store.append_row("c", 0, START_MS + 10_000, row([11.0, 10.5, 10.0]))
        machine.feed = SampleFeed(store, [SeriesChoice(1, [], 0)])
        machine.store = store
        wait_for("the next", lambda: all(s[-1][0] > START_MS + 9000 for s in receiver.samples().values()))
        assert receiver.samples() == {
            labels: [*samples[:10], (START_MS + 10_000, bits(10 + 0.5 * i))]
            for i, (labels, samples) in enumerate(sorted(receiver.samples().items()))
        }


def test_another_aggregator_in_the_middle_of_a_request() -> None:
    """What was gathered is asked for again, and the labels that came with the first new answer are known."""
    machine = SenderMachine(rows=200, series=12)
    try:
        feeds = [machine.feed, SampleFeed(machine.store, [SeriesChoice(1, [], 0)])]
        served = 0

        def serve(sock: Any) -> None:
            nonlocal served
            served += 1
            SampleFeed.serve(feeds[served > 1], sock)

        for feed in feeds:  # one series an answer, several answers a request
            feed._clock = iter(range(100_000)).__next__
        machine.feed.serve = serve  # type: ignore[method-assign]
        with FaultReceiver() as receiver, running(machine.sender(destination_json(receiver.url))) as end:
            end()
            assert receiver.samples() == machine.expected()
        assert machine.counts.dropped == {}
    finally:
        machine.close()


def test_an_aggregator_that_is_gone_for_a_while(machine: SenderMachine) -> None:
    """The sender asks again, and a late answer is not taken for another question's."""
    feed = machine.feed
    with FaultReceiver() as receiver:
        sender = machine.sender(destination_json(receiver.url))
        lost = iter(range(2))

        def serve(sock: Any) -> None:
            if next(lost, None) is not None:
                sock.recv(1 << 20)  # as if it died while it answered
            else:
                SampleFeed.serve(feed, sock)

        machine.feed.serve = serve  # type: ignore[method-assign]
        sender._client._await = lambda number, until_s: FeedClient._await(  # type: ignore[method-assign]
            sender._client, number, time.monotonic() + 0.1
        )
        with running(sender) as end:
            wait_for("its samples", receiver.samples)
            end()
            assert receiver.samples() == machine.expected()


def test_a_receiver_that_is_down_does_not_keep_the_end() -> None:
    """The flush gives up when its time is over."""
    machine = SenderMachine()
    try:
        with running(machine.sender(destination_json("http://127.0.0.1:1/"))):
            wait_for("a failure", lambda: machine.counts.failed.get("connection"))
    finally:
        machine.close()


def test_headers_passwords_and_files(machine: SenderMachine, tmp_path: Path) -> None:
    """The user's headers come with each request, files are read anew, and nothing replaces what the request says."""
    token = tmp_path / "token"
    token.write_text("one\n")
    more = f', "headers": {{"X-Scope-OrgID": "me"}}, "authorization": {{"credentials_file": "{token}"}}'
    with FaultReceiver() as receiver, running(machine.sender(destination_json(receiver.url, more))) as end:
        wait_for("its samples", receiver.samples)
        token.write_text("two\n")
        end()
        first, *_, last = receiver.requests
        assert first.headers["X-Scope-OrgID"] == "me"
        assert (first.headers["Authorization"], last.headers["Authorization"]) == ("Bearer one", "Bearer two")
        assert last.headers["User-Agent"].startswith("prom_probe/")
    with FaultReceiver() as receiver:
        url = receiver.url.replace("://", "://me:p%40ss@")
        machine.slot = Slot(SLOT_BYTES)
        with running(machine.sender(destination_json(url))):
            wait_for("its samples", receiver.samples)
        assert receiver.requests[0].headers["Authorization"] == "Basic bWU6cEBzcw=="


def test_a_missing_secret_file_is_a_failure(machine: SenderMachine, tmp_path: Path) -> None:
    """It is told with its name, and tried again."""
    token = tmp_path / "token"
    more = f', "authorization": {{"credentials_file": "{token}"}}'
    with FaultReceiver() as receiver, running(machine.sender(destination_json(receiver.url, more))):
        wait_for("a failure", lambda: machine.counts.failed)
        assert machine.log[0][2]["answer"] == f"{token}: No such file or directory"
        token.write_text("now")
        wait_for("its samples", receiver.samples)


def test_a_unix_socket(machine: SenderMachine, tmp_path: Path) -> None:
    """As a sidecar's neighbour has it."""
    with (
        FaultReceiver(unix=tmp_path / "sock") as receiver,
        running(machine.sender(destination_json(receiver.url))) as end,
    ):
        wait_for("its samples", receiver.samples)
        end()
        assert receiver.samples() == machine.expected()


def test_tls(machine: SenderMachine, tmp_path: Path) -> None:
    """By the CA that is given; without it the receiver is not trusted, and nothing is sent."""
    Authority(tmp_path).issue("server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
    with FaultReceiver(tls=context) as receiver:
        with running(machine.sender(destination_json(receiver.url))):
            wait_for("a failure", lambda: machine.counts.failed)
            assert "certificate verify failed" in str(machine.log[0][2]["answer"])
        machine.slot = Slot(SLOT_BYTES)
        with running(
            machine.sender(destination_json(receiver.url, f', "tls_config": {{"ca_file": "{tmp_path}/ca.crt"}}'))
        ) as end:
            wait_for("its samples", receiver.samples)
            end()
            assert receiver.samples() == machine.expected()


def test_external_labels_and_relabelling(machine: SenderMachine) -> None:
    """A series' own labels win; external ones win over job and instance; what rules drop is counted."""
    rules = (
        ', "write_relabel_configs": [{"source_labels": ["i"], "regex": "1", "action": "drop"},'
        ' {"regex": "instance", "action": "labeldrop"}]'
    )
    external = {"cluster": "c", "i": "no", "job": "mine"}
    with (
        FaultReceiver() as receiver,
        running(machine.sender(destination_json(receiver.url, rules), external=external)) as end,
    ):
        end()
        assert list(receiver.samples()) == [
            make_labels("g", {"i": n, "cluster": "c", "job": "mine"}) for n in ("0", "2")
        ]
    assert machine.counts.dropped == {"relabel": 11}


def test_the_newer_message(machine: SenderMachine) -> None:
    """2.0 where it is asked for, to a receiver that confirms it; metadata comes with each series."""
    with FaultReceiver() as receiver:
        receiver.knows_v2 = True
        with running(machine.sender(destination_json(receiver.url, V2))) as end:
            wait_for("its samples", receiver.samples)
            end()
        assert receiver.samples() == machine.expected()
        assert {request.headers["Content-Type"] for request in receiver.requests} == {TYPE_V2}
        assert set(receiver.requests[-1].content.metadata) == {(2, "g", "A gauge.", "")}


@pytest.mark.parametrize("knows_v2", [True, False])
def test_starts_are_sent_with_the_newer_message(machine: SenderMachine, knows_v2: bool) -> None:
    """To a receiver that takes it: each sample has what the gauge in its row says."""
    counter = Family("c_total", "counter", "C.", start=CounterStart("since_seconds"))
    machine.store.announce("d", 0, 0, [column(counter), column(Family("since_seconds", "gauge", "S."))])
    for i in range(3):
        machine.store.append_row("d", 0, START_MS + 1000 * i, row([i, START_MS / 1000 - 7]))
    with FaultReceiver() as receiver:
        receiver.knows_v2 = knows_v2
        with running(machine.sender(destination_json(receiver.url, V2))) as end:
            wait_for("its samples", receiver.samples)
            end()
        starts = {
            (dict(labels)["__name__"], t_ms): start_ms
            for request in receiver.requests
            for labels, told in request.content.starts.items()
            for t_ms, start_ms in told.items()
        }
    sent = {("c_total", START_MS + 1000 * i): START_MS - 7000 for i in range(3)}
    assert starts == (sent if knows_v2 else {})


@pytest.mark.parametrize(
    ("written", "dropped"),
    [("27", {"http_400": 3}), ("30", {}), ("99", {}), ("none", {"http_400": 30}), ("", {"http_400": 30})],
)
def test_what_a_refusal_says_was_written(machine: SenderMachine, written: str, dropped: dict[str, int]) -> None:
    """A receiver of 2.0 refuses single samples, and stores the rest of the request."""
    fault = Fault(400, "out of order", (("X-Prometheus-Remote-Write-Samples-Written", written),))
    with FaultReceiver([fault]) as receiver:
        receiver.knows_v2 = True
        with running(machine.sender(destination_json(receiver.url, V2))) as end:
            wait_for("the refusal", lambda: machine.counts.failed)
            end()
    assert machine.counts.dropped == dropped
    assert machine.counts.sent == 33 - dropped.get("http_400", 0)


@pytest.mark.parametrize("fault", [None, Fault(415, "unsupported")])
def test_the_newer_message_falls_back(machine: SenderMachine, fault: Fault | None) -> None:
    """To 1.0, where the receiver says 415, or 2xx without a word of what it has written; nothing is lost."""
    with (
        FaultReceiver([fault] if fault else []) as receiver,
        running(machine.sender(destination_json(receiver.url, V2))) as end,
    ):
        wait_for("its samples", receiver.samples)
        end()
        assert receiver.samples() == machine.expected()
        assert {request.headers["Content-Type"] for request in receiver.requests} == {"application/x-protobuf"}
    assert machine.counts.dropped == {}


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, Verdict.DONE),
        (204, Verdict.DONE),
        (299, Verdict.DONE),
        (301, Verdict.RETRY),
        (400, Verdict.DROP),
        (404, Verdict.DROP),
        (413, Verdict.SMALLER),
        (415, Verdict.OTHER_MESSAGE),
        (429, Verdict.RETRY),
        (500, Verdict.RETRY),
        (503, Verdict.RETRY),
    ],
)
def test_verdicts(status: int, verdict: Verdict) -> None:
    """2xx and 4xx are never repeated, 429 excepted; 5xx are."""
    assert judge(status) is verdict
    assert (judge(status, wrong_message=True) is verdict) == (verdict is not Verdict.DONE)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, 0),
        ("", 0),
        ("7", 7),
        ("99999", 300),
        ("9" * 5000, 300),
        ("1.5", 0),
        ("Tue, 14 Nov 99999 22:13:25 GMT", 0),
        ("Tue, 14 Nov 9998 22:13:25 GMT", 300),
        ("Mon, 01 Jan 0001 00:00:00 -0000", 0),
        ("-1", 0),
        ("soon", 0),
        ("²", 0),
        ("Tue, 14 Nov 2023 22:13:25 GMT", 5),
        ("Tue, 14 Nov 2023 22:13:00 GMT", 0),
    ],
)
def test_retry_after(text: str | None, seconds: float) -> None:
    """Seconds or a date; nonsense is ignored."""
    headers = {} if text is None else {"retry-after": text}
    assert retry_after_s(headers, START_MS / 1000) == seconds
