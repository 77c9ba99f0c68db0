"""Frames of windows: what is kept is what would be made anew."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prom_probe.promql import frame as module
from prom_probe.promql.frame import Frame, frame_of


@pytest.fixture(autouse=True)
def kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[module._Frames]:
    frames = module._Frames()
    monkeypatch.setattr(module, "_kept", frames)
    yield frames


def assert_right(frame: Frame, times: list[int], ends: list[int], range_ms: int) -> None:
    """Window by window."""
    assert frame.times.tolist() == [times]
    assert frame.bounds.tolist() == [[end - range_ms for end in ends], ends]
    for w, end in enumerate(ends):
        inside = [i for i, t in enumerate(times) if end - range_ms < t <= end]
        assert list(range(frame.first[0, w], frame.end[0, w])) == inside
        assert frame.count[0, w] == len(inside)
        if inside:
            assert frame.edges[:, 0, w].tolist() == [inside[0], inside[-1]]
        if len(inside) > 1:
            first, last = times[inside[0]], times[inside[-1]]
            covered, to_start, to_end = (column[0, w] for column in frame.reach)
            spacing = (last - first) / 1000 / (len(inside) - 1)
            assert covered == (last - first) / 1000
            for found, gap in ((to_start, (first - end + range_ms) / 1000), (to_end, (end - last) / 1000)):
                assert found == (gap if gap < spacing * 1.1 else spacing / 2)


# Few of each, so that the same come again, and such that differ in one place only.
_TIMES = st.lists(st.sampled_from([1000, 1500, 2000]), min_size=1, max_size=5).map(lambda steps: np.cumsum([0, *steps]))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(_TIMES, st.integers(1, 4), st.sampled_from([0, 300, 500, 1000]), st.sampled_from([1000, 3000])),
        min_size=1,
        max_size=40,
    )
)
def test_a_frame_is_its_own_whatever_was_asked_before(asked: list[tuple[np.ndarray, int, int, int]]) -> None:
    """Also where times differ between their first and last, which are the same."""
    with np.errstate(all="ignore"):
        for times, steps, step_ms, range_ms in asked:
            ends = 1800 + step_ms * np.arange(steps)
            assert_right(frame_of(times, ends, range_ms), times.tolist(), ends.tolist(), range_ms)


def test_the_same_is_not_made_again(kept: module._Frames) -> None:
    """Equal arrays are enough; what is kept does not change with what it was made of."""
    times, ends = np.arange(10) * 1000, np.arange(3) * 2000
    frame = frame_of(times, ends, 5000)
    assert frame_of(times.copy(), ends.copy(), 5000) is frame
    times[5] += 1
    assert frame_of(times, ends, 5000) is not frame
    assert frame.times.tolist() == [list(range(0, 10_000, 1000))]


def test_few_and_small_ones_are_kept(kept: module._Frames) -> None:
    """The last eight."""
    times, ends = np.arange(10) * 1000, np.arange(3) * 2000
    frames = [frame_of(times, ends, 1000 * n) for n in range(1, 10)]
    assert len(kept._frames) == 8
    assert all(frame_of(times, ends, 1000 * n) is frame for n, frame in enumerate(frames[1:], 2))
    assert frame_of(times, ends, 1000) is not frames[0]
    large = np.arange(1 << 15) * 1000
    assert frame_of(large, ends, 1000) is not frame_of(large, ends, 1000)
    steps = np.arange(1 << 11)
    assert frame_of(times, steps, 1000) is not frame_of(times, steps, 1000)
