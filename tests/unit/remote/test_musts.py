"""What the remote write specifications say that a sender MUST do, one by one, of requests that a sender has sent.

Each row has a way to spoil what was sent, and the check has to notice it.
"""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from itertools import pairwise
from typing import NamedTuple

import cramjam
import pytest

from prom_probe.config.remote_write import parse_destination
from prom_probe.model.labels import Labels
from prom_probe.model.sample import STALE_BYTES
from tests.support.fault_receiver import Fault, FaultReceiver, RawRequest
from tests.support.sender_machine import START_MS, V2, SenderMachine, destination_json
from tests.support.tsdb_tools import row
from tests.support.waiting import wait_for
from tests.support.write_reader import TYPE_V2, Bits, fields, must, read_request

Sent = list[RawRequest]

MIN_BACKOFF_S = 0.1

# How a receiver answers, by the name of a run.
FAULTS: Mapping[str, list[Fault]] = {
    "1.0": [],
    "2.0": [],
    "fails": [Fault(500), Fault(503)],
    "refuses": [Fault(400, "no")],
    "talks": [Fault(200, "error: not stored, send it again", stored=True)],
    "1.0 only": [Fault(415)],
    "silent": [],
}


@cache
def run(name: str) -> tuple[RawRequest, ...]:
    """All requests of a sender of three series over ten rows, of which one ends before the last two."""
    machine = SenderMachine()
    newer = name in ("2.0", "1.0 only", "silent")
    more = f', "queue_config": {{"min_backoff": "{round(1000 * MIN_BACKOFF_S)}ms", "max_backoff": "1s"}}{V2 * newer}'
    try:
        with FaultReceiver(FAULTS[name]) as receiver:
            receiver.knows_v2 = name == "2.0"
            text = destination_json(receiver.url).partition(', "queue_config"')[0] + more + "}"
            sender = machine.sender(text)
            thread = threading.Thread(target=sender.run)
            thread.start()
            wait_for("a request", lambda: any(raw.status // 100 in (2, 4) for raw in receiver.raw))
            for i in (10, 11):
                machine.store.append_row("c", 0, START_MS + 1000 * i, row([float(i), None, float(i)]))
            sender.stop(time.monotonic() + 60)
            thread.join()
            return tuple(receiver.raw)
    finally:
        machine.close()


# -- checks: an AssertionError for what is not as it must be


def has_header(name: str, value: str, sent: Sent) -> None:
    for raw in sent:
        must(raw.headers.get(name) == value, f"{name}: {raw.headers.get(name)}")


def reads(sent: Sent) -> None:
    """By the reader, which knows what a request, its labels and its samples have to be."""
    for raw in sent:
        read_request(raw.method, raw.headers, raw.body)


def series_of(sent: Sent) -> dict[Labels, Bits]:
    """What a receiver has: requests that were answered by 2xx."""
    found: dict[Labels, Bits] = {}
    for raw in sent:
        if raw.status // 100 == 2:
            for labels, samples in read_request(raw.method, raw.headers, raw.body).series:
                found.setdefault(labels, []).extend(samples)
    return found


def in_time_order(sent: Sent) -> None:
    for labels, samples in series_of(sent).items():
        times = [t_ms for t_ms, _ in samples]
        must(times == sorted(set(times)), f"{labels} in time order: {times}")


def all_labels_each_time(sent: Sent) -> None:
    for labels in series_of(sent):
        must({name for name, _ in labels} == {"__name__", "i", "instance", "job"}, f"all labels: {labels}")


def ends_marked(sent: Sent) -> None:
    """A marker behind each series' last sample, and no such NaN before it."""
    for labels, samples in series_of(sent).items():
        must(samples[-1][1] == STALE_BYTES, f"{labels} ends with a marker")
        must(STALE_BYTES not in [value for _, value in samples[:-1]], f"{labels} goes on after a marker")


def one_at_a_time(sent: Sent) -> None:
    for before, after in pairwise(sent):
        must(after.began_s >= before.ended_s, "a request while another one is under way")


def repeats_failed(sent: Sent) -> None:
    """The same bytes again after a 5xx, and not at once: half of the backoff is jitter."""
    failed = [number for number, raw in enumerate(sent) if raw.status >= 500]
    must(len(failed) == 2, "two failures")
    for times, number in enumerate(failed):
        must(number + 1 < len(sent) and sent[number + 1].body == sent[number].body, "the same again")
        pause_s = sent[number + 1].began_s - sent[number].ended_s
        must(pause_s >= 0.5 * MIN_BACKOFF_S * 2**times, f"after a backoff that grows: {pause_s}")


def never_repeats(sent: Sent) -> None:
    bodies = [raw.body for raw in sent]
    must(len(set(bodies)) == len(bodies), "a request again")


def only_one_protocol(version: str, sent: Sent) -> None:
    has_header("X-Prometheus-Remote-Write-Version", version, sent)


def falls_back(sent: Sent) -> None:
    """1.0, with its headers, of what was not taken as 2.0, and of what has come since; nothing is lost."""
    must(len(sent) > 1 and sent[0].headers["Content-Type"] == TYPE_V2, "2.0 first, and more after it")
    must(all(raw.headers["Content-Type"] == "application/x-protobuf" for raw in sent[1:]), "1.0 after that")
    first, second = (dict(read_request(raw.method, raw.headers, raw.body).series) for raw in sent[:2])
    again = {labels: second.get(labels, [])[: len(samples)] for labels, samples in first.items()}
    must(again == first, "what was not taken is sent again")


# -- ways to spoil what was sent


def with_header(name: str, value: str, sent: Sent) -> Sent:
    return [raw._replace(headers={**raw.headers, name: value}) for raw in sent]


def with_message(change: Callable[[bytes], bytes], sent: Sent) -> Sent:
    """Another message in the first request."""
    message = bytes(cramjam.snappy.decompress_raw(sent[0].body))
    changed = change(message)
    assert changed != message
    return [sent[0]._replace(body=bytes(cramjam.snappy.compress_raw(changed))), *sent[1:]]


def replaced(old: bytes, new: bytes) -> Callable[[Sent], Sent]:
    return partial(with_message, lambda message: message.replace(old, new, 1))


def reversed_order(sent: Sent) -> Sent:
    return sent[::-1]


def twice(sent: Sent) -> Sent:
    return [sent[0], *sent]


def without_last(sent: Sent) -> Sent:
    return sent[:-1]


def at_once(sent: Sent) -> Sent:
    return [raw._replace(began_s=sent[0].began_s) for raw in sent]


def framed(sent: Sent) -> Sent:
    message = bytes(cramjam.snappy.decompress_raw(sent[0].body))
    return [sent[0]._replace(body=bytes(cramjam.snappy.compress(message))), *sent[1:]]


def marker_first(sent: Sent) -> Sent:
    return replaced(struct.pack("<d", 0.5), STALE_BYTES)(sent)


def first_series(message: bytes, number: int) -> bytes:
    """A request's first series, with its key and its length."""
    body = next(value for field, value in fields(message) if field == number)
    at = message.index(body)
    return message[at - (2 if len(body) < 128 else 3) : at + len(body)]


def repeated_series(number: int) -> Callable[[Sent], Sent]:
    return partial(with_message, lambda message: message + first_series(message, number))


class Must(NamedTuple):
    """A MUST: in which run it is looked for, what finds it broken, and what breaks it."""

    name: str
    run: str
    check: Callable[[Sent], None]
    spoil: Callable[[Sent], Sent]


_CONTENT_TYPE, _VERSION = "Content-Type", "X-Prometheus-Remote-Write-Version"

MUSTS = [
    # The protocol.
    Must("1.0: by POST", "1.0", reads, lambda sent: [raw._replace(method="PUT") for raw in sent]),
    Must("1.0: snappy's block format", "1.0", reads, framed),
    Must("1.0: a message of the schema", "1.0", reads, replaced(b"\x0a", b"\x7a")),
    Must(
        "1.0: Content-Encoding",
        "1.0",
        partial(has_header, "Content-Encoding", "snappy"),
        partial(with_header, "Content-Encoding", "gzip"),
    ),
    Must(
        "1.0: Content-Type",
        "1.0",
        partial(has_header, _CONTENT_TYPE, "application/x-protobuf"),
        partial(with_header, _CONTENT_TYPE, "text/plain"),
    ),
    Must("1.0: a User-Agent", "1.0", reads, partial(with_header, "User-Agent", "")),
    Must("1.0: its version", "1.0", partial(has_header, _VERSION, "0.1.0"), partial(with_header, _VERSION, "1")),
    Must(
        "1.0: nothing newer before the receiver says so",
        "1.0",
        partial(only_one_protocol, "0.1.0"),
        partial(with_header, _VERSION, "2.0.0"),
    ),
    # Labels and samples.
    Must("1.0: all labels each time", "1.0", all_labels_each_time, replaced(b"\x03job", b"\x03joc")),
    Must("1.0: labels sorted", "1.0", reads, replaced(b"\x08instance", b"\x08znstance")),
    Must("1.0: labels unique", "1.0", reads, replaced(b"\x0a\x08instance", b"\x0a\x08__name__")),
    Must("1.0: label names valid", "1.0", reads, replaced(b"\x03job", b"\x03j-b")),
    Must("1.0: metric names valid", "1.0", reads, replaced(b"__name__\x12\x01g", b"__name__\x12\x01-")),
    Must(
        "1.0: no empty label name", "1.0", reads, replaced(b"\x0a\x08\x0a\x01i\x12\x010", b"\x0a\x05\x0a\x00\x12\x010")
    ),
    Must("1.0: UTF-8", "1.0", reads, replaced(b"\x03job", b"\x03jo\xff")),
    Must("1.0: each series once in a request", "1.0", reads, repeated_series(1)),
    Must("1.0: a series' samples in time order", "1.0", in_time_order, reversed_order),
    Must("1.0: in time order over parallel requests", "1.0", one_at_a_time, at_once),
    Must("1.0: a marker where a series ends", "1.0", ends_marked, without_last),
    Must("1.0: that NaN nowhere else", "1.0", ends_marked, marker_first),
    # Answers.
    Must("1.0: 5xx is retried, with a backoff", "fails", repeats_failed, at_once),
    Must("1.0: 5xx is retried with the same samples", "fails", repeats_failed, lambda sent: [sent[0], *sent[2:]]),
    Must("1.0: 2xx is not retried", "1.0", never_repeats, twice),
    Must("1.0: 4xx is not retried", "refuses", never_repeats, twice),
    Must("1.0: the words of an answer mean nothing", "talks", never_repeats, twice),
    # 2.0.
    Must(
        "2.0: Content-Type", "2.0", partial(has_header, _CONTENT_TYPE, TYPE_V2), partial(with_header, _CONTENT_TYPE, "")
    ),
    Must("2.0: its version", "2.0", partial(has_header, _VERSION, "2.0.0"), partial(with_header, _VERSION, "0.1.0")),
    Must("2.0: the first symbol is empty", "2.0", reads, replaced(b"\x22\x00", b"")),
    Must("2.0: symbols are unique", "2.0", reads, replaced(b"\x22\x00", b"\x22\x00\x22\x00")),
    Must("2.0: references to symbols that are there", "2.0", reads, replaced(b"\x22\x03job", b"")),
    Must("2.0: a series has labels", "2.0", reads, partial(with_message, lambda m: m + b"\x2a\x02\x12\x00")),
    Must("2.0: a series has samples", "2.0", reads, partial(with_message, lambda m: m + b"\x2a\x04\x0a\x02\x01\x02")),
    Must("2.0: samples in time order", "2.0", in_time_order, reversed_order),
    Must("2.0: a marker where a series ends", "2.0", ends_marked, without_last),
    Must("2.0: 415 means 1.0, of the same samples", "1.0 only", falls_back, lambda sent: [sent[0], *sent[2:]]),
    Must("2.0: 2xx without what was written means 1.0", "silent", falls_back, lambda sent: [sent[0], *sent[2:]]),
]


def named(rows: list[Must]) -> Iterator[object]:
    for one in rows:
        yield pytest.param(one, id=one.name)


@pytest.mark.parametrize("one", [*named(MUSTS)])
def test_must(one: Must) -> None:
    """What was sent keeps it; what was spoilt does not."""
    sent = list(run(one.run))
    one.check(sent)
    with pytest.raises((AssertionError, UnicodeDecodeError)):
        one.check(one.spoil(sent))


@pytest.mark.parametrize("name", ["content-encoding", "Content-Type", "USER-AGENT", _VERSION])
def test_users_headers_do_not_replace_these(name: str) -> None:
    """1.0: MUST NOT."""
    with pytest.raises(ValueError, match="cannot be replaced"):
        parse_destination(f'{{"url": "http://a/", "headers": {{"{name}": "x"}}}}')
