"""The maximum of a gauge over a rolling window, at the cost of O(1) a value."""

from collections import deque
from collections.abc import Iterable
from math import ceil

# The window moves on in so many steps: it is up to one of them longer than asked for, and no more values are kept.
_STEPS = 32


class WindowMax:
    """Keeps the values that are, or may become, the largest of the window: ever later and ever smaller ones.

    Times are seconds of a clock that never steps back, the same in a successor.
    """

    __slots__ = ("_kept", "_step_s")

    def __init__(self, window_s: float) -> None:
        self._step_s = window_s / _STEPS
        self._kept: deque[tuple[int, float]] = deque()  # the step of the window it belongs to, the value

    def add(self, now_s: float, value: float) -> None:
        """The gauge's value of this moment."""
        kept = self._kept
        while kept and kept[-1][1] <= value:
            kept.pop()
        step = self._step(now_s)
        if not kept or kept[-1][0] != step:
            kept.append((step, value))

    def read(self, now_s: float) -> float | None:
        """The largest value of the window, None where there is none in it."""
        kept = self._kept
        oldest = self._step(now_s) - _STEPS
        while kept and kept[0][0] < oldest:
            kept.popleft()
        return kept[0][1] if kept else None

    def _step(self, now_s: float) -> int:
        return ceil(now_s / self._step_s)

    def save(self) -> list[tuple[int, float]]:
        """What `restore` takes."""
        return list(self._kept)

    def restore(self, kept: Iterable[tuple[int, float]]) -> None:
        """Go on from a predecessor whose window was as long."""
        self._kept = deque(kept)
