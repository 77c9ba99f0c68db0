"""The remote write receiver: decodes requests one by one and appends their samples, in slices on the loop."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Protocol

from prom_probe.log import describe_error
from prom_probe.model.labels import Labels, format_labels
from prom_probe.remote.write_request import BadRequest, Decoder, Refused, WriteRequest
from prom_probe.threads import prepare_threads, trim_heap
from prom_probe.tsdb.outcome import AppendOutcome

MAX_DECOMPRESSED_BYTES = 32 << 20

# A message up to this size is decoded on the loop; a larger one in a thread.
_INLINE_BYTES = 16 << 10

# How long samples are appended before the loop does something else, and how many between looks at the clock.
_SLICE_S = 0.001
_SAMPLES_PER_CLOCK_READ = 16

_EXAMPLE_CHARS = 300

# How long after the last request the heap is trimmed.
_TRIM_S = 1.0

_REASONS: dict[str, str] = {
    AppendOutcome.CONFLICT: "with another value at a stored timestamp",
    AppendOutcome.OUT_OF_ORDER: "out of order",
    AppendOutcome.TOO_OLD: "older than the retention",
    AppendOutcome.SERIES_LIMIT: "of new series beyond the limit",
    AppendOutcome.MALFORMED: "malformed",
    "histogram": "native histograms, which are not supported",
}


class Appendable(Protocol):
    """What the receiver needs of a store; `tsdb.store.Store` has it."""

    def append(self, labels: Labels, t_ms: int, value: float) -> AppendOutcome:
        """Append one sample."""

    def reject(self, reason: str, samples: int) -> None:
        """Count samples that were refused before they reached the store."""

    def settle(self) -> bool:
        """Seal for about 2 ms; True if work is left."""


class _QueuedRequest(NamedTuple):
    """A request's body in the queue, and where it is told what became of it."""

    body: bytes
    begun: Callable[[], None]
    account: asyncio.Future[str]


class Receiver:
    """Owned by the loop's thread. Requests are stored one at a time, in the order of arrival."""

    def __init__(
        self, store: Appendable, log: Callable[[str, str], None], clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._store = store
        self._log = log
        self._clock = clock
        self._decoder = Decoder()
        self._waiting: deque[_QueuedRequest] = deque()
        self._task: asyncio.Task[None] | None = None
        self._trimming: asyncio.TimerHandle | None = None

    def write(self, body: bytes, begun: Callable[[], None] = lambda: None) -> asyncio.Future[str]:
        """Store the samples in a request's body. The result says which are not stored and why, "" if all are.

        BadRequest, if nothing of it can be used. `begun` is called when its turn comes; if it is cancelled before that,
        nothing of it is stored.
        """
        loop = asyncio.get_running_loop()
        request = _QueuedRequest(body, begun, loop.create_future())
        self._waiting.append(request)
        if self._task is None:
            self._task = loop.create_task(self._work())
        return request.account

    async def _work(self) -> None:
        while self._waiting:
            request = self._waiting.popleft()
            if request.account.done():  # the client is gone
                continue
            request.begun()
            account = ""
            failure: Exception | None = None
            try:
                account = await self._store_body(request.body)
            except BadRequest as error:
                failure = error
            except Exception as error:
                self._log("error", f"a remote write failed: {describe_error(error)}")
                failure = error
            if request.account.done():
                pass
            elif failure is not None:
                request.account.set_exception(failure)
            else:
                request.account.set_result(account)
            await asyncio.sleep(0)
        self._task = None
        if self._trimming is None:
            self._trimming = asyncio.get_running_loop().call_later(_TRIM_S, self._trim)

    def _trim(self) -> None:
        """Trim the heap, unless a request is being stored: its end schedules this again."""
        self._trimming = None
        if self._task is None:
            asyncio.get_running_loop().run_in_executor(None, trim_heap)

    async def _store_body(self, body: bytes) -> str:
        if decompressed_bytes(body) <= _INLINE_BYTES:
            request = self._decode(body)
        else:
            prepare_threads()
            request = await asyncio.to_thread(self._decode, body)
        refused = request.refused
        for reason, samples in refused.counts.items():
            self._store.reject(reason, samples)
        offered = len(request.times) + refused.counts.total()
        await self._append(request)
        # The answer waits until the samples are sealed, or a fast sender would fill the memory with unsealed ones.
        while self._store.settle():
            await asyncio.sleep(0)
        return _account(refused, offered) if refused.counts else ""

    def _decode(self, body: bytes) -> WriteRequest:
        return self._decoder.decode(decompress(body))

    async def _append(self, request: WriteRequest) -> None:
        """Append all samples; those that the store refuses are added to `request.refused`."""
        append, times, values, refused = self._store.append, request.times, request.values, request.refused
        until_s, first = self._clock() + _SLICE_S, 0
        for labels, end in zip(request.labels, request.ends, strict=True):
            for i in range(first, end):
                outcome = append(labels, times[i], values[i])
                if outcome is not AppendOutcome.APPENDED and outcome is not AppendOutcome.DUPLICATE:
                    text = "" if outcome in refused.counts else f"{format_labels(labels)} at {times[i]} ms"
                    refused.add(outcome, 1, text)
                if not i % _SAMPLES_PER_CLOCK_READ and self._clock() >= until_s:
                    await asyncio.sleep(0)
                    until_s = self._clock() + _SLICE_S
            first = end


def _account(refused: Refused, offered: int) -> str:
    """How many samples are not stored and why: one line, as senders log it."""
    parts = []
    for reason, count in refused.counts.items():
        first = " ".join(refused.first[reason].split())
        if len(first) > _EXAMPLE_CHARS:
            first = first[:_EXAMPLE_CHARS] + "…"
        parts.append(f"{count} {_REASONS.get(reason, reason)} (first: {first})")
    return f"{refused.counts.total()} of {offered} samples are not stored: {'; '.join(parts)}"


def decompressed_bytes(body: bytes) -> int:
    """The size of a compressed message, from its header. BadRequest if that is missing or too large."""
    import cramjam

    try:
        size = int(cramjam.snappy.decompress_raw_len(body))
    except cramjam.DecompressionError as error:
        raise BadRequest(f"the body is not in snappy's block format: {error}") from None
    if size > MAX_DECOMPRESSED_BYTES:
        raise BadRequest(f"{size} bytes decompressed, more than {MAX_DECOMPRESSED_BYTES}")
    return size


def decompress(body: bytes) -> memoryview:
    """The message in a body. BadRequest where it is damaged."""
    import cramjam

    try:
        return memoryview(cramjam.snappy.decompress_raw(body))
    except cramjam.DecompressionError as error:
        raise BadRequest(f"the body is not in snappy's block format: {error}") from None
