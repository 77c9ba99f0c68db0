"""The maximum of a gauge over a rolling window, at the cost of O(1) a value."""

from collections import deque
from collections.abc import Iterable
from math import ceil, inf

# The window advances in this many steps: it is at most one step too long and keeps at most this many values.
_STEPS = 32


class WindowMax:
    """Keeps the values that are, or may become, the window's largest: each is later and smaller than the one before.

    Of each step only the largest value is kept. Times are seconds of a clock that never steps back, the same in a
    successor.
    """

    __slots__ = ("_before", "_kept", "_now", "_step", "_step_s", "_until_s")

    def __init__(self, window_s: float) -> None:
        self._step_s = window_s / _STEPS
        self._kept: deque[tuple[int, float]] = deque()  # earlier steps and their largest values
        self._step, self._until_s = 0, -inf  # the current step and its end
        self._now = -inf  # the largest value of the current step
        self._before = -inf  # the largest value of the window's earlier steps

    def add(self, now_s: float, value: float) -> None:
        """Take the gauge's current value."""
        if now_s > self._until_s:
            self._move(now_s)
        if value > self._now:
            self._now = value

    def read(self, now_s: float) -> float | None:
        """The window's largest value; None where it has none."""
        if now_s > self._until_s:
            self._move(now_s)
        largest = self._now if self._now > self._before else self._before
        return None if largest == -inf else largest

    def _move(self, now_s: float) -> None:
        """Begin the step of `now_s`."""
        self._kept = deque(self.save())
        self._step = ceil(now_s / self._step_s)
        self._until_s = self._step * self._step_s
        self._now = -inf
        while self._kept and self._kept[0][0] < self._step - _STEPS:
            self._kept.popleft()
        self._before = self._kept[0][1] if self._kept else -inf

    def save(self) -> list[tuple[int, float]]:
        """What `restore` takes."""
        kept = list(self._kept)
        if self._now > -inf:
            while kept and kept[-1][1] <= self._now:
                kept.pop()
            kept.append((self._step, self._now))
        return kept

    def restore(self, kept: Iterable[tuple[int, float]]) -> None:
        """Continue from a predecessor whose window had the same length."""
        self._kept = deque(kept)
        self._step, self._until_s, self._now = 0, -inf, -inf
