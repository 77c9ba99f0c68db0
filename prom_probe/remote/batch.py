"""A request in the making: series by ref, with their labels as each destination sends them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

from prom_probe.config.remote_write import Destination, ExternalLabel
from prom_probe.model.family import Family
from prom_probe.model.labels import Labels
from prom_probe.model.relabel import Relabeller
from prom_probe.remote.feed_protocol import FeedAnswer
from prom_probe.remote.message import Run

# Of a request, decoded.
MAX_BODY_BYTES = 512 << 10

_SAMPLE_BYTES, _START_BYTES = 18, 7


class WriteMessage(Protocol):
    """One of the messages that receivers understand: see `message.Message1`."""

    headers: ClassVar[dict[str, str]]

    def labels(self, labels: Labels) -> tuple[Any, int]: ...

    def encode(self, series: Any, families: Sequence[Family]) -> bytes: ...


class SentLabels:
    """The labels of a destination's series as its message has them, made once."""

    def __init__(
        self, destination: Destination, own: Labels, external: Sequence[ExternalLabel], message: WriteMessage
    ) -> None:
        """`own`: what a scrape would add, `job` and `instance`; `external` labels take precedence over them."""
        self.message = message
        self._added = dict(own) | {label.name: label.value for label in external}
        self._relabeller = Relabeller(destination.write_relabel_configs)
        self._known: dict[int, tuple[Any, int]] = {}

    def learn(self, ref: int, labels: Labels) -> None:
        """A series' labels as they are stored."""
        relabelled = self._relabeller.apply(tuple(sorted((self._added | dict(labels)).items())))
        self._known[ref] = self.message.labels(relabelled) if relabelled else (None, 0)

    def forget(self) -> None:
        """All refs have lost their meaning."""
        self._known.clear()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, ref: int) -> tuple[Any, int] | None:
        """The labels and their size, which is 0 if the series is not to be sent; None if it was never told."""
        return self._known.get(ref)


class SendBatch:
    """The samples of one request, and the cursors behind them."""

    def __init__(self, labels: SentLabels) -> None:
        self._labels = labels
        self._runs: dict[int, list[Run]] = {}
        self.samples = 0
        self.bytes = 0
        self.relabelled = 0  # samples dropped by relabelling
        self.unknown = 0  # samples of series that have left the store meanwhile
        self.lost_ms = 0
        self.oldest_ms: int | None = None
        self.newest_ms = 0

    def fits(self, answer: FeedAnswer, samples: int) -> bool:
        """Whether all of the answer has room in a request of so many samples."""
        if not self.samples:
            return True
        more = sum(len(times) for _, times, _ in answer.series)
        return self.samples + more <= samples and self.bytes + self._size(answer) <= MAX_BODY_BYTES

    def _size(self, answer: FeedAnswer) -> int:
        size = _START_BYTES * sum(map(len, answer.starts.values()))
        for ref, times, _ in answer.series:
            size += _SAMPLE_BYTES * len(times)
            if ref not in self._runs:
                known = self._labels.get(ref)
                size += (known[1] if known is not None else 0) + 8
        return size

    def add(self, answer: FeedAnswer) -> None:
        """Take the answer's samples."""
        self.bytes += self._size(answer)
        self.lost_ms = max(self.lost_ms, answer.lost_ms)
        for number, (ref, times, values) in enumerate(answer.series):
            known = self._labels.get(ref)
            if known is None:
                self.unknown += len(times)
                continue
            if not known[1]:
                self.relabelled += len(times)
                continue
            self._runs.setdefault(ref, []).append(Run(times, values, answer.starts.get(number, ())))
            self.samples += len(times)
            self.oldest_ms = times[0] if self.oldest_ms is None else min(self.oldest_ms, times[0])
            self.newest_ms = max(self.newest_ms, times[-1])

    def encode(self, families: Sequence[Family] = ()) -> bytes:
        """The message, not compressed."""
        labels = self._labels
        found = ((known[0], runs) for ref, runs in self._runs.items() if (known := labels.get(ref)) is not None)
        return labels.message.encode(found, families)
