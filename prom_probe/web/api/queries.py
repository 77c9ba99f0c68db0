"""Running queries: cheap ones on the loop, others in a few threads, with a queue that the timeout bounds."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeAlias

from prom_probe.log import describe_error
from prom_probe.model.regex import RegexTimeout
from prom_probe.threads import prepare_threads, trim_heap
from prom_probe.web.api.reply import ApiError, failure
from prom_probe.web.http.encoding import gzip_pieces
from prom_probe.web.http.message import JSON, Answer, Pending, Response

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

# A body up to this size is sent at once; a larger one is made piece by piece while it is sent.
WHOLE_BYTES = 512 * 1024


# How long after the last query the heap is trimmed.
_TRIM_S = 1.0

# A job gets its deadline (monotonic seconds) and gives the body in pieces. Raises ApiError.
Job: TypeAlias = Callable[[float], Iterable[bytes]]


class Queries:
    """Runs jobs beside the loop: one by one, and beside those that take long, at most `max_concurrency` at once.

    Owned by the loop's thread. `alone_s`: for how long a job has no other beside it.
    """

    def __init__(self, max_concurrency: int, alone_s: float, log: Callable[[str, str], None]) -> None:
        self._max = max_concurrency
        self._log = log
        self._alone_s = alone_s
        self._running: set[_QueuedJob] = set()
        self._waiting: deque[_QueuedJob] = deque()
        self._next: asyncio.TimerHandle | None = None  # for what waits until the running ones take long
        self._pool: ThreadPoolExecutor | None = None
        self._trimming: asyncio.TimerHandle | None = None

    def run(self, job: Job, timeout_s: float, *, inline: bool, content_type: str = JSON) -> Answer:
        """The job's response: at once where it is `inline`, else from a thread; 503 after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        if timeout_s <= 0:
            return failure(ApiError("timeout", "query timed out in query execution"))
        if inline:
            body, _, status = self._call(job, deadline, None)
            return Response(status, body, content_type if status == 200 else JSON)
        item = _QueuedJob(job, deadline, content_type)
        item.answer.queued = True
        item.timer = item.answer.get_loop().call_later(timeout_s, self._expire, item)
        self._waiting.append(item)
        self._start_waiting()
        return item.answer

    def close(self) -> None:
        """Accept no more work; running queries are left to end by their deadlines."""
        for timer in (self._trimming, self._next):
            if timer is not None:
                timer.cancel()
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def submit(self, work: Callable[..., None], *args: object) -> None:
        """Run `work` in one of the threads; it brings its result to the loop itself."""
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor

            prepare_threads()
            # One more than the running queries, so that the rest of an answer never waits for a query to end.
            self._pool = ThreadPoolExecutor(self._max + 1, "query")
        self._pool.submit(work, *args)

    def _start_waiting(self) -> None:
        """Start what may run now; look again once the running ones have been alone for long enough."""
        if self._next is not None:
            self._next.cancel()
            self._next = None
        while self._waiting and len(self._running) < self._max:
            left_s = self._alone_until_s() - time.monotonic()
            if left_s > 0:
                self._next = asyncio.get_running_loop().call_later(left_s, self._start_waiting)
                return
            item = self._waiting.popleft()
            if item.timer is not None:
                item.timer.cancel()
            if not item.answer.done():
                self._start(item)

    def _alone_until_s(self) -> float:
        return max((item.started_s for item in self._running), default=-math.inf) + self._alone_s

    def _start(self, item: _QueuedJob) -> None:
        item.started_s = time.monotonic()
        item.answer.queued = False
        self._running.add(item)
        self.submit(self._work, item)

    def _work(self, item: _QueuedJob) -> None:
        """In a thread: run the job and bring its outcome to the loop."""
        body, rest, status = self._call(item.job, item.deadline, WHOLE_BYTES)
        _to_loop(item.answer, self._finish, item, body, rest, status)

    def _call(self, job: Job, deadline: float, whole: int | None) -> tuple[bytes, Iterator[bytes] | None, int]:
        """(body, None, status); or, for a body longer than `whole`, (its beginning, its rest, 200)."""
        try:
            pieces = iter(job(deadline))
            taken, size = [], 0
            for piece in pieces:
                taken.append(piece)
                size += len(piece)
                if whole is not None and size > whole:
                    return b"".join(taken), pieces, 200
            return b"".join(taken), None, 200
        except ApiError as error:
            response = failure(error)
        except RegexTimeout:
            response = failure(ApiError("timeout", "query timed out in matching a regular expression"))
        except Exception as error:
            response = self._failed(error)
        return response.body, None, response.status

    def _failed(self, error: Exception) -> Response:
        """The response to a bug, or to a lack of memory: the log gets the details, the client the kind."""
        self._log("error", f"a query failed: {describe_error(error)}")
        return failure(ApiError("internal", f"the query failed: {type(error).__name__}"))

    def _finish(self, item: _QueuedJob, body: bytes, rest: Iterator[bytes] | None, status: int) -> None:
        self._running.remove(item)
        self._start_waiting()
        if not self._running and self._trimming is None:
            self._trimming = asyncio.get_running_loop().call_later(_TRIM_S, self._trim)
        if item.answer.done():  # cancelled: the client is gone
            return
        content_type = item.content_type if status == 200 else JSON
        stream = None if rest is None else _QueryBody(self.submit, body, rest)
        item.answer.set_result(Response(status, b"" if stream else body, content_type, stream=stream))

    def _trim(self) -> None:
        """Have a thread trim the heap, unless a query is running: its end schedules this again."""
        self._trimming = None
        if not self._running:
            self.submit(trim_heap)

    def _expire(self, item: _QueuedJob) -> None:
        self._waiting.remove(item)
        if not item.answer.done():
            item.answer.set_result(failure(ApiError("timeout", "query timed out in query queue")))


class _QueuedJob:
    """A queued or running job."""

    __slots__ = ("answer", "content_type", "deadline", "job", "started_s", "timer")

    def __init__(self, job: Job, deadline: float, content_type: str) -> None:
        self.job = job
        self.deadline = deadline
        self.content_type = content_type
        self.answer = Pending()
        self.timer: asyncio.TimerHandle | None = None
        self.started_s = 0.0


class _QueryBody:
    """The rest of a large body, made in a thread as the client reads it.

    It takes no query's place, so that a slow client blocks nobody; the engine counts the memory of the result until the
    body is dropped.
    """

    def __init__(self, submit: Callable[..., None], first: bytes, rest: Iterator[bytes]) -> None:
        self._submit = submit
        self._first = first
        self._rest = rest
        self.ended = False

    def compress(self) -> None:
        self._rest = gzip_pieces(chain((self._first,), self._rest))
        self._first = b""

    def pull(self) -> asyncio.Future[bytes]:
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        if self._first:
            future.set_result(self._first)
            self._first = b""
            return future
        self._submit(self._next, future)
        return future

    def close(self) -> None:
        self._rest = iter(())

    def _next(self, future: asyncio.Future[bytes]) -> None:
        """In a thread: make the next piece, about WHOLE_BYTES long."""
        taken, size, failed, ended = [], 0, None, False
        try:
            for piece in self._rest:
                taken.append(piece)
                size += len(piece)
                if size > WHOLE_BYTES:
                    break
            else:
                ended = True
        except Exception as error:
            failed = error
        _to_loop(future, self._hand_over, future, b"".join(taken), ended, failed)

    def _hand_over(self, future: asyncio.Future[bytes], piece: bytes, ended: bool, failed: Exception | None) -> None:
        if future.done():
            return
        self.ended = ended
        if failed is None:
            future.set_result(piece)
        else:
            future.set_exception(failed)


def _to_loop(future: asyncio.Future[Any], callback: Callable[..., None], *args: object) -> None:
    try:
        future.get_loop().call_soon_threadsafe(callback, *args)
    except RuntimeError:  # the loop is closed: nobody is waiting
        pass
