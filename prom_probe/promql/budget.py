"""What one query may use: time, samples, and memory that all running queries share."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from prom_probe.promql.result import QueryError


class Accountant:
    """The bytes that all running queries hold together; safe to use from any thread."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._lock = threading.RLock()  # reentrant: a finalizer may run inside

    @property
    def used(self) -> int:
        return self._used

    def take(self, size: int) -> None:
        """Book `size` bytes (negative: release them); raises QueryError (execution) beyond the limit."""
        with self._lock:
            if size > 0 and self._used + size > self._limit:
                raise QueryError(
                    "execution",
                    f"query needs more memory than the {self._limit} bytes that all queries may use together"
                    " (--query.max-memory)",
                )
            self._used += size


class Booking:
    """Bytes that stay booked as long as this object lives."""

    __slots__ = ("_accountant", "_size")

    def __init__(self, accountant: Accountant, size: int) -> None:
        """Raises QueryError (execution) beyond the limit."""
        self._size = 0
        self._accountant = accountant
        accountant.take(size)
        self._size = size

    def __del__(self) -> None:
        self._accountant.take(-self._size)


# A thread that makes many short C calls releases the interpreter and takes it back before a waiting thread wakes up,
# which can starve the loop for the whole query (sys.setswitchinterval does not help). So a query sleeps now and then.
_GIVE_WAY_EVERY_S = 0.005
_GIVE_WAY_S = 0.00005

# A query books with the accountant in units of this many bytes, so that it rarely has to ask.
_GRAIN = 1 << 16


class Budget:
    """The budget of one query, owned by the thread that evaluates it. To be released at the end."""

    def __init__(
        self,
        accountant: Accountant,
        timeout_s: float,
        max_samples: int,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        now = clock()
        self._clock, self._sleep = clock, sleep
        self.deadline = now + timeout_s  # time.monotonic() seconds
        self._give_way_at = now + _GIVE_WAY_EVERY_S
        self.samples = 0
        self.held = self.peak = 0  # bytes
        self._booked = 0  # with the accountant: at least `held`, and at most two grains more
        self._accountant = accountant
        self._max_samples = max_samples

    def check(self) -> None:
        """To be called often: raises QueryError (timeout) past the deadline, gives way to other threads."""
        now = self._clock()
        if now >= self.deadline:
            raise timed_out()
        if now >= self._give_way_at:
            self._sleep(_GIVE_WAY_S)
            self._give_way_at = self._clock() + _GIVE_WAY_EVERY_S

    def read(self, samples: int) -> None:
        """Count samples read; raises QueryError (execution) beyond the limit, (timeout) past the deadline."""
        self.samples += samples
        if self.samples > self._max_samples:
            raise QueryError(
                "execution",
                "query processing would load too many samples into memory in query execution:"
                f" more than {self._max_samples} (--query.max-samples)",
            )
        self.check()

    def hold(self, size: int) -> None:
        """Book `size` more bytes (negative: release them)."""
        held = self.held + size
        if not held <= self._booked <= held + 2 * _GRAIN:
            self._book(held)
        self.held = held
        if held > self.peak:
            self.peak = held

    def _book(self, held: int) -> None:
        """Book one grain more than `held`, or exactly `held` where there is no room for more."""
        try:
            self._accountant.take(held + _GRAIN - self._booked)
        except QueryError:
            self._accountant.take(held - self._booked)
            self._booked = held
        else:
            self._booked = held + _GRAIN

    def hold_only(self, held: int) -> None:
        """Book exactly `held` bytes from now on."""
        self.hold(held - self.held)

    def leave(self, size: int) -> Booking:
        """Keep `size` bytes booked beyond the end of the query, until the booking is dropped."""
        return Booking(self._accountant, size)

    def release(self) -> None:
        """Release everything."""
        self._accountant.take(-self._booked)
        self.held = self._booked = 0


def timed_out() -> QueryError:
    return QueryError("timeout", "query timed out in expression evaluation")
