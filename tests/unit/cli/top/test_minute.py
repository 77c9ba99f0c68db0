"""The last minute: what is asked for once, what again; and the blocks that are drawn of it."""

from __future__ import annotations

import pytest

from prom_probe.cli.answer import AnswerSeries
from prom_probe.cli.top.minute import MinuteCache, added
from prom_probe.cli.top.sparkline import sparkline


def answer(start: int, end: int, pid: int = 7) -> list[AnswerSeries]:
    """A series whose value is its time."""
    points = [(float(t), str(t)) for t in range(start, end + 1)]
    return [AnswerSeries({"q": "memory", "pid": str(pid)}, points)]


def test_only_what_is_not_known_is_asked_for() -> None:
    """Back and forth by a second asks for a second, or for nothing."""
    cache = MinuteCache()
    assert cache.missing(1000.0) == (941.0, 1000.0)
    cache.add(941.0, 1000.0, answer(941, 1000), settled_s=2000.0)
    assert cache.missing(1000.0) is None
    assert cache.missing(1001.0) == (1001.0, 1001.0)
    assert cache.missing(990.0) == (931.0, 940.0)
    assert cache.minute(1000.0).of("memory", 7) == [float(t) for t in range(941, 1001)]


def test_a_second_whose_samples_may_be_late_is_asked_for_again() -> None:
    """Else one that was read too early would stay wrong."""
    cache = MinuteCache()
    cache.add(941.0, 1000.0, answer(941, 999), settled_s=998.0)
    assert cache.missing(1000.0) == (999.0, 1000.0)
    cache.add(999.0, 1000.0, answer(999, 1000), settled_s=1002.0)
    assert cache.missing(1000.0) is None and cache.minute(1000.0).of("memory", 7)[-1] == 1000.0


def test_a_pid_that_is_used_again_has_its_own_seconds() -> None:
    """From its start on, and before its end."""
    cache = MinuteCache()
    cache.add(941.0, 1000.0, answer(941, 1000), settled_s=2000.0)
    cells = cache.minute(1000.0).of("memory", 7, 998.0, 1000.0)
    assert cells == [None] * 57 + [998.0, 999.0, None]
    assert cache.minute(1000.0).of("memory", 8) == [None] * 60


def test_it_forgets_what_is_far_away() -> None:
    """However long somebody walks through time."""
    cache = MinuteCache()
    for end in range(1000, 4000, 60):
        cache.add(end - 59.0, float(end), answer(end - 59, end), settled_s=5000.0)
        assert cache.minute(float(end)).of("memory", 7)[-1] == end
    assert cache.missing(1000.0) is not None


@pytest.mark.parametrize(
    ("cells", "width", "top", "line"),
    [
        ([0.0, 4.0, 8.0], 3, 8.0, "▁▄█"),
        ([None, 8.0, None], 3, 8.0, " █ "),
        ([1.0, 8.0, 1.0, None], 2, 8.0, "█▁"),
        ([0.0, 0.0], 2, 0.0, "▁▁"),
        ([None, None], 1, 0.0, " "),
        ([9.0], 1, 8.0, "█"),
    ],
)
def test_sparklines(cells: list[float | None], width: int, top: float, line: str) -> None:
    """A character is its greatest value; what was not there is a space, what is 0 is not."""
    assert sparkline(cells, width, top) == line


def test_seconds_are_added() -> None:
    """Where at least one has a value."""
    assert added([[1.0, None, None], [2.0, 3.0, None]]) == [3.0, 3.0, None]
