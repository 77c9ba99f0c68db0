"""Remote write 1.0's message: what is encoded reads back as it was, and keeps the specification's MUSTs."""

from __future__ import annotations

import struct

import cramjam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prom_probe.model.family import Family
from prom_probe.model.labels import Labels, make_labels
from prom_probe.model.sample import STALE, STALE_BYTES
from prom_probe.remote.message import Message1, Run, encode_metadata
from prom_probe.remote.message_v2 import Message2
from prom_probe.remote.write_request import Decoder
from tests.support.write_reader import Violation, read_request
from tests.support.write_tools import pack

AGENT = {**Message1.headers, "User-Agent": "prom_probe/1"}
UP = make_labels("up", {"job": "a", "instance": "b"})


def encoded(labels: Labels, *runs: Run) -> bytes:
    message = Message1()
    return message.encode([(message.labels(labels)[0], runs)], ())


def bits(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}d", *values)


times = st.integers(-(1 << 62), 1 << 62)
names = st.from_regex(r"[a-z_][a-z0-9_]{0,20}", fullmatch=True)
values_text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200)


@given(
    st.dictionaries(names, values_text, min_size=1, max_size=8),
    st.dictionaries(times, st.binary(min_size=8, max_size=8), min_size=1, max_size=20),
)
def test_a_series_reads_back(pairs: dict[str, str], samples: dict[int, bytes]) -> None:
    """Any labels, any int64 of time, any bits of a value, zeros and markers too."""
    labels, ordered = make_labels("m", pairs), sorted(samples.items())
    run = Run([t for t, _ in ordered], b"".join(value for _, value in ordered))
    body = encoded(labels, run)
    assert read_request("POST", AGENT, pack(body)).series == [(labels, ordered)]
    decoded = Decoder().decode(memoryview(body))
    assert decoded.labels == [labels]
    assert list(decoded.times) == [t for t, _ in ordered]
    assert decoded.values.tobytes() == run.values


def test_a_sample_takes_18_bytes() -> None:
    """The usual form: labels 1, samples 2; a double, then six bytes of time."""
    one = encoded(UP, Run([1_764_500_000_000], bits(1.5)))
    two = encoded(UP, Run([1_764_500_000_000, 1_764_500_001_000], bits(1.5, 2.5)))
    assert len(two) - len(one) == 18
    assert one.endswith(b"\x12\x10\x09" + bits(1.5) + b"\x10" + one[-6:])


def test_runs_of_a_series_follow_each_other() -> None:
    """A series whose samples came in several answers is one series of the request."""
    body = encoded(UP, Run([1, 2], bits(1, 2)), Run([3], bits(STALE)))
    series = read_request("POST", AGENT, pack(body)).series
    assert series == [(UP, [(1, bits(1)), (2, bits(2)), (3, STALE_BYTES)])]


def test_metadata() -> None:
    """Type, name, help and unit; what is empty or 0 is left out, as proto3 does."""
    families = [
        Family("a_total", "counter", "Counts."),
        Family("b_seconds", "gauge", "", "seconds"),
        Family("c", "unknown", "?"),
        Family("d", "histogram", "H"),
        Family("e_info", "info", "I"),
    ]
    body = encode_metadata(families)
    assert read_request("POST", AGENT, pack(body)).metadata == [
        (1, "a_total", "Counts.", ""),
        (2, "b_seconds", "", "seconds"),
        (0, "c", "?", ""),
        (3, "d", "H", ""),
        (6, "e_info", "I", ""),
    ]
    assert Decoder().decode(memoryview(body)).labels == []


@pytest.mark.parametrize(
    ("labels", "run"),
    [
        ((("__name__", "up"), ("b", "1"), ("a", "1")), Run([1], bits(1))),
        ((("__name__", "up"), ("a", "1"), ("a", "2")), Run([1], bits(1))),
        ((("__name__", "up"), ("a", "")), Run([1], bits(1))),
        ((("__name__", "up"), ("a-b", "1")), Run([1], bits(1))),
        ((("a", "1"),), Run([1], bits(1))),
        (UP, Run([2, 1], bits(1, 1))),
        (UP, Run([1, 1], bits(1, 1))),
        (UP, Run([], b"")),
    ],
)
def test_the_reader_finds_violations(labels: Labels, run: Run) -> None:
    """Labels unsorted, repeated, empty or invalid, no name; samples out of order, twice, none."""
    with pytest.raises(Violation):
        read_request("POST", AGENT, pack(encoded(labels, run)))


@pytest.mark.parametrize(
    ("method", "change"),
    [
        ("PUT", {}),
        ("POST", {"Content-Encoding": "gzip"}),
        ("POST", {"Content-Type": "application/json"}),
        ("POST", {"X-Prometheus-Remote-Write-Version": "2.0.0"}),
        ("POST", {"User-Agent": ""}),
    ],
)
def test_the_reader_checks_the_headers(method: str, change: dict[str, str]) -> None:
    """Each header of the specification."""
    body = pack(encoded(UP, Run([1], bits(1))))
    assert read_request("POST", AGENT, body)
    with pytest.raises(Violation):
        read_request(method, {**AGENT, **change}, body)


def test_the_reader_wants_snappys_block_format() -> None:
    """Not the framed one, and nothing uncompressed."""
    body = encoded(UP, Run([1], bits(1)))
    for wrong in (bytes(cramjam.snappy.compress(body)), body):
        with pytest.raises(Violation):
            read_request("POST", AGENT, wrong)


# -- 2.0

AGENT_2 = {**Message2.headers, "User-Agent": "prom_probe/1"}
FAMILIES = [Family("a_seconds_total", "counter", "Counts.", "seconds"), Family("h", "histogram", "Many.")]


def encoded_2(*series: tuple[Labels, list[Run]]) -> bytes:
    return Message2().encode(series, FAMILIES)


@given(
    st.dictionaries(names, values_text, min_size=1, max_size=8),
    st.dictionaries(times, st.binary(min_size=8, max_size=8), min_size=1, max_size=20),
)
def test_a_series_reads_back_in_2(pairs: dict[str, str], samples: dict[int, bytes]) -> None:
    """Names and values that are equal are one symbol."""
    labels, ordered = make_labels("m", {**pairs, "same": "same"}), sorted(samples.items())
    run = Run([t for t, _ in ordered], b"".join(value for _, value in ordered))
    assert read_request("POST", AGENT_2, pack(encoded_2((labels, [run])))).series == [(labels, ordered)]


def test_starts_in_2() -> None:
    """Each sample's own; none where it is not known, and none in 1.0."""
    run = Run([1000, 2000, 3000], bits(1, 2, 3), [500, 0, 2500])
    found = read_request("POST", AGENT_2, pack(encoded_2((UP, [run, Run([4000], bits(4))]))))
    assert found.starts == {UP: {1000: 500, 3000: 2500}}
    assert found.series == [(UP, [(1000, bits(1)), (2000, bits(2)), (3000, bits(3)), (4000, bits(4))])]
    assert encoded(UP, run) == encoded(UP, Run(run.times, run.values))


def test_a_sample_with_its_start_takes_25_bytes() -> None:
    """The published schema's: field 3 of the sample, a varint, behind the usual 18 bytes."""
    body = encoded_2((UP, [Run([1_764_500_000_000], bits(1.5), [1_764_400_000_000])]))
    value, time, start = (bytes.fromhex(text) for text in ("121709", "10", "18"))
    six = {t: _varint(t) for t in (1_764_500_000_000, 1_764_400_000_000)}
    assert value + bits(1.5) + time + six[1_764_500_000_000] + start + six[1_764_400_000_000] in body


def _varint(number: int) -> bytes:
    return bytes([number >> 7 * i & 0x7F | (0x80 if i < 5 else 0) for i in range(6)])


def test_metadata_in_2() -> None:
    """With each series, a histogram's with each of its parts; none where nothing is known."""
    series = [(make_labels(name), [Run([1], bits(1))]) for name in ("a_seconds_total", "h_bucket", "unknown")]
    assert read_request("POST", AGENT_2, pack(encoded_2(*series))).metadata == [
        (1, "a_seconds_total", "Counts.", "seconds"),
        (3, "h_bucket", "Many.", ""),
        (0, "unknown", "", ""),
    ]
    assert encoded_2(*series).count(b"Counts.") == 1


def test_the_reader_finds_violations_of_2() -> None:
    """A first symbol that is not empty, one that comes twice, a reference to none, an odd number of them."""
    body = encoded_2((UP, [Run([1], bits(1))]))
    assert body.startswith(b"\x22\x00")
    for wrong in (
        body[2:],
        b"\x22\x00" + body,
        body.replace(b"\x0a\x06\x01\x02", b"\x0a\x06\x01\x7f"),
        body.replace(b"\x0a\x06\x01\x02", b"\x0a\x05\x01\x02"),
    ):
        assert wrong != body
        with pytest.raises(Violation):
            read_request("POST", AGENT_2, pack(wrong))
