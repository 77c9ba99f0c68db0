"""Sends one destination's samples: asks the aggregator what came after its cursors, and posts that."""

from __future__ import annotations

import os
import threading
import time
from typing import NamedTuple

from prom_probe.config.remote_write import V2, Destination
from prom_probe.config.units import parse_duration
from prom_probe.log import Log
from prom_probe.model.family import Family
from prom_probe.model.printable import printable
from prom_probe.remote.batch import MAX_BODY_BYTES, SendBatch, SentLabels
from prom_probe.remote.connection import ReceiverConnection, SendAnswer, SendError
from prom_probe.remote.feed_client import ANSWER_S, FeedClient
from prom_probe.remote.feed_protocol import WINDOW_ROWS, CursorFields, FeedAnswer
from prom_probe.remote.gaps import MOST_FAILURES, MOST_GAPS, Gap, advanced, oldest_gaps
from prom_probe.remote.message import Message1
from prom_probe.remote.sender_state import DestinationState, StateKeeper
from prom_probe.remote.verdict import WRITTEN, Verdict, judge, retry_after_s, written_samples
from prom_probe.threads import trim_heap

# How often to ask for what is new.
POLL_S = 1.0

# A request is not made smaller than this: a series' samples in one answer are not divided.
_LEAST_SAMPLES = WINDOW_ROWS

# How many series' labels are kept; beyond that all are told anew.
_MOST_LABELS = 20_000

# At the end of a run, how soon to ask again what was not answered.
_RETRY_S = 0.05

# How long a failure that goes on is not logged again.
_QUIET_S = 60.0
_WORDS_CHARS = 300


# A destination's two ways: onward from the newest that was sent, and through what was skipped before that.
_LIVE, _GAPS = 0, 1


class Outgoing(NamedTuple):
    """A request to be sent, and the cursors behind it."""

    lane: int
    batch: SendBatch
    cursors: dict[str, CursorFields]
    families: list[Family]


class Sender:
    """One destination. `run` is called in a thread of its own."""

    def __init__(
        self,
        number: int,
        destination: Destination,
        labels: SentLabels,
        client: FeedClient,
        keeper: StateKeeper,
        *,
        start_ms: int,
        poll_s: float,
        retention_s: float,
        log: Log,
    ) -> None:
        """`number`: which of the settings' destinations it is. `start_ms`: nothing older is sent to a new one.

        `retention_s`: how long the receiver may refuse one request with 5xx before it is dropped.
        """
        self._number = number
        self._destination = destination
        self._labels = labels
        self._client = client
        self._keeper = keeper
        self._state: DestinationState = keeper.destination(destination.label, start_ms)
        self._counts = self._state.counts
        # What the sender before may have sent is sent as it was, before anything newer: a receiver that has it refuses
        # it, and all that is in one request with it.
        self._resumed = dict(self._state.sending)
        self._connection = ReceiverConnection(destination)
        self._poll_s = poll_s
        self._retention_s = retention_s
        self._log = log
        queue = destination.queue_config
        self._most = self._limit = max(queue.max_samples_per_send, _LEAST_SAMPLES)
        self._backoff_s = parse_duration(queue.min_backoff), parse_duration(queue.max_backoff)
        self._timeout_s = parse_duration(destination.remote_timeout)
        metadata = destination.metadata_config
        self._metadata_s = parse_duration(metadata.send_interval) if metadata.send else 0.0
        self._metadata_due_s = 0.0
        self._session = int.from_bytes(os.urandom(4), "little")
        self._feed = 0
        self._held: tuple[int, FeedAnswer] | None = None  # with its lane
        self._answered = False  # whether the last question was
        self._newest_first = destination.send.newest_first
        self._gap_waits = False  # for the next success of a newer request
        self._gap_failures = 0  # of the gap's next request, while newer ones are accepted
        self._stopping = threading.Event()
        self._end_s = float("inf")  # monotonic: when to give up
        self._quiet_until_s = 0.0
        self._told = False  # whether a failure was logged since the last success
        self._newer = destination.protobuf_message == V2

    def stop(self, end_s: float) -> None:
        """Send what is left, and end by `end_s` (monotonic) at the latest."""
        self._end_s = end_s
        self._stopping.set()

    def run(self) -> None:
        """Send until `stop`, and then what is left."""
        try:
            while time.monotonic() < self._end_s:
                stopping = self._stopping.is_set()
                outgoing = self._maybe_gather(_LIVE, last=stopping)
                if outgoing is None and self._state.gaps and (stopping or not self._gap_waits):
                    outgoing = self._maybe_gather(_GAPS)
                if outgoing is not None:
                    self._deliver(outgoing)
                elif self._state.gaps:
                    self._stopping.wait(self._poll_s)
                elif stopping and not self._answered:  # an aggregator that is being started again
                    time.sleep(_RETRY_S)
                else:
                    self._settle()
                    if stopping:
                        return
                    self._stopping.wait(self._poll_s)
        finally:
            self._connection.close()

    def _settle(self) -> None:
        """Everything that there is has been sent."""
        if self._counts.lag_s:
            self._counts.lag_s = 0.0
            self._keeper.save(durable=False)

    # -- what is sent

    def _maybe_gather(self, lane: int, *, last: bool = False) -> Outgoing | None:
        """The next request; None if there is nothing, or no answer."""
        if len(self._labels) > _MOST_LABELS:
            self._labels.forget()
            self._session += 1
            self._held = None
        gaps = oldest_gaps(self._state.gaps) if lane == _GAPS else {}
        cursors = {name: gap.cursor for name, gap in gaps.items()} if gaps else dict(self._state.cursors)
        limits = {name: gap.limit for name, gap in gaps.items()} if gaps else self._resumed
        batch = SendBatch(self._labels)
        families: list[Family] = []
        wants_families = lane == _LIVE and bool(self._metadata_s) and time.monotonic() >= self._metadata_due_s
        held, self._held = self._held, None
        answer = held[1] if held is not None and held[0] == lane else None
        moved = False
        while True:
            if answer is None:
                answer = self._ask(
                    lane, cursors, limits, self._limit - batch.samples, last, wants_families and not families
                )
                if answer is None:
                    return None
            new_feed = self._is_new_feed(answer)
            for ref, labels in answer.labels:
                self._labels.learn(ref, labels)
            if new_feed and batch.samples:
                return None  # what was gathered has refs of the one before
            families = families or answer.families
            if not batch.fits(answer, self._limit):
                self._held = lane, answer
                break
            batch.add(answer)
            self._skip(answer)
            cursors |= answer.cursors
            moved |= bool(answer.cursors)
            if not answer.more or batch.samples >= self._limit:
                break
            answer = None
        if batch.bytes > MAX_BODY_BYTES and self._limit > _LEAST_SAMPLES:
            self._make_smaller()
            return self._maybe_gather(lane, last=last)
        if limits and not moved:
            return self._after_limits(lane, limits, last=last)
        return Outgoing(lane, batch, cursors, families) if moved else None

    def _ask(
        self,
        lane: int,
        cursors: dict[str, CursorFields],
        limits: dict[str, CursorFields],
        samples: int,
        last: bool,
        families: bool,
    ) -> FeedAnswer | None:
        answer = self._client.ask(
            self._number,
            self._session,
            cursors,
            self._state.start_ms,
            max(samples, 1),
            last=last,
            families=families,
            limits=limits,
            skip=self._newest_first and len(self._state.gaps) < MOST_GAPS,
            lane=lane,
            starts=self._newer,
            patience_s=min(ANSWER_S, self._end_s - time.monotonic()),
        )
        self._answered = answer is not None
        if answer is None:
            self._session += 1  # the labels in a lost answer have to be told again
        return answer

    def _skip(self, answer: FeedAnswer) -> None:
        """Remember what is sent behind the newest. That is so whether or not they arrive."""
        for stream, (cursor, limit) in answer.skipped.items():
            self._state.gaps.append(Gap(stream, cursor, limit))
            self._state.cursors[stream] = limit

    def _after_limits(self, lane: int, limits: dict[str, CursorFields], *, last: bool) -> Outgoing | None:
        """All up to the limits has been sent."""
        if lane == _LIVE:
            self._resumed = {}
            return self._maybe_gather(lane, last=last)
        self._state.gaps = advanced(self._state.gaps, limits)
        self._keeper.save(durable=True)
        return self._maybe_gather(lane) if self._state.gaps else None

    def _is_new_feed(self, answer: FeedAnswer) -> bool:
        """Whether another aggregator answers than before: its refs are others."""
        if answer.feed == self._feed:
            return False
        self._feed = answer.feed
        self._labels.forget()
        return True

    def _use_older_message(self) -> None:
        """The receiver does not know 2.0: from now on it gets 1.0, beginning with what it did not take."""
        self._log("info", f"remote write to {self._destination.label}: the receiver takes 1.0, and gets that")
        self._newer = False
        self._labels.message = Message1()
        self._labels.forget()
        self._session += 1
        self._held = None

    def _make_smaller(self) -> None:
        self._limit = max(_LEAST_SAMPLES, self._limit // 2)
        self._held = None

    # -- how it is sent

    def _deliver(self, outgoing: Outgoing) -> None:
        """Post a request until it is done or dropped, and move the cursors behind it; unless time is up before that.

        One out of a gap is tried once: newer ones come before the next try.
        """
        from cramjam import snappy

        lane, batch, cursors, families = outgoing
        if not batch.samples:
            self._commit(outgoing)
            return
        body = bytes(snappy.compress_raw(batch.encode(families)))
        if lane == _LIVE:
            self._state.sending = self._resumed or cursors
        self._keeper.save(durable=True)
        backoff_s, most_s = self._backoff_s
        unsure = bool(self._resumed)  # whether the receiver may have it already
        begun_s, tries = time.monotonic(), 0
        while True:
            self._measure_lag(batch)
            tries += 1
            now_s, wait_s = time.time(), 0.0
            try:
                answer = self._connection.post(body, self._labels.message.headers, self._time_left())
            except SendError as error:
                unsure |= error.sent
                self._failed("timeout" if "in time" in str(error) else "connection", str(error), batch, tries)
            else:
                unsure |= answer.repeated
                expired = time.monotonic() - begun_s > self._retention_s
                if self._settled(outgoing, answer, len(body), tries, unsure=unsure, expired=expired):
                    return
                unsure |= answer.status != 429
                wait_s = retry_after_s(answer.headers, now_s)
            if lane == _GAPS:
                self._gap_waits = True
            if not self._pause(max(wait_s, backoff_s * _jitter())) or lane == _GAPS:
                return
            self._gap_failures = 0
            backoff_s = min(2 * backoff_s, most_s)
            self._counts.retried += batch.samples

    def _settled(
        self, outgoing: Outgoing, answer: SendAnswer, size: int, tries: int, *, unsure: bool, expired: bool
    ) -> bool:
        """Act on an answer. Whether that is the end of this request; else it is to be repeated.

        `unsure`: the receiver may have had it before. `expired`: it has been tried for as long as samples are kept.
        """
        counts, batch = self._counts, outgoing.batch
        counts.requests += 1
        counts.bytes += size
        verdict = judge(answer.status, wrong_message=self._newer and WRITTEN not in answer.headers)
        if verdict is Verdict.DONE:
            self._succeeded(outgoing)
            self._commit(outgoing)
            return True
        self._failed(f"http_{answer.status}", self._words(answer), batch, tries)
        if verdict is Verdict.OTHER_MESSAGE and self._newer:
            self._use_older_message()
            return True
        if verdict is Verdict.SMALLER and self._limit > _LEAST_SAMPLES:
            self._make_smaller()
            return True
        if verdict is Verdict.RETRY:
            if answer.status < 500:
                return False
            self._gap_failures += outgoing.lane == _GAPS
            if not expired and self._gap_failures < MOST_FAILURES:
                return False
        # A request that may have been stored before it was repeated is refused as repeated.
        reason = "repeated" if unsure and answer.status == 400 else f"http_{answer.status}"
        written = written_samples(answer.headers, batch.samples)
        counts.sent += written
        if written < batch.samples:
            counts.dropped[reason] = counts.dropped.get(reason, 0) + batch.samples - written
        self._commit(outgoing)
        return True

    def _measure_lag(self, batch: SendBatch) -> None:
        oldest = [gap.cursor[0] for gap in self._state.gaps]
        if batch.oldest_ms is not None:
            oldest.append(batch.oldest_ms)
        if oldest:
            self._counts.lag_s = max(0.0, time.time() - min(oldest) / 1000)

    def _time_left(self) -> float:
        return max(0.001, min(self._timeout_s, self._end_s - time.monotonic()))

    def _pause(self, seconds: float) -> bool:
        """Wait before the next try; False if time is up."""
        until_s = time.monotonic() + seconds
        if not self._stopping.is_set() and self._stopping.wait(seconds):
            until_s = 0.0  # the end of the run: try at once
        left_s = min(until_s, self._end_s) - time.monotonic()
        if left_s > 0:
            time.sleep(left_s)
        return time.monotonic() < self._end_s

    def _commit(self, outgoing: Outgoing) -> None:
        """The request is done with: what comes next is behind it."""
        batch = outgoing.batch
        if outgoing.lane == _LIVE:
            self._state.cursors, self._state.sending = outgoing.cursors, self._resumed
        else:
            self._gap_failures = 0
            self._state.gaps = advanced(self._state.gaps, outgoing.cursors)
        dropped = self._counts.dropped
        for reason, samples in (("relabel", batch.relabelled), ("evicted", batch.unknown)):
            if samples:
                dropped[reason] = dropped.get(reason, 0) + samples
        self._counts.lost_s += batch.lost_ms / 1000
        self._keeper.save(durable=True)

    def _succeeded(self, outgoing: Outgoing) -> None:
        counts = self._counts
        counts.sent += outgoing.batch.samples
        counts.highest_s = max(counts.highest_s, outgoing.batch.newest_ms / 1000)
        counts.up = True
        self._gap_waits = False
        if outgoing.families:
            self._metadata_due_s = time.monotonic() + self._metadata_s
        if self._told:
            self._told = False
            self._log("info", f"remote write to {self._destination.label} works again")
            trim_heap()

    def _failed(self, reason: str, words: str, batch: SendBatch, tries: int) -> None:
        """Count a failure, and log it unless one was logged a short while ago."""
        counts = self._counts
        counts.failed[reason] = counts.failed.get(reason, 0) + 1
        counts.up = False
        self._keeper.save(durable=False)
        if time.monotonic() >= self._quiet_until_s:
            self._quiet_until_s = time.monotonic() + _QUIET_S
            self._told = True
            oldest = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime((batch.oldest_ms or 0) // 1000))
            what = f"remote write to {self._destination.label} failed"
            self._log("warn", what, reason=reason, answer=words, tries=tries, samples=batch.samples, oldest=oldest)

    @staticmethod
    def _words(answer: SendAnswer) -> str:
        text = printable(" ".join(answer.words.split()))[:_WORDS_CHARS]
        where = printable(answer.headers.get("location", ""))[:_WORDS_CHARS]
        return f"{answer.status} {text}".rstrip() + (f" (it redirects to {where})" if where else "")


def _jitter() -> float:
    """0.5 to 1: senders that failed together shall not come back together. The random module takes 0.4 MB."""
    return 0.5 + os.urandom(1)[0] / 510
