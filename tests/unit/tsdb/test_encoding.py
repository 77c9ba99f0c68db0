"""Encodings and blocks: every float64 is restored bit for bit, and any bytes give data or a clear error."""

import math
import random
from array import array
from collections.abc import Callable
from itertools import accumulate
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prom_probe.model.sample import STALE_BITS
from prom_probe.tsdb.block import HEADER, Block, BlockWriter
from prom_probe.tsdb.cache import Cache
from prom_probe.tsdb.encoding import block_columns, column, deltas, packing, record
from prom_probe.tsdb.encoding.forms import BITS, DECIMAL, FORMS
from prom_probe.tsdb.encoding.record import DEFLATED, PACKED, SPARSE, STORED, BlockError, Record

pytestmark = pytest.mark.filterwarnings("error")

_SPECIAL = [0x8000000000000000, 0x7FF0000000000000, 0xFFF0000000000000, 0x7FF8000000000000, STALE_BITS, STALE_BITS + 1]
_PATTERN = st.one_of(st.integers(0, (1 << 64) - 1), st.sampled_from(_SPECIAL), st.just(STALE_BITS))
_ANY = st.lists(_PATTERN, min_size=1, max_size=40)


def _words(values: list[float]) -> list[int]:
    return array("Q", array("d", values).tobytes()).tolist()


def _scaled(scale: float) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(-(10**9), 10**9), min_size=1, max_size=40).map(
        lambda ns: _words([n / scale for n in ns])
    )


_WALK = st.tuples(st.floats(-1e6, 1e6), st.lists(st.floats(-1, 1), min_size=1, max_size=60)).map(
    lambda walk: _words([walk[0] + math.fsum(walk[1][:i]) for i in range(len(walk[1]))])
)
_COLUMN = st.one_of(_ANY, _scaled(1), _scaled(100), _scaled(1e9), _WALK, st.lists(st.floats(), min_size=1).map(_words))


def _block(columns: list[list[int]], times: list[int] | None = None) -> Block:
    writer = BlockWriter()
    timeline = writer.add_timeline(times or [1000 * i for i in range(len(columns[0]))])
    for ref, words in enumerate(columns):
        writer.add(ref, timeline, column.encode(array("Q", words)))
    return writer.finish(0, 0)


_ALIKE = _block([_words([float((i * k) // 3) for i in range(30)]) for k in (1, 2, 5, 70, 3000, 10**9, 10**14)])


# How columns are kept: as few values are, or as many (_SHORT and _LITTLE).
_KEPT = ((64, 1024), (0, 1024), (0, 0))


def _read(block: Block, refs: list[int], lo: int, hi: int) -> list[list[int]]:
    """Rows [lo, hi) of these series, decoded with numpy."""
    found = []
    for short, little in _KEPT:
        with patch.multiple(block_columns, _SHORT=short, _LITTLE=little):
            found.append(_read_once(block, refs, lo, hi))
    assert found[1:] == found[:-1]
    return found[0]


def _read_once(block: Block, refs: list[int], lo: int, hi: int) -> list[list[int]]:
    out = np.empty((len(refs), hi - lo), np.uint64)
    rows = block.part(refs, lo, hi, Cache(1 << 20))
    rows.write(out)
    assert rows.dense == (STALE_BITS not in out)
    values = out.view(np.float64)
    if rows.dense:
        middle = (hi - lo) // 2
        index = np.array([hi - lo - 1, middle, 0, middle])
        assert rows.at(index).view(np.uint64).tolist() == out[:, index].tolist()
        assert rows.at(index[:1]).view(np.uint64).tolist() == out[:, index[:1]].tolist()
        assert rows.ends().view(np.uint64).tolist() == out[:, [0, -1]].tolist()
    for row, bits in zip(values, out, strict=True):
        present = row[bits != STALE_BITS]
        assert not rows.rising or (present[1:] >= present[:-1]).all()
    return [line.tolist() for line in out]


@given(_COLUMN)
@settings(max_examples=100)
def test_a_column_comes_back_bit_for_bit(words: list[int]) -> None:
    """Any bits, decoded with numpy and without, whole and in part; the facts in the record are true."""
    block = _block([words])
    assert block.words(0).tolist() == words
    assert _read(block, [0], 0, len(words)) == [words]
    middle = len(words) // 2
    assert _read(block, [0], middle, len(words)) == [words[middle:]]
    kept = block.column(0)
    assert block.samples == len(words) - words.count(STALE_BITS)
    values = array("d", array("Q", [word for word in words if word != STALE_BITS]).tobytes()).tolist()
    low, high = column.extremes(kept)
    if values and not any(map(math.isnan, values)):
        assert (low, high) == (min(values), max(values))
    else:
        assert math.isnan(low) and math.isnan(high)
    if kept.rising:
        assert values == sorted(values)


@given(_COLUMN, st.integers(0, 5), st.integers(0, 5))
@settings(max_examples=100)
def test_a_column_is_moved_as_it_is(words: list[int], before: int, after: int) -> None:
    """A column of one of several blocks is the same among more rows, without being decoded."""
    total = before + len(words) + after
    moved = record.shifted(column.encode(array("Q", words)), len(words), before, total)
    assert column.decode(moved, total).tolist() == [STALE_BITS] * before + words + [STALE_BITS] * after


@given(st.lists(st.integers(-(1 << 53), 1 << 53), min_size=1, max_size=60, unique=True).map(sorted))
@settings(max_examples=120)
def test_timestamps_come_back(times: list[int]) -> None:
    """Any strictly increasing milliseconds, by both decoders; searching them is exact."""
    block = _block([[7] * len(times)], times)
    cache = Cache(1 << 20)
    assert block.timestamps(0) == times
    assert block.times(0, 0, len(times), cache).tolist() == times
    assert (block.mint, block.maxt) == block.bounds(0) == (times[0], times[-1])
    middle = times[len(times) // 2]
    lo, hi = block.span(0, middle, times[-1] - 1, cache)
    assert times[lo:hi] == [t for t in times if middle <= t < times[-1]]


@given(st.lists(st.integers(-(1 << 63), (1 << 63) - 1), min_size=1, max_size=50))
@settings(max_examples=120)
def test_deltas_come_back_modulo_two_to_the_64(numbers: list[int]) -> None:
    """Differences that do not fit 64 bits wrap, and wrap back."""
    done = deltas.encode(numbers)
    unsigned = deltas.read(done.body, len(numbers), done.planes, done.coding, done.detail)
    got = deltas.decode(unsigned, done.first, done.bias, done.divisor)
    assert deltas.signed(got) == numbers


_NOISE = random.Random(7)
_TICKS = [_NOISE.randrange(200) for _ in range(1024)]


@pytest.mark.parametrize(
    ("name", "values", "form", "planes", "most"),
    [
        ("constant", [3.5] * 1024, 1, 0, 8),
        ("constant full mantissa", [math.pi] * 1024, 2, 0, 14),
        ("one value", [3.5], 1, 0, 8),
        ("regular counter", [float(i * 4096) for i in range(1024)], 1, 0, 12),
        ("uptime in ticks", [i / 100 for i in range(1024)], 1, 0, 10),
        ("ticks", [sum(_TICKS[:i]) / 100 for i in range(1024)], 1, 1, 1040),
        ("pages", [float(4096 * n) for n in _TICKS], 1, 2, 1300),
        ("zero, then bytes that read as minus zero", [0.0, 512.0] * 512, 1, 1, 300),
        ("nanoseconds", [sum(_TICKS[:i]) / 1e9 for i in range(1024)], 1, 1, 1040),
        ("full mantissas", [1000 + math.sqrt(n) for n in range(1024)], 2, 6, 6000),
        ("minus zero", [0.0, -0.0] * 512, 2, 1, 300),
        ("infinite", [1.0, math.inf] * 512, 2, 8, 600),
        ("a short life", [math.nan] * 500 + [4.0, 4.0, 5.0] + [math.nan] * 521, 1, 1, 18),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_form_is_chosen_where_it_pays(name: str, values: list[float], form: int, planes: int, most: int) -> None:
    """What probes measure takes the fewest planes; what does not change, a few bytes (NaN: absent here)."""
    words = array("Q", [STALE_BITS if math.isnan(value) else _words([value])[0] for value in values])
    encoded = column.encode(words)
    assert (encoded.form, encoded.planes) == (form, planes), encoded
    assert len(record.write(encoded)) <= most


@pytest.mark.parametrize(
    ("name", "delta", "planes", "coding", "detail"),
    [
        ("six bits", lambda rng: rng.randrange(64), 1, PACKED, 6),
        ("jitter", lambda rng: min(63, max(0, round(rng.gauss(32, 8)))), 1, PACKED, 6),
        ("all bits", lambda rng: rng.randrange(256), 1, STORED, 0),
        ("noise and two bits", lambda rng: rng.randrange(1 << 10), 2, PACKED, 2),
        ("bursts", lambda rng: rng.randrange(1 << 20) if rng.random() < 0.2 else 0, 3, SPARSE, 0),
        ("rare steps", lambda rng: int(rng.random() < 0.02), 1, DEFLATED, 0),
        ("noise and rare steps", lambda rng: rng.randrange(256) + (rng.random() < 0.01) * 65536, 3, DEFLATED, 1),
        ("few of many", lambda rng: rng.choice((0, 1, 200)), 1, DEFLATED, 0),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_coding_is_chosen_where_it_pays(
    name: str, delta: Callable[[random.Random], int], planes: int, coding: int, detail: int
) -> None:
    """Deflate is used only if it is much shorter, so that readers do not inflate for next to nothing."""
    rng = random.Random(name)
    numbers = list(accumulate([delta(rng) for _ in range(1024)]))
    done = deltas.encode(numbers)
    assert (done.planes, done.coding, done.detail) == (planes, coding, detail)
    unsigned = deltas.read(done.body, len(numbers), done.planes, done.coding, done.detail)
    assert deltas.decode(unsigned, done.first, done.bias, done.divisor) == numbers
    assert len(done.body) <= planes * len(numbers)


@given(st.binary(max_size=70), st.integers(1, 8))
def test_packed_bytes_come_back(plane: bytes, bits: int) -> None:
    """The lowest bits of each byte; each field takes less than a byte more."""
    packed = packing.pack(plane, bits)
    assert len(packed) == packing.packed_size(len(plane), bits) <= len(plane) * bits / 8 + 3
    assert packing.unpack(packed, len(plane), bits) == bytes(byte & (1 << bits) - 1 for byte in plane)


_BITS_64 = st.integers(-(1 << 63), (1 << 63) - 1)


@st.composite
def _bodies(draw: st.DrawFn, rows: int) -> tuple[int, int, int, bytes]:
    """(planes, coding, detail, a body of the right length, mostly)."""
    coding = draw(st.sampled_from([STORED, PACKED, SPARSE]))
    planes = draw(st.sampled_from([0, 1, 1, 2, 3, 5, 7, 8] if coding == STORED else [1, 1, 2, 3, 5, 7, 8]))
    detail, source = draw(st.integers(1, 8)) if coding == PACKED else 0, draw(st.randoms(use_true_random=False))
    if coding == SPARSE:
        there = [source.randrange(2) for _ in range(rows)]
        body = packing.pack(bytes(there), 1) + source.randbytes(planes * sum(there))
    elif coding == PACKED:
        body = source.randbytes((planes - 1) * rows + packing.packed_size(rows, detail))
    else:
        body = source.randbytes(planes * rows)
    return planes, coding, detail, body[draw(st.sampled_from([0] * 30 + [1])) :]


def _assert_alike(block: Block, refs: list[int]) -> None:
    """Columns read at once are the same as read one by one, or damage is noticed by both."""
    try:
        each: object = [block.words(place).tolist() for place in refs]
    except BlockError:
        each = "damaged"
    at_once: object
    for short, little in _KEPT:
        try:
            with patch.multiple(block_columns, _SHORT=short, _LITTLE=little):
                at_once = _read_bits(block, refs, block.rows(0))
        except BlockError:
            at_once = "damaged"
        assert each == at_once


@given(st.data(), st.integers(1, 40))
@settings(max_examples=50)
def test_many_columns_at_once_are_what_each_is(data: st.DataObject, rows: int) -> None:
    """Any records side by side, also with gaps; if one of them is damaged, reading all is an error."""
    writer = BlockWriter()
    timeline = writer.add_timeline([1000 * i for i in range(rows)])
    refs = list(range(data.draw(st.integers(5, 9))))
    for ref in refs:
        flips = data.draw(st.sampled_from([None] * 5 + [[], [0, rows], [rows // 2], [0, rows // 3, rows // 2]]))
        if flips is not None and (sorted(set(flips)) != flips or [*flips, rows][0] >= rows):
            flips = None
        first, last = record.window_of(flips, rows) if flips is not None else (0, rows)
        planes, coding, detail, body = data.draw(_bodies(last - first)) if first < last else (0, STORED, 0, b"")
        fields = (data.draw(_BITS_64), data.draw(_BITS_64 | st.just(0)), data.draw(st.integers(1, 99)))
        writer.add(ref, timeline, Record(2, False, planes, coding, detail, 0, *fields, 0, 0, flips, body))
    block = writer.finish(0, 0)
    _assert_alike(block, refs)


@given(st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=3))
@settings(max_examples=120)
def test_damage_is_noticed_by_many_as_by_each(changes: list[tuple[int, int]]) -> None:
    """Bytes of records changed at random: the same data, or an error from both."""
    data = bytearray(_ALIKE.data)
    begin = len(data) - len(_ALIKE.column_records()[1])
    for at, value in changes:
        data[begin + at % (len(data) - begin)] = value
    block = Block(bytes(data), _ALIKE.refs, 0, 0, 0)
    refs = list(_ALIKE.refs)
    _assert_alike(block, refs)


def test_selected_columns_in_any_order_of_forms() -> None:
    """Columns of all forms and widths read together, absent ones among them."""
    rng = random.Random(2)
    columns = [
        _words([1.0] * 50),
        _words([float(i) for i in range(50)]),
        _words([rng.random() for _ in range(50)]),
        [STALE_BITS] * 20 + _words([5.0] * 10) + [STALE_BITS] * 20,
        _words([rng.randrange(1 << 30) / 100 for _ in range(50)]),
        _words([float(rng.randrange(100)) for _ in range(50)]),
    ]
    writer = BlockWriter()
    writer.add_timeline(range(50))
    for i, words in enumerate(columns):
        writer.add(10 * i, 0, column.encode(array("Q", words)))
    block = writer.finish(0, 0)
    refs = [0, 5, 10, 20, 30, 40, 50, 99]
    expected = [columns[ref // 10] if ref in (0, 10, 20, 30, 40, 50) else [STALE_BITS] * 50 for ref in refs]
    assert _read(block, refs, 0, 50) == expected
    assert _read(block, refs, 17, 31) == [line[17:31] for line in expected]
    assert list(block.timelines_of([10, 11])) == [0, None]
    assert list(block.timelines_of(range(60))) == [0 if ref % 10 == 0 else None for ref in range(60)]


def test_columns_of_one_width_in_several_codings() -> None:
    """Sparse and packed ones of various bits are returned in the order asked for."""
    source, columns, codings = random.Random(4), [], []
    for bits in (7, 4, 6, None, 5, 3, None, 7, 4, None, 3, 6, None, 5, None):
        if bits is None:
            jumps = [source.randrange(1 << 15, 1 << 16) if source.random() < 0.1 else 0 for _ in range(200)]
        else:
            jumps = [source.randrange(1 << 8 + bits) for _ in range(200)]
        jumps[:2] = 0, (1 << 16) - 1 if bits is None else (1 << 8 + bits) - 1
        columns.append(_words([float(n) for n in accumulate(jumps)]))
        one = column.encode(array("Q", columns[-1]))
        assert one.planes == 2
        codings.append((one.coding, one.detail))
    assert len(set(codings)) == 6
    block = _block(columns)
    for refs in (list(range(15)), [ref for ref, (coding, _) in enumerate(codings) if coding == PACKED]):
        assert _read(block, refs, 0, 200) == [columns[ref] for ref in refs]


def test_the_ends_of_one_range_are_not_those_of_another() -> None:
    """The first and last values that cached columns remember belong to their range."""
    block, cache = _block([_words([float(i * k) for i in range(50)]) for k in range(8)]), Cache(1 << 20)
    for lo, hi in ((0, 50), (10, 20), (10, 21), (0, 50)):
        ends = block.part(range(8), lo, hi, cache).ends()
        assert ends.tolist() == [[k * lo, k * (hi - 1)] for k in range(8)]


def test_short_columns_among_long_ones() -> None:
    """Each lasts for a few rows of its own; read side by side, in parts, by their windows, and with the long ones."""
    source = random.Random(6)
    columns, windows = [], []
    for number in range(40):
        start, rows = (source.randrange(280), source.randrange(1, 21)) if number % 8 else (0, 300)
        values = _words([source.randrange(1 << 20) / (1, 100, 3)[number % 3] for _ in range(rows)])
        columns.append([STALE_BITS] * start + values + [STALE_BITS] * (300 - start - rows))
        windows.append((number, start, start + rows))
    block = _block(columns)
    refs = list(range(40))
    assert list(block.lifetimes(refs)) == windows
    assert list(block.lifetimes([1, 3, 99])) == [(0, *windows[1][1:]), (1, *windows[3][1:])]
    for lo, hi in ((0, 300), (100, 101), (37, 222)):
        assert _read(block, refs, lo, hi) == [line[lo:hi] for line in columns]
    start, end = np.array([window[1:] for window in windows]).T
    part = block.part(refs, 0, 300, Cache(1 << 20))
    assert part.present(start, end)
    assert not part.present(start, end + (end < 300))
    found = part.at(np.stack((start, end - 1), axis=1)).view(np.uint64).tolist()
    assert found == [[columns[i][start], columns[i][end - 1]] for i, start, end in windows]


def test_a_block_without_columns_keeps_its_timestamps() -> None:
    """All series are absent there, which ends them."""
    writer = BlockWriter()
    writer.add_timeline([5, 6])
    block = writer.finish(0, 0)
    assert _read(block, [1, 2], 0, 2) == [[STALE_BITS] * 2] * 2
    assert block.timestamps(0) == [5, 6]


def _outcome(data: bytes, columns: int) -> list[object]:
    """Reading everything in these bytes: the words, or that they are refused."""
    try:
        block = Block(data, array("q", range(columns)), 0, 0, 0)
    except BlockError as error:
        assert str(error)
        return ["refused"]
    out: list[object] = []
    for place in range(columns):
        try:
            plain: object = block.words(place).tolist()
        except BlockError:
            plain = "damaged"
        try:
            vector: object = _read_bits(block, [place], block.rows(block.timeline_of(place)))[0]
        except BlockError:
            vector = "damaged"
        assert plain == vector
        out.append(plain)
    for timeline in range(block.timelines):
        try:
            plain = block.timestamps(timeline)
        except BlockError:
            plain = "damaged"
        try:
            vector = block.times(timeline, 0, 1 << 16, Cache(1 << 20)).tolist()
        except BlockError:
            vector = "damaged"
        assert plain == vector
    return out


def _read_bits(block: Block, refs: list[int], height: int) -> list[list[int]]:
    out = np.empty((len(refs), height), np.uint64)
    block.part(refs, 0, height, Cache(1 << 20)).write(out)
    return [line.tolist() for line in out]


_SAMPLE = _block(
    [
        _words([1.0] * 30),
        _words([i * 1.5 for i in range(30)]),
        [STALE_BITS] * 3 + _words([math.sin(i) for i in range(20)]) + [STALE_BITS] * 7,
        _words([float(i * i % 7) for i in range(30)]),
    ],
    [i * i * 1000 for i in range(30)],
)


@given(st.lists(st.tuples(st.integers(0, len(_SAMPLE.data) - 1), st.integers(0, 255)), min_size=1, max_size=4))
@settings(max_examples=120)
def test_damaged_blocks_give_data_or_a_clear_error(changes: list[tuple[int, int]]) -> None:
    """Any change to a block's bytes: both decoders refuse it, or give the same."""
    data = bytearray(_SAMPLE.data)
    for at, value in changes:
        data[at] = value
    _outcome(bytes(data), 4)


@given(st.binary(max_size=400), st.integers(0, 3), st.integers(0, 3))
@settings(max_examples=120)
def test_any_bytes_are_a_block_or_a_clear_error(body: bytes, columns: int, timelines: int) -> None:
    """Random bytes, also behind a valid header, never make a reader leave the block."""
    _outcome(body, columns)
    header = HEADER.pack(b"PPb1", columns, timelines, HEADER.size + len(body), -(1 << 53), 1 << 53)
    _outcome(header + body, columns)


@pytest.mark.parametrize(
    ("at", "value", "text"),
    [
        (0, b"X", "not a block: it begins with"),
        (12, b"\xff", "4 columns and 1 timelines in"),
        (4, b"\xff", "255 columns and 1 timelines"),
        (8, b"\x00", "4 columns and 0 timelines"),
    ],
)
def test_a_refusal_names_the_place(at: int, value: bytes, text: str) -> None:
    """The error says what is wrong with a block's header."""
    data = bytearray(_SAMPLE.data)
    data[at : at + len(value)] = value
    with pytest.raises(BlockError, match=text):
        Block(bytes(data), array("q", range(4)), 0, 0, 0)
    with pytest.raises(BlockError, match="a block of 4 columns, with 3 series"):
        Block(bytes(_SAMPLE.data), array("q", range(3)), 0, 0, 0)


def test_damaged_streams_are_noticed() -> None:
    """A stream that is cut, too long, or no deflate at all is an error, and inflating it stays within its size."""
    stream = deltas.encode([i // 50 + i // 70 * 200 for i in range(1000)])
    assert (stream.coding, stream.detail) == (DEFLATED, 0)
    for damaged in (stream.body[:-1], stream.body + b"\0", b"\xff" * 20, b""):
        with pytest.raises(BlockError):
            deltas.read(damaged, 1000, stream.planes, DEFLATED, 0)
    for body, rows, planes, coding, detail in (
        (stream.body, 10, stream.planes, DEFLATED, 0),
        (b"abc", 4, 1, STORED, 0),
        (b"abc", 4, 1, PACKED, 4),
        (b"", 4, 0, PACKED, 4),
        (b"ab", 4, 1, PACKED, 0),
        (b"\3a", 4, 1, SPARSE, 0),
        (b"", 4, 1, SPARSE, 0),
    ):
        with pytest.raises(BlockError):
            deltas.read(body, rows, planes, coding, detail)


def test_codings_that_are_unknown_are_noticed() -> None:
    """Bits that only a later version may use are an error."""
    data = bytearray(record.write(column.encode(array("Q", _words([1.0, 2.0, 4.0])))))
    data[0] |= 64
    with pytest.raises(BlockError, match="an invalid record"):
        record.parse(memoryview(data))


@pytest.mark.parametrize("flips", [(3, 2), (2, 2), (0, 99), (50,), (0, 40, 30), (1, 5, 3, 9)], ids=repr)
def test_gaps_that_do_not_fit_are_noticed(flips: tuple[int, ...]) -> None:
    """Rows beyond the last, or out of order: an error from both decoders."""
    good = column.encode(array("Q", _words([float(i) for i in range(50)])))
    writer = BlockWriter()
    writer.add_timeline(range(50))
    with pytest.raises(BlockError, match="gaps"):
        writer.add(0, 0, good._replace(flips=flips))
    with pytest.raises(BlockError, match="gaps"):
        column.decode(good._replace(flips=flips), 50)


def test_forms_are_a_table() -> None:
    """The numbers in the files are what the drawing says."""
    assert FORMS == {1: DECIMAL, 2: BITS}
    assert HEADER.size == 32
