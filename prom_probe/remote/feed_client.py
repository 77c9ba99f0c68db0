"""The sender's side of the feed: asks, and waits for the answer."""

from __future__ import annotations

import select
import socket
import threading
import time

import msgspec

from prom_probe.remote.feed_protocol import (
    MAX_ANSWER_BYTES,
    CursorFields,
    FeedAnswer,
    FeedRequest,
    decode_answer,
    encode,
)

# How long an answer may take: an aggregator that is started again opens its store first.
ANSWER_S = 5.0


class FeedClient:
    """Shared by the threads of all destinations; one asks at a time."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._lock = threading.Lock()
        # The end of the socket outlives its process: numbers do not repeat those of the one before.
        self._number = time.time_ns()

    def ask(
        self,
        destination: int,
        session: int,
        cursors: dict[str, CursorFields],
        start_ms: int,
        samples: int,
        *,
        last: bool = False,
        families: bool = False,
        limits: dict[str, CursorFields] | None = None,
        skip: bool = False,
        lane: int = 0,
        starts: bool = False,
        patience_s: float = ANSWER_S,
    ) -> FeedAnswer | None:
        """See `FeedRequest`. None if there is no answer in time."""
        with self._lock:
            self._number += 1
            request = FeedRequest(
                self._number,
                session,
                destination,
                cursors,
                start_ms,
                samples,
                last,
                families,
                limits or {},
                skip,
                lane,
                starts,
            )
            try:
                self._sock.send(encode(request))
            except OSError:  # full of requests that nobody takes
                return None
            return self._await(self._number, time.monotonic() + patience_s)

    def _await(self, number: int, until_s: float) -> FeedAnswer | None:
        while (left_s := until_s - time.monotonic()) > 0:
            if not select.select([self._sock], [], [], left_s)[0]:
                return None
            try:
                answer = decode_answer(self._sock.recv(2 * MAX_ANSWER_BYTES))
            except (OSError, msgspec.DecodeError, msgspec.ValidationError):
                continue
            if answer.number == number:  # others are late ones
                return answer
        return None
