"""What a sender leaves for its successor, in shared memory and perhaps on disk: cursors, and counts for `/metrics`."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import msgspec

from prom_probe.remote.feed_protocol import CursorFields
from prom_probe.remote.gaps import Gap
from prom_probe.ring.slot import Slot

FILE_NAME = "remote_write.state"

# Cursors of a few dozen streams for each of a few destinations.
SLOT_BYTES = 256 << 10


class SendCounts(msgspec.Struct):
    """What has happened with one destination. Times are Unix seconds, sizes bytes, of the compressed bodies."""

    sent: int = 0  # samples
    requests: int = 0
    bytes: int = 0
    failed: dict[str, int] = {}  # requests without a 2xx answer, by reason
    retried: int = 0  # samples in repeated requests
    dropped: dict[str, int] = {}  # samples that are not sent again, by reason
    lost_s: float = 0.0
    lag_s: float = 0.0
    highest_s: float = 0.0  # the newest timestamp sent
    up: bool = False


class DestinationState(msgspec.Struct):
    """One destination's cursors by stream, when it was first sent to (ms), and its counts.

    `sending`: the cursors behind the request that is under way. `gaps`: what was skipped before them.
    """

    start_ms: int
    cursors: dict[str, CursorFields] = {}
    sending: dict[str, CursorFields] = {}
    gaps: list[Gap] = []
    counts: SendCounts = msgspec.field(default_factory=SendCounts)


class SenderState(msgspec.Struct):
    """All destinations by label."""

    destinations: dict[str, DestinationState] = {}


_decode = msgspec.msgpack.Decoder(SenderState).decode


def read_slot(slot: Slot) -> SenderState:
    """What the sender left in shared memory; empty before its first request."""
    try:
        return _decode(slot.read() or b"\x80")
    except (msgspec.DecodeError, msgspec.ValidationError):
        return SenderState()


class StateKeeper:
    """Keeps the state; any thread may change its own destination's part and call `save`."""

    def __init__(self, slot: Slot, folder: str | None, log: Callable[[str, str], None]) -> None:
        """`folder`: the store's directory, which outlives this run."""
        self._slot = slot
        self._folder = folder
        self._log = log
        self._lock = threading.Lock()
        self._state = read_slot(slot)
        if not self._state.destinations and folder is not None:
            self._state = _read_file(os.path.join(folder, FILE_NAME))

    def destination(self, label: str, start_ms: int) -> DestinationState:
        """A destination's state; one that is new begins at `start_ms`."""
        return self._state.destinations.setdefault(label, DestinationState(start_ms))

    def save(self, *, durable: bool) -> None:
        """Publish the state; `durable`: on disk too."""
        with self._lock:
            data = msgspec.msgpack.encode(self._state)
            self._slot.write(data)
            if durable and self._folder is not None:
                try:
                    _write_file(self._folder, data)
                except OSError as error:
                    what = f"the cursors are not on disk: {error.strerror}; after a restart, samples may be sent twice"
                    self._log("warn", what)


def _read_file(path: str) -> SenderState:
    """The cursors of the run before; its counts are its own."""
    try:
        with open(path, "rb") as stream:
            state = _decode(stream.read())
    except (OSError, msgspec.DecodeError, msgspec.ValidationError):
        return SenderState()
    for destination in state.destinations.values():
        destination.counts = SendCounts()
    return state


def _write_file(folder: str, data: bytes) -> None:
    path = os.path.join(folder, FILE_NAME)
    unfinished = f"{path}.tmp"
    with open(unfinished, "wb") as stream:
        stream.write(data)
    os.replace(unfinished, path)
