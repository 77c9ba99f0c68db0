"""Keeps one source of GPU readings going: opens it, samples it with a deadline, reopens it after a failure."""

from collections.abc import Callable

from prom_probe.collectors.base import Context
from prom_probe.collectors.gpu.caller import Caller
from prom_probe.collectors.gpu.faults import Faults
from prom_probe.collectors.gpu.source import GpuError, GpuSample, GpuSource, Trees

# A call that takes longer hangs: it counts as a fault, and the GPUs are not up. Initialising may take longer.
HUNG_S = 5.0
HUNG_OPEN_S = 30.0
# After this long the worker ends itself, and a new one tries again. (A call that the kernel does not let go of keeps
# the worker from ending; the supervisor starts no other then.)
RESTART_S = 120.0
# Seconds between two attempts to open the source.
BACKOFF_FIRST_S = 1.0
BACKOFF_MAX_S = 60.0
CLOSE_S = 2.0

MISMATCH = "LIB_RM_VERSION_MISMATCH"


class Renew(BaseException):
    """Only a new process helps. A BaseException, so that it ends the worker."""


class Feed:
    """`samples` are those of the newest collection; None while the source is closed, opening, late or hanging."""

    def __init__(self, source: GpuSource, context: Context, faults: Faults) -> None:
        self.source = source
        self.samples: list[GpuSample] | None = None
        self.took_s = 0.0
        self.hung = False
        self.is_open = False
        self.opened = 0  # how many times
        self._context = context
        self._faults = faults
        self._caller: Caller[object] = Caller(context.wake)
        self._take: Callable[[], None] = self._opened
        self._called_s = 0.0
        self._error: GpuError | None = None  # why it is closed
        self._open_at_s = 0.0
        self._backoff_s = BACKOFF_FIRST_S

    def collect(self, trees: Trees) -> None:
        """Take a sample, or the next step towards one. Raises Renew."""
        self.samples = None
        deadline_s = self._context.monotonic() + self._context.gpu_patience_s
        while not self._advance(trees, deadline_s):
            pass

    def _advance(self, trees: Trees, deadline_s: float) -> bool:
        """One step; returns True where there is nothing left to do in this collection."""
        now_s = self._context.monotonic()
        if not self._caller.busy:
            if not self.is_open and now_s < self._open_at_s:
                if self._error is not None:  # while the source is closed the fault persists
                    self._faults.note(self.source.name, self._error, count=False)
                return True
            self._take = self._sampled if self.is_open else self._opened
            source = self.source
            work: Callable[[], object] = (lambda: source.sample(trees)) if self.is_open else source.open
            self._called_s = now_s
            self._caller.start(work)
        if not self._caller.wait(max(0.0, deadline_s - now_s)):
            self._look_at_late()
            return True
        was_sampling = self._take == self._sampled
        late = self.hung or now_s - self._called_s > self._context.gpu_patience_s
        self.hung = False
        try:
            self._take()
        except GpuError as error:
            self._failed(error)
            return True
        return was_sampling and not late

    def _opened(self) -> None:
        self._caller.take()
        self._error = None
        self.is_open = True
        self.opened += 1

    def _sampled(self) -> None:
        samples = self._caller.take()
        assert isinstance(samples, list)
        self._backoff_s = BACKOFF_FIRST_S
        # A newer sample of the same collection replaces a late one, but takes over its events: each comes only once.
        events = {sample.info.uuid: sample.xids for sample in self.samples or ()}
        for sample in samples:
            sample.xids[:0] = events.get(sample.info.uuid, [])
        self.samples = samples
        self.took_s = self._caller.took_s

    def _look_at_late(self) -> None:
        took_s = self._context.monotonic() - self._called_s
        if took_s < (HUNG_S if self.is_open else HUNG_OPEN_S):
            return
        what = "sample" if self.is_open else "open"
        error = GpuError(what, "HUNG", f"the driver has not answered for {took_s:.0f} s")
        self._faults.note(self.source.name, error, count=not self.hung)
        self.hung = True
        if took_s > RESTART_S:
            raise Renew(f"{self.source.name}: the driver has not answered for {took_s:.0f} s")

    def _failed(self, error: GpuError) -> None:
        """Close, and open again later."""
        self._faults.note(self.source.name, error)
        self._error = error
        if self.opened and not self.is_open and error.code == MISMATCH:
            raise Renew(f"{self.source.name}: the driver was replaced, its new library needs a new process")
        if self.is_open:
            self.is_open = False
            self._quietly_close()
        self._open_at_s = self._context.monotonic() + self._backoff_s
        self._backoff_s = min(self._backoff_s * 2, BACKOFF_MAX_S)

    def _quietly_close(self) -> None:
        self._take = self._closed
        self._called_s = self._context.monotonic()
        self._caller.start(self.source.close)
        if self._caller.wait(self._context.gpu_patience_s):
            self._caller.take()

    def _closed(self) -> None:
        self._caller.take()

    def close(self) -> None:
        """Close the source, unless it hangs."""
        if self.is_open and not self._caller.busy:
            self._caller.start(self.source.close)
            self._caller.wait(CLOSE_S)
            self.is_open = False
