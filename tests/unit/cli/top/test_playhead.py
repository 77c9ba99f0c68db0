"""Where in time the keys lead."""

from __future__ import annotations

import pytest

from prom_probe.cli.top.playhead import LIVE, Playhead


@pytest.mark.parametrize(
    ("begin", "steps", "end"),
    [
        (LIVE, [-1], 999.0),
        (LIVE, [-10, -1, 1], 990.0),
        (LIVE, [-1, 1], 1000.0),
        (LIVE, [-1, 10], None),
        (LIVE, [1], None),
        (Playhead(995.0), [10, 1, 1], None),
        (Playhead(995.0), [10, -1], 999.0),
    ],
)
def test_steps_while_the_newest_moment_is_1000(begin: Playhead, steps: list[int], end: float | None) -> None:
    """Beyond it is live, and from there the way back begins at it."""
    for seconds in steps:
        begin = begin.stepped(seconds, 1000.0)
    assert begin == Playhead(end)


def test_live_and_stopped() -> None:
    """The same key, there and back."""
    assert LIVE.toggled(1000.0) == Playhead(1000.0) and Playhead(5.0).toggled(5.0) == LIVE
