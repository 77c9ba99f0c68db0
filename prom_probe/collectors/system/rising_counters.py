"""Counters of the kernel's that fall now and then, and must not: PromQL takes a fall for a new beginning at 0.

iowait and steal go back by a tick or by hours, idle when its CPU goes offline (proc_stat(5)); a rate over such a fall
would be as large as the whole counter.
"""

from collections.abc import Sequence

import msgspec


class RisingCounters:
    """A small fall is waited out; after a larger one, the counter goes on from where it was."""

    def __init__(self, count: int, most_back: int) -> None:
        """`most_back`: the largest fall that is waited out."""
        self._most_back = most_back
        self._shown = [0] * count
        self._added = [0] * count  # to the kernel's numbers, for the falls so far

    def read(self, numbers: Sequence[int]) -> list[int]:
        """The counters, given what the kernel says."""
        for i, number in enumerate(numbers):
            fall = self._shown[i] - self._added[i] - number
            if fall > self._most_back:
                self._added[i] += fall
            elif fall < 0:
                self._shown[i] = number + self._added[i]
        return self._shown

    def save(self) -> tuple[list[int], list[int]]:
        """What `restore` takes."""
        return self._shown, self._added

    def restore(self, state: object) -> None:
        """Go on where a predecessor was; another state than that of as many counters is left alone."""
        count = len(self._shown)
        try:
            shown, added = msgspec.convert(state, tuple[list[int], list[int]])
        except msgspec.ValidationError:
            return
        if len(shown) == len(added) == count:
            self._shown, self._added = shown, added
