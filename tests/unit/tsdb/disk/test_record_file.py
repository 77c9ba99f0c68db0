"""The file of records beside the samples."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from prom_probe.tsdb.disk.record_file import MAGIC, file_of, frame, parse_records

_PAYLOADS = st.lists(st.binary(max_size=60), max_size=8)


@given(_PAYLOADS)
def test_round_trip(payloads: list[bytes]) -> None:
    """What was written is read, without a damage."""
    assert parse_records(file_of(payloads)) == (payloads, [])


@given(_PAYLOADS.filter(bool), st.data())
def test_a_flipped_byte_costs_one_record(payloads: list[bytes], data: st.DataObject) -> None:
    """Wherever it is, and it is said where."""
    whole = bytearray(file_of(payloads))
    at = data.draw(st.integers(len(MAGIC), len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    found, damages = parse_records(bytes(whole))
    ends = [len(MAGIC)]
    for payload in payloads:
        ends.append(ends[-1] + len(frame(payload)))
    hit = next(place for place in range(len(payloads)) if at < ends[place + 1])
    assert found == payloads[:hit] + payloads[hit + 1 :]
    assert [(one.start, one.end) for one in damages] == [(ends[hit], ends[hit + 1])]


@given(_PAYLOADS.filter(bool), st.data())
def test_a_torn_end_is_no_damage(payloads: list[bytes], data: st.DataObject) -> None:
    """What a crash leaves: the last record cut off anywhere."""
    whole = file_of(payloads)
    before = len(file_of(payloads[:-1]))
    found, damages = parse_records(whole[: data.draw(st.integers(before + 1, len(whole) - 1))])
    assert found == payloads[:-1]
    assert [one.torn for one in damages] == [True]
