"""Frames: which samples each window has, and how far rate extrapolates from them."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from prom_probe.promql.frame import frame_of

_TIMES = st.lists(st.sampled_from([1000, 1500, 2000]), min_size=1, max_size=5).map(lambda steps: np.cumsum([0, *steps]))


@settings(max_examples=200)
@given(_TIMES, st.integers(1, 4), st.sampled_from([0, 300, 500, 1000]), st.sampled_from([1000, 3000]))
def test_a_frame_window_by_window(times: np.ndarray, steps: int, step_ms: int, range_ms: int) -> None:
    """Left-open, right-closed; spans and gaps as in Prometheus."""
    ends = 1800 + step_ms * np.arange(steps)
    frame = frame_of(times[np.newaxis], ends, range_ms)
    with np.errstate(all="ignore"):
        edges = frame.edges()
        reach = frame.reach(edges)
    assert frame.times.tolist() == [times.tolist()]
    assert frame.bounds.tolist() == [(ends - range_ms).tolist(), ends.tolist()]
    for w, end in enumerate(ends.tolist()):
        inside = [i for i, t in enumerate(times.tolist()) if end - range_ms < t <= end]
        assert list(range(frame.first[0, w], frame.end[0, w])) == inside
        assert frame.count[0, w] == len(inside)
        if inside:
            assert edges[:, 0, w].tolist() == [inside[0], inside[-1]]
        if len(inside) > 1:
            first, last = times[inside[0]], times[inside[-1]]
            covered, to_start, to_end = (column[0, w] for column in reach)
            spacing = (last - first) / 1000 / (len(inside) - 1)
            assert covered == (last - first) / 1000
            for found, gap in ((to_start, (first - end + range_ms) / 1000), (to_end, (end - last) / 1000)):
                assert found == (gap if gap < spacing * 1.1 else spacing / 2)
