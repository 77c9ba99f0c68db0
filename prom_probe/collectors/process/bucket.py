"""A token bucket: bounds what may come at once, and how much goes on coming."""


class Bucket:
    """Holds `size` tokens at first and at most, and gets `per_s` a second."""

    __slots__ = ("_at_s", "_per_s", "_size", "_tokens")

    def __init__(self, size: float, per_s: float) -> None:
        self._size, self._per_s = size, per_s
        self._tokens = size
        self._at_s: float | None = None  # when it was last refilled

    def refill(self, now_s: float) -> int:
        """The whole tokens in it at a monotonic time."""
        if self._at_s is not None:
            self._tokens = min(self._size, self._tokens + max(0.0, now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        return int(self._tokens)

    def take(self, count: int) -> None:
        """Take so many of those that `refill` returned."""
        self._tokens -= count
