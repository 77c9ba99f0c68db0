"""The aggregator's side of sending: reads the store onward from a sender's cursors, in slices on the loop."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, TypeAlias
from zlib import crc32

import msgspec

from prom_probe.config.selector import parse_selector
from prom_probe.config.settings import Config
from prom_probe.config.units import parse_duration
from prom_probe.model.family import Family
from prom_probe.model.labels import Labels, label_value
from prom_probe.model.matcher import Matcher
from prom_probe.model.regex import AnchoredRegex, compile_anchored
from prom_probe.model.sample import STALE_BYTES
from prom_probe.remote.feed_protocol import (
    MAX_ANSWER_BYTES,
    WINDOW_ROWS,
    CursorFields,
    FeedAnswer,
    FeedRequest,
    decode_request,
    encode,
)
from prom_probe.remote.starts import CounterStarts, sample_starts
from prom_probe.tsdb.collector_stream import CollectorStream
from prom_probe.tsdb.index import IndexedSeries
from prom_probe.tsdb.tail import Cursor, PlaceOf, StreamTail, TailSeries, TailWindow, behind

# How long the loop is kept by one request.
SLICE_S = 0.002

# What a sample, a counter's start, and a pair of labels besides its texts, takes in an answer at most, and when an
# answer is full: one more series must fit.
_SAMPLE_BYTES, _START_BYTES, _PAIR_BYTES = 20, 9, 8
_ROOM_BYTES = MAX_ANSWER_BYTES // 2

# Whether a row is wanted, by its predecessor's timestamp, None for the first, and its own.
WantsRow: TypeAlias = Callable[[int | None, int], bool]

# How many series' kinds and places are remembered.
_MOST_KNOWN = 50_000


class Followed(Protocol):
    """What the feed needs of a store; `tsdb.store.Store` has it."""

    def collector_streams(self) -> Iterable[CollectorStream]:
        """The collectors' streams."""

    def find_series(self, ref: int) -> IndexedSeries | None:
        """The series with this ref; None if it has left the index."""

    def find_labels(self, labels: Labels) -> IndexedSeries | None:
        """The series with these labels, if it is in the index."""

    def families(self) -> Iterable[Family]:
        """The families of all collectors."""


class SeriesChoice:
    """Which series a destination gets: those on `/metrics` at its interval, those that a selector names in full."""

    def __init__(self, interval_ms: int, selectors: Sequence[tuple[Matcher, ...]], phase_ms: int) -> None:
        self._interval_ms = interval_ms
        self._selectors = [
            [(m, compile_anchored(m.value) if m.op in ("=~", "!~") else None) for m in matchers]
            for matchers in selectors
        ]
        self._phase_ms = phase_ms
        self.kinds = "if" if selectors else "i"

    def kind(self, series: IndexedSeries) -> str:
        """`f` in full, `i` at the interval, "" not at all."""
        if any(all(_fits(m, regex, series.labels) for m, regex in one) for one in self._selectors):
            return "f"
        return "i" if series.kept else ""

    def wants_row(self, kind: str) -> WantsRow:
        """Whether a row is wanted: in full all of them, else the first in each interval."""
        if kind == "f":
            return lambda before, t_ms: True
        step, phase = self._interval_ms, self._phase_ms
        return lambda before, t_ms: before is None or (t_ms - phase) // step != (before - phase) // step


def _fits(matcher: Matcher, regex: AnchoredRegex | None, labels: Labels) -> bool:
    value = label_value(labels, matcher.name)
    hit = value == matcher.value if regex is None else regex.matches(value)
    return hit == (matcher.op in ("=", "=~"))


def _place(labels: Labels) -> int:
    """A number that follows from the labels; that two series have the same one is as good as impossible."""
    text = "\0".join([text for pair in labels for text in pair]).encode(errors="surrogatepass")
    return (crc32(text) << 31 | crc32(text[::-1]) >> 1) + 1


def make_choices(config: Config, instance: str) -> list[SeriesChoice]:
    """What each destination gets. Intervals begin at a time of their own, so that a fleet does not send at once."""
    found = []
    for destination in config.destinations:
        send = destination.send
        interval_s = parse_duration(send.interval) if send.interval else config.remote_write_interval
        interval_ms = round(interval_s * 1000)
        selectors = send.match if send.match is not None else config.remote_write_match
        phase_ms = crc32(f"{instance} {destination.label}".encode()) % interval_ms
        found.append(SeriesChoice(interval_ms, [parse_selector(text) for text in selectors], phase_ms))
    return found


class SampleFeed:
    """Answers requests. Belongs to the loop's thread; each answer takes SLICE_S at most, plus one series."""

    def __init__(
        self,
        store: Followed,
        choices: Sequence[SeriesChoice],
        drain: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """`drain` stores what waits in the rings: at the end of a run nothing may be missed."""
        self._store = store
        self._choices = choices
        self._drain = drain
        self._clock = clock
        self._number = int.from_bytes(os.urandom(4), "little")
        self._tails: dict[tuple[int, int, str, str], StreamTail] = {}
        self._known: list[dict[int, tuple[str, int]]] = [{} for _ in choices]  # by destination, by ref: kind and place
        self._sessions = [-1 for _ in choices]
        self._told: list[set[int]] = [set() for _ in choices]
        self.starts = CounterStarts(store)

    def serve(self, sock: socket.socket) -> None:
        """Answer one request that waits in `sock`; what is no request is ignored."""
        try:
            request = decode_request(sock.recv(MAX_ANSWER_BYTES))
        except (OSError, msgspec.DecodeError, msgspec.ValidationError):
            return
        if request.destination >= len(self._choices):
            return
        try:
            sock.send(encode(self.answer(request)))
        except OSError:
            pass  # the sender is gone, or asks again

    def answer(self, request: FeedRequest) -> FeedAnswer:
        """What came after the cursors, as much as a slice allows."""
        until_s = self._clock() + SLICE_S
        if request.last:
            self._drain()
        if request.session != self._sessions[request.destination]:
            self._sessions[request.destination] = request.session
            self._told[request.destination].clear()
        if request.starts:
            self.starts.refresh()
        return self._slice(request, until_s)

    def tails(self, destination: int, lane: int, kind: str) -> Iterator[StreamTail]:
        """Every collector's stream, as it is read for a destination, a lane of it and a kind of series."""
        for stream in self._store.collector_streams():
            key = destination, lane, kind, stream.collector
            tail = self._tails.get(key)
            if tail is None:
                tail = self._tails[key] = StreamTail(stream)
            yield tail

    def place_of(self, destination: int, kind: str) -> PlaceOf:
        """The places of the series that this destination gets in this way."""
        known, choice, find = self._known[destination], self._choices[destination], self._store.find_series

        def place(ref: int) -> int:
            found = known.get(ref)
            if found is None:
                series = find(ref)
                if series is None:
                    return 0
                if len(known) >= _MOST_KNOWN:
                    known.clear()
                found = known[ref] = choice.kind(series), _place(series.labels)
            return found[1] if found[0] == kind else 0

        return place

    def maybe_labels(self, destination: int, ref: int) -> Labels | None:
        """A series' labels, if this destination's session has to be told them."""
        if ref in self._told[destination]:
            return None
        self._told[destination].add(ref)
        series = self._store.find_series(ref)
        return series.labels if series is not None else None

    def _slice(self, request: FeedRequest, until_s: float) -> FeedAnswer:
        choice = self._choices[request.destination]
        found = _Slice(self, request, lambda: self._clock() >= until_s)
        for kind in choice.kinds:
            for tail in self.tails(request.destination, request.lane, kind):
                found.follow(tail, kind, choice.wants_row(kind))
        found.read()
        families = list(self._store.families()) if request.families else []
        return found.answer(self._number, families)


class _Follow:
    """A stream as it is read for an answer, and how far."""

    def __init__(self, name: str, tail: StreamTail, wanted: WantsRow, place_of: PlaceOf, newest_ms: int) -> None:
        self.name = name
        self.tail = tail
        self.wanted = wanted
        self.place_of = place_of
        self.newest_ms = newest_ms
        self.cursor = Cursor.at(0)
        self.limit: Cursor | None = None
        self.window: TailWindow | None = None


class _Slice:
    """An answer in the making."""

    def __init__(self, feed: SampleFeed, request: FeedRequest, late: Callable[[], bool]) -> None:
        self._feed = feed
        self._request = request
        self._late = late
        self._follows: list[_Follow] = []
        self._series: list[tuple[int, list[int], bytes]] = []
        self._labels: list[tuple[int, Labels]] = []
        self._cursors: dict[str, CursorFields] = {}
        self._skipped: dict[str, tuple[CursorFields, CursorFields]] = {}
        self._starts: dict[int, list[int]] = {}
        self._samples = self._bytes = self._lost_ms = 0
        self._full = False

    def follow(self, tail: StreamTail, kind: str, wanted: WantsRow) -> None:
        """Read this stream too, if the request asks for it."""
        newest_ms = tail.newest_ms()
        name = f"{kind}:{tail.stream.collector}"
        limits = self._request.limits
        if newest_ms is None or (limits and name not in limits):
            return
        found = _Follow(name, tail, wanted, self._feed.place_of(self._request.destination, kind), newest_ms)
        given = self._request.cursors.get(name)
        found.cursor = tail.rewound(Cursor(*given) if given is not None else Cursor.at(self._request.start_ms))
        if limits:
            # The markers behind the newest row are made anew.
            found.limit = min(Cursor(*limits[name]), Cursor.at(newest_ms))
        elif self._request.skip and (cursor := tail.maybe_skip(found.cursor, wanted)) is not None:
            self._skipped[name] = found.cursor, cursor
            found.cursor = cursor
        self._follows.append(found)

    def read(self) -> None:
        """Read the streams onward, as far as there is room and time, window by window, the oldest one next."""
        left = [follow for follow in self._follows if self._find_window(follow)]
        while left and not self._full:
            follow = min(left, key=lambda one: one.window.start if one.window is not None else 0)
            self._read_window(follow)
            if not self._full and not self._find_window(follow):
                left.remove(follow)
        for follow in self._follows:
            if not self._full and follow.limit is None:
                follow.cursor = self._end(follow)
            elif not self._full and follow.limit is not None and follow.cursor < follow.limit:
                self._count_lost(follow)
                follow.cursor = follow.limit
            if follow.cursor != self._request.cursors.get(follow.name):
                self._cursors[follow.name] = follow.cursor

    def _find_window(self, follow: _Follow) -> bool:
        """Whether the stream has a next window."""
        cursor, limit = follow.cursor, follow.limit
        if limit is not None and cursor >= limit:
            return False
        follow.window = follow.tail.window(cursor, follow.wanted, WINDOW_ROWS, last=self._request.last, limit=limit)
        return follow.window is not None

    def _read_window(self, follow: _Follow) -> None:
        window, cursor = follow.window, follow.cursor
        if window is None:
            return
        if cursor.until == cursor.after:
            self._count_lost(follow)
        for passed, series in window.series(follow.place_of):
            if series is not None and not self._add(series, window):
                return
            follow.cursor = passed
            self._full = self._full or self._late()
            if self._full:
                return
        follow.cursor = window.end()

    def _count_lost(self, follow: _Follow) -> None:
        lost_ms = follow.tail.lost_ms(follow.cursor)
        if follow.limit is not None:
            lost_ms = min(lost_ms, follow.limit.after - follow.cursor.after)
        self._lost_ms = max(self._lost_ms, lost_ms)

    def _end(self, follow: _Follow) -> Cursor:
        """What follows the newest row: at the end of a run the markers that end its series, a millisecond later."""
        cursor = follow.cursor
        begun = cursor.until == cursor.after + 1 and cursor.after == follow.newest_ms
        if cursor.until > cursor.after and not begun:
            self._full = True  # what is behind it has not been looked for
            return Cursor.at(cursor.until)  # the rest of the window has been dropped, or the series have gone on
        if not self._request.last or cursor.after != follow.newest_ms:
            return cursor
        t_ms = cursor.after + 1
        refs = follow.tail.present_refs(follow.place_of)
        for place, ref in refs[behind(refs, cursor) :]:
            if not self._add(TailSeries(ref, [t_ms], STALE_BYTES)):
                return cursor
            cursor = Cursor(cursor.after, t_ms, place)
        return Cursor.at(t_ms)

    def _add(self, series: TailSeries, window: TailWindow | None = None) -> bool:
        """Take a series' samples, those of a window's rows, if there is room for them."""
        samples = len(series.times)
        if self._samples and self._samples + samples > self._request.samples:
            self._full = True
            return False
        labels = self._feed.maybe_labels(self._request.destination, series.ref)
        if labels is not None:
            self._labels.append((series.ref, labels))
            self._bytes += sum(_PAIR_BYTES + len(name) + 4 * len(value) for name, value in labels)
        if window is not None and self._request.starts:
            self._add_starts(series, window)
        self._series.append((series.ref, series.times, series.values))
        self._samples += samples
        self._bytes += _SAMPLE_BYTES * samples
        self._full = self._samples >= self._request.samples or self._bytes >= _ROOM_BYTES
        return True

    def _add_starts(self, series: TailSeries, window: TailWindow) -> None:
        gauge = self._feed.starts.maybe_gauge(series.ref)
        if gauge is None:
            return
        starts = sample_starts(series.times, window.beside(gauge, series.times))
        if any(starts):
            self._starts[len(self._series)] = starts
            self._bytes += _START_BYTES * len(starts)

    def answer(self, feed: int, families: list[Family]) -> FeedAnswer:
        """All that was read."""
        return FeedAnswer(
            self._request.number,
            feed,
            self._series,
            self._labels,
            self._cursors,
            self._full,
            self._lost_ms,
            families,
            self._skipped,
            self._starts,
        )
