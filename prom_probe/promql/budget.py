"""What a query may use: time, samples, and a share of the memory that all running queries have together."""

from __future__ import annotations

import threading
import time

from prom_probe.promql.result import QueryError


class Accountant:
    """The bytes that running queries hold together; safe to use from any thread."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._lock = threading.RLock()  # a finalizer may run inside

    @property
    def used(self) -> int:
        return self._used

    def take(self, size: int) -> None:
        """Book `size` bytes (negative: give them back); raises QueryError (execution) beyond the limit."""
        with self._lock:
            if size > 0 and self._used + size > self._limit:
                raise QueryError(
                    "execution",
                    f"query needs more memory than the {self._limit} bytes that all queries may use together"
                    " (--query.max-memory)",
                )
            self._used += size


class Booking:
    """So many bytes, booked for as long as this lives."""

    __slots__ = ("_accountant", "_size")

    def __init__(self, accountant: Accountant, size: int) -> None:
        """Raises QueryError (execution) beyond the limit."""
        self._size = 0
        self._accountant = accountant
        accountant.take(size)
        self._size = size

    def __del__(self) -> None:
        self._accountant.take(-self._size)


# A query that calls many small C functions releases the interpreter and takes it back before another thread has woken
# up; that thread never waits as long without a signal as it must to have it (sys.setswitchinterval), and the loop stood
# still until the query's end. So a query sleeps for a moment now and then.
_GIVE_WAY_EVERY_S = 0.005
_GIVE_WAY_S = 0.00005

# The accountant is told of what a query holds in grains of so many bytes: it is asked a few times a query then.
_GRAIN = 1 << 16


class Budget:
    """One query's: owned by the thread that evaluates it. `release` when it ends."""

    def __init__(self, accountant: Accountant, timeout_s: float, max_samples: int) -> None:
        now = time.monotonic()
        self.deadline = now + timeout_s  # time.monotonic() seconds
        self._give_way_at = now + _GIVE_WAY_EVERY_S
        self.samples = 0
        self.held = self.peak = 0  # bytes
        self._booked = 0  # with the accountant: at least `held`, and at most two grains more
        self._accountant = accountant
        self._max_samples = max_samples

    def check(self) -> None:
        """To be called often. Raises QueryError (timeout) past the deadline; gives way to other threads."""
        now = time.monotonic()
        if now >= self.deadline:
            raise timed_out()
        if now >= self._give_way_at:
            time.sleep(_GIVE_WAY_S)
            self._give_way_at = time.monotonic() + _GIVE_WAY_EVERY_S

    def read(self, samples: int) -> None:
        """Count samples that were read; raises QueryError (execution) beyond the limit, (timeout) past the deadline."""
        self.samples += samples
        if self.samples > self._max_samples:
            raise QueryError(
                "execution",
                "query processing would load too many samples into memory in query execution:"
                f" more than {self._max_samples} (--query.max-samples)",
            )
        self.check()

    def hold(self, size: int) -> None:
        """Book `size` more bytes, or give them back where it is negative."""
        held = self.held + size
        if not held <= self._booked <= held + 2 * _GRAIN:
            self._book(held)
        self.held = held
        if held > self.peak:
            self.peak = held

    def _book(self, held: int) -> None:
        """Book a grain more than `held`, or just that where there is no room for more."""
        try:
            self._accountant.take(held + _GRAIN - self._booked)
        except QueryError:
            self._accountant.take(held - self._booked)
            self._booked = held
        else:
            self._booked = held + _GRAIN

    def hold_only(self, held: int) -> None:
        """Give back all but `held` bytes."""
        self.hold(held - self.held)

    def leave(self, size: int) -> Booking:
        """Keep `size` bytes booked beyond the end of the query, until nobody has the booking any more."""
        return Booking(self._accountant, size)

    def release(self) -> None:
        """Give everything back."""
        self._accountant.take(-self._booked)
        self.held = self._booked = 0


def timed_out() -> QueryError:
    return QueryError("timeout", "query timed out in expression evaluation")
