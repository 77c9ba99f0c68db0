"""The maxima of a tree's gauges in the rolling window, so that a scrape shows a spike since the last one."""

from __future__ import annotations

from prom_probe.collectors.base import Context
from prom_probe.collectors.process.tree import Tree
from prom_probe.collectors.window import WindowMax

# The least time for a rate: ticks are coarse, and a collection on request may come right after another.
_RATE_S = 0.5

# The windows, in the order of checkpoints.
RESIDENT, ANONYMOUS, PROCESSES, THREADS, OPEN_FDS, CPUS, RUN_QUEUE = range(7)

Saved = list[list[tuple[int, float]]]


class Maxima:
    """The maxima of one tree."""

    def __init__(self, context: Context) -> None:
        self._windows = [WindowMax(context.max_window_s) for _ in range(RUN_QUEUE + 1)]
        self._page = context.page_bytes
        self._hz = context.ticks_per_s
        self._at: float | None = None  # when the readings of the last rates began
        self._ticks = self._waited = 0
        self._all_threads = context.context_switches  # whether all threads' waiting is counted, or only main threads'
        self._waiters = 0  # how many threads could wait then

    def add(self, tree: Tree, begun_s: float, now_s: float) -> None:
        """Take the tree's new sums; a tree without processes adds nothing.

        The processes were read from `begun_s` to `now_s`. A rate is taken from the beginning of one collection's
        readings to the end of the next one's, so that a collection that is held up never makes it larger than it was.
        """
        if not tree.processes:
            self._at = None
            return
        windows, sums = self._windows, tree.sums
        windows[RESIDENT].add(now_s, max(sums.resident, tree.peak_between) * self._page)
        windows[ANONYMOUS].add(now_s, (sums.resident - sums.shared) * self._page)
        windows[PROCESSES].add(now_s, tree.processes)
        windows[THREADS].add(now_s, sums.threads)
        if not sums.denied_fds:
            windows[OPEN_FDS].add(now_s, sums.open_fds)
        elapsed = 0.0 if self._at is None else now_s - self._at
        if self._at is not None and elapsed < _RATE_S:
            return
        ticks, waited = tree.counters[0] + tree.counters[1], tree.counters[6]
        waiters = sums.threads if self._all_threads else tree.processes
        if self._at is not None:
            windows[CPUS].add(now_s, max(0, ticks - self._ticks - tree.brought) / self._hz / elapsed)
            if not sums.denied_waited:
                length = max(0, waited - self._waited - tree.brought_waited) / 1e9 / elapsed
                # The kernel counts a whole wait when it ends. No more threads can have waited than there were.
                windows[RUN_QUEUE].add(now_s, min(length, max(self._waiters, waiters)))
        self._waiters = waiters
        self._at, self._ticks, self._waited = begun_s, ticks, waited
        tree.brought = tree.brought_waited = 0

    def read(self, now_s: float) -> list[float | None]:
        """The maxima in order; None where a window has no value."""
        return [window.read(now_s) for window in self._windows]

    def save(self) -> Saved:
        return [window.save() for window in self._windows]

    def restore(self, saved: Saved) -> None:
        for window, kept in zip(self._windows, saved, strict=False):
            window.restore(kept)
