"""Remote write requests: what the decoder makes of good, odd and bad bytes."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prom_probe.model.labels import Labels, make_labels
from prom_probe.model.sample import STALE
from prom_probe.remote import write_request
from prom_probe.remote.write_request import BadRequest, Decoder, WriteRequest
from tests.support.write_tools import Sample, field, label, message, sample, series, varint

T = 1_700_000_000_000
UP = make_labels("up", {"job": "a", "instance": "x:1"})

# Texts in which the bytes of samples, labels and lengths come up often.
TEXTS = st.text(
    st.one_of(st.sampled_from("\x12\x10\t\x07\n\x01\x00a"), st.characters(exclude_categories=["Cs"])), min_size=1
)
LABELS = st.builds(make_labels, TEXTS, st.dictionaries(TEXTS.filter(lambda name: name != "__name__"), TEXTS))
DOUBLES = st.one_of(
    st.sampled_from([0.0, 1.0, STALE, float("inf")]),
    st.integers(0, (1 << 64) - 1).map(lambda bits: struct.unpack("<d", bits.to_bytes(8, "little"))[0]),
)
TIMES = st.one_of(st.integers(T, T + 5), st.integers(-(1 << 63), (1 << 63) - 1))
SAMPLES = st.lists(st.tuples(TIMES, DOUBLES), max_size=6)
OTHERS = st.sampled_from([field(7, b"x" * 200), b"\x38\x96\x01", b"\x3d1234", b"\x3912345678", field(3, b"exemplar")])


def decode(data: bytes, decoder: Decoder | None = None) -> WriteRequest:
    return (decoder or Decoder()).decode(memoryview(data))


def bits(samples: Sequence[Sample]) -> list[tuple[int, bytes]]:
    """Comparable samples; Go omits a zero of either sign."""
    return [(t_ms, struct.pack("<d", value if value else 0.0)) for t_ms, value in samples]


def read(request: WriteRequest) -> list[tuple[Labels, list[tuple[int, bytes]]]]:
    """The series of a request with their samples."""
    starts = [0, *request.ends]
    samples = list(zip(request.times, request.values, strict=True))
    return [
        (labels, bits(samples[start:end]))
        for labels, start, end in zip(request.labels, starts, request.ends, strict=False)
    ]


@settings(max_examples=50)
@given(st.lists(st.tuples(LABELS, SAMPLES), max_size=4), st.data())
def test_a_request_comes_out_as_it_went_in(wanted: list[tuple[Labels, list[Sample]]], data: st.DataObject) -> None:
    """Fields in the usual order and in any other; a second time, when the labels are known, the same."""
    decoder = Decoder()
    for shuffled in (False, True, False):
        packed = []
        for labels, samples in wanted:
            fields = {
                "label": iter([label(*pair) for pair in labels]),
                "sample": iter([sample(*one) for one in samples]),
            }
            order = ["label"] * len(labels) + ["sample"] * len(samples)
            if shuffled:
                fields["other"] = iter([data.draw(OTHERS)])
                order = data.draw(st.permutations([*order, "other"]))
            packed.append(field(1, b"".join(next(fields[kind]) for kind in order)))
            if shuffled:
                packed.append(data.draw(OTHERS))
        request = decode(b"".join(packed), decoder)
        assert read(request) == [(labels, bits(samples)) for labels, samples in wanted if samples]
        assert not request.refused.counts


@pytest.mark.parametrize("value", [1.0, 0.0])
def test_labels_between_and_after_samples_count(value: float) -> None:
    """Even if the bytes before a sample are known as another series' labels."""
    decoder = Decoder()
    plain = make_labels("up", {"a": "1"})
    early = label("__name__", "up") + label("a", "1") + sample(T, value)
    assert read(decode(field(1, early), decoder)) == [(plain, bits([(T, value)]))]
    late = early + label("z", "9")
    longer = make_labels("up", {"a": "1", "z": "9"})
    for _ in range(2):
        assert read(decode(field(1, late), decoder)) == [(longer, bits([(T, value)]))]
        assert read(decode(field(1, early), decoder)) == [(plain, bits([(T, value)]))]
        later = late + sample(T + 1, 2.0)
        assert read(decode(field(1, later), decoder)) == [(longer, bits([(T, value), (T + 1, 2.0)]))]


def test_known_labels_are_one_object() -> None:
    """The store finds their series at once, and nothing is kept twice."""
    decoder = Decoder()
    for value in (1.0, 0.0):
        first, second = (decode(series(UP, [(t_ms, value)]), decoder).labels for t_ms in (T, T + 1))
        assert first[0] is second[0]


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Series and timestamps without end change nothing but the speed."""
    monkeypatch.setattr(write_request, "_MEMORY_BYTES", 3000)
    monkeypatch.setattr(write_request, "_MAX_TIMES", 3)
    decoder = Decoder()
    wanted: list[tuple[Labels, list[Sample]]] = [
        (make_labels("up", {"i": str(i % 50)}), [(T + i + j, float(j)) for j in range(5)]) for i in range(100)
    ]
    assert read(decode(message(*wanted), decoder)) == [(labels, bits(samples)) for labels, samples in wanted]
    assert 0 < decoder._memory <= 3000
    assert len(decoder._labels) < 10


def test_labels_are_sorted_and_empty_values_are_absent() -> None:
    """As the store wants them."""
    unsorted = (("z", "1"), ("__name__", "up"), ("empty", ""), ("a", "2"))
    assert decode(series(unsorted, [(T, 1.0)])).labels == [make_labels("up", {"a": "2", "z": "1"})]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (label("a", "1"), "no metric name: {a="),
        (label("__name__", ""), "no metric name: {}"),
        (b"", "no metric name: {}"),
        (label("__name__", "up") + label("", "1"), "a label has no name: up{"),
        (label("__name__", "up") + label("a", "1") + label("a", "2"), 'a label comes twice: up{a="1", a="2"}'),
        (label("__name__", "up") + field(1, field(1, b"a") + field(2, b"\xff")), r"label b'a' with value b'\xff'"),
        (label("__name__", "up") + field(1, field(1, b"\xed\xa0\x80") + field(2, b"1")), "is not UTF-8"),
        (b"".join(label(f"l{i}", "1") for i in range(129)), "more than 128 labels"),
        (label("__name__", "u" * 20_000), "more than 16384 bytes"),
    ],
)
def test_bad_labels_cost_their_own_series_only(fields: bytes, reason: str) -> None:
    """Its samples are counted with the reason; those before and after it are stored."""
    bad = field(1, fields + sample(T, 1.0) + sample(T + 1, 0.0))
    request = decode(series(UP, [(T, 1.0)]) + bad + series(UP, [(T + 1, 2.0)]))
    assert read(request) == [(UP, bits([(T, 1.0)])), (UP, bits([(T + 1, 2.0)]))]
    assert request.refused.counts == {"malformed": 2}
    assert reason in request.refused.first["malformed"]
    assert not decode(field(1, fields)).refused.counts  # no sample is lost


def test_histograms_are_refused() -> None:
    """They are counted, with the name of the series; its other samples are stored."""
    labels = b"".join(label(*pair) for pair in UP)
    request = decode(field(1, labels + field(4, b"x") + sample(T, 1.0) + field(4, b"y")))
    assert read(request) == [(UP, bits([(T, 1.0)]))]
    assert request.refused.counts == {"histogram": 2}
    assert request.refused.first == {"histogram": 'up{instance="x:1", job="a"}'}


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"\x0a", "at byte 1: a number that does not end"),
        (b"\x0a\x05abc", "at byte 0: field 1 goes 2 bytes beyond the end of its message"),
        (b"\x0a\xac\x02abc", "at byte 0: field 1 goes 297 bytes beyond"),
        (b"\x80" * 11, "at byte 0: a number that does not end"),
        (b"\x00", "at byte 0: field number 0"),
        (b"\x08\x01", "at byte 0: field 1 of wire type 0, not 2"),
        (b"\x0b", "at byte 0: field 1 of wire type 3, not 2"),
        (b"\x3b", "at byte 0: wire type 3"),
        (b"\x39abc", "at byte 0: field 7 goes 5 bytes beyond"),
        (field(1, b"\x10\x01"), "at byte 2: field 2 of wire type 0, not 2"),
        (series(UP, []) + field(1, b"\x12\x10\x09"), "beyond the end"),
        (field(1, field(1, b"\x0a\x05a")), "at byte 2: a label of this time series: field 1 goes 4 bytes beyond"),
        (field(1, field(2, b"\x0d1234")), "at byte 4: field 1 of wire type 5, not 1"),
        (field(1, field(2, b"\x10" + b"\x80" * 11)), "at byte 5: a number that does not end"),
    ],
)
def test_malformed_bytes_are_refused_with_their_place(data: bytes, error: str) -> None:
    """Nothing of the request is used."""
    with pytest.raises(BadRequest) as raised:
        decode(data)
    assert error in str(raised.value)


@pytest.mark.parametrize(
    ("limit", "value", "error"),
    [
        ("MAX_FIELDS", 2, "more than 2 time series"),
        ("MAX_SAMPLES", 5, "more than 5 samples"),
        ("MAX_SERIES_BYTES", 100, "a time series of more than 100 bytes"),
    ],
)
def test_limits(monkeypatch: pytest.MonkeyPatch, limit: str, value: int, error: str) -> None:
    """Up to the limit everything is accepted, beyond it nothing."""
    good = message((UP, [(T, 1.0)]), (UP, [(T + i, 1.0) for i in range(3)]))
    bad = message(*[(UP, [(T + i, 1.0) for i in range(4)])] * 3)
    monkeypatch.setattr(write_request, limit, value)
    assert len(decode(good).times) == 4
    with pytest.raises(BadRequest, match=error):
        decode(bad)


GOOD = message((UP, [(T, 1.0), (T + 1, 0.0), (5, 2.0)]), (make_labels("x", {"y" * 150: "z"}), [(T, STALE)]))


@settings(max_examples=200)
@given(
    st.one_of(
        st.binary(max_size=60),
        st.tuples(st.integers(0, len(GOOD)), st.integers(0, 30), st.binary(max_size=4)).map(
            lambda cut: GOOD[: cut[0]] + cut[2] + GOOD[cut[0] + cut[1] :]
        ),
        st.binary(max_size=40).map(lambda raw: field(1, raw)),
        st.binary(max_size=40).map(lambda raw: field(1, label("__name__", "up") + field(2, raw))),
    )
)
def test_any_bytes_give_a_request_or_an_error(data: bytes) -> None:
    """And each sample belongs to one series."""
    try:
        request = decode(data, DECODER)
    except BadRequest:
        return
    assert len(request.times) == len(request.values) == (request.ends[-1] if request.ends else 0)
    assert len(request.labels) == len(request.ends)
    assert read(decode(data)) == read(request)


DECODER = Decoder()  # one for all examples, so that what it remembers meets other bytes


def test_varints_may_be_longer_than_they_need_to_be() -> None:
    """A timestamp may come twice, the last one counts; a negative one takes ten bytes."""
    odd = field(2, b"\x09" + struct.pack("<d", 1.5) + b"\x10\x85\x80\x80\x80\x80\x00")
    assert len(odd) == 18
    short = field(2, b"\x09" + struct.pack("<d", 1.5) + b"\x10\x06\x10\x87\x80\x80\x00")
    assert len(short) == 18
    other = field(2, b"\x09" + struct.pack("<d", 1.5) + b"\x18\x85\x80\x80\x80\x80\x00")
    negative = field(2, b"\x10" + varint(-5))
    request = decode(field(1, b"".join(label(*pair) for pair in UP) + odd + short + other + negative))
    assert read(request) == [(UP, bits([(5, 1.5), (7, 1.5), (0, 1.5), (-5, 0.0)]))]
