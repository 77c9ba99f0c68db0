"""Frames: round trips, splitting of announcements, and bytes that are not frames."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prom_probe.model.family import Column, Family
from prom_probe.model.labels import EMPTY, make_labels
from prom_probe.ring.codec import (
    Announce,
    Batch,
    CodecError,
    Event,
    Frame,
    WireColumn,
    decode,
    encode,
    encode_announcements,
)

texts = st.text(max_size=20)
families = st.builds(Family, texts, st.sampled_from(["counter", "gauge", "histogram"]), texts, texts)
columns = st.builds(
    Column,
    families,
    st.dictionaries(st.text(min_size=1, max_size=5), texts, max_size=4).map(lambda pairs: make_labels("", pairs)),
    st.booleans(),
    st.sampled_from([EMPTY, make_labels("shown", {"a": "b"})]),
)
frames = st.one_of(
    st.builds(Batch, texts, st.integers(0, 2**31), st.integers(0, 2**45), st.integers(0), st.integers(0), st.binary()),
    st.builds(
        Event, texts, st.integers(0, 2**45), st.sampled_from(["started", "overran", "failed"]), st.integers(0, 9)
    ),
)


@given(frames.filter(lambda f: not isinstance(f, Batch) or max(f.took_ns, f.done_ns) < 2**63))
def test_a_frame_comes_back_as_it_was(frame: Frame) -> None:
    """encode then decode is the identity."""
    assert decode(encode(frame)) == frame


@given(st.lists(columns, max_size=40), st.integers(0, 40), st.integers(50, 4000))
def test_announcements_together_give_the_columns(columns: list[Column], start: int, max_bytes: int) -> None:
    """However they are split, the parts together have columns[start:], with their families."""
    known = columns[:start]
    for end, payload in encode_announcements("process", 3, columns, start, max_bytes):
        frame = decode(payload)
        assert isinstance(frame, Announce)
        assert frame.start == len(known)
        assert len(payload) <= max_bytes or len(frame.columns) == 1
        known += frame.full_columns()
        assert len(known) == end
    assert known == columns


@pytest.mark.parametrize(
    "payload", [b"", b"\x00", b"\x93\x7f\x01\x02", b"\xc1" * 20, encode(Event("a", 1, "started"))[:-1]]
)
def test_other_bytes_are_a_codec_error(payload: bytes) -> None:
    """Nothing else is raised, and the text says how long the frame was."""
    with pytest.raises(CodecError, match=f"frame of {len(payload)} bytes"):
        decode(payload)


@given(st.binary(max_size=200))
def test_any_bytes_give_a_frame_or_a_codec_error(payload: bytes) -> None:
    """Fuzz."""
    try:
        decode(payload)
    except CodecError:
        pass


@pytest.mark.parametrize(
    ("frame", "tag"),
    [(Announce("c", 0, 0, (), ()), 0x11), (Batch("c", 0, 0, 0, 0, b""), 0x12), (Event("c", 0, "started"), 0x13)],
)
def test_a_frame_begins_with_its_version_and_kind(frame: Frame, tag: int) -> None:
    """So that another version's frame is refused."""
    payload = encode(frame)
    assert msgspec.msgpack.decode(payload)[0] == tag
    with pytest.raises(CodecError):
        decode(payload.replace(bytes([tag]), bytes([tag + 0x10]), 1))


def test_a_column_of_an_unknown_family_is_a_codec_error() -> None:
    """Nothing is made of an announcement that contradicts itself."""
    with pytest.raises(CodecError, match="beyond the last"):
        Announce("x", 0, 0, (), (WireColumn(0, (), True),)).full_columns()
