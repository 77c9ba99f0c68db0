"""What the sender asks the aggregator, and what it is answered: one datagram each."""

from __future__ import annotations

import socket

import msgspec

from prom_probe.model.family import Family
from prom_probe.model.labels import Labels

# A request's answer fits into one datagram; the kernel's own limit would be about 200 KiB.
MAX_ANSWER_BYTES = 128 << 10
_BUFFER_BYTES = 512 << 10

# How many rows of a stream are read at a time: the most samples of a series that cannot be divided.
WINDOW_ROWS = 256

# (after, until, place): see `tsdb.tail.Cursor`.
CursorFields = tuple[int, int, int]


class FeedRequest(msgspec.Struct, frozen=True, array_like=True):
    """What came after these cursors, at most `samples` of it?

    `session` changes when the sender has forgotten the labels that it was told. `cursors` are by stream; one that is
    not among them is read from `start_ms` on. `last`: the run ends, so the newest row is wanted, and the markers
    that end the series. `families`: tell the metric families too. `limits`: read these streams alone, and nothing
    behind these cursors; all streams to their ends if there are none. `skip`: where more was missed than a moment, go
    on with the newest. `lane`: requests with other cursors, one after the other, are told apart by it. `starts`: tell
    when counters began.
    """

    number: int
    session: int
    destination: int
    cursors: dict[str, CursorFields]
    start_ms: int
    samples: int
    last: bool = False
    families: bool = False
    limits: dict[str, CursorFields] = {}
    skip: bool = False
    lane: int = 0
    starts: bool = False


class FeedAnswer(msgspec.Struct, frozen=True, array_like=True):
    """Samples, and the cursors behind them.

    `series`: ref, timestamps in ms, values as packed float64. `labels` are of refs that this session was not told
    before. `more`: there was no room or time for all. `lost_ms`: so much of the time after the cursors has been
    dropped by retention. `skipped`: what lies between these cursors of a stream, the request's and a later one.
    `starts`: for each sample of the nth of `series`, when its counter began, in ms, 0 where nothing tells; only of
    series with such samples.
    """

    number: int
    feed: int  # changes with each aggregator: refs are its own
    series: list[tuple[int, list[int], bytes]]
    labels: list[tuple[int, Labels]]
    cursors: dict[str, CursorFields]
    more: bool
    lost_ms: int
    families: list[Family] = []
    skipped: dict[str, tuple[CursorFields, CursorFields]] = {}
    starts: dict[int, list[int]] = {}


encode = msgspec.msgpack.Encoder().encode
decode_request = msgspec.msgpack.Decoder(FeedRequest).decode
decode_answer = msgspec.msgpack.Decoder(FeedAnswer).decode


class FeedSockets:
    """Both ends, made before the workers are forked: they outlive a worker, and with them what waits in there."""

    def __init__(self) -> None:
        self.sender, self.aggregator = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        for end in (self.sender, self.aggregator):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
            end.setblocking(False)
