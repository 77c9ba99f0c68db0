"""Remote write 1.0's message as a sender writes it: labels and samples to bytes; `write_request.py` draws it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, NamedTuple

from prom_probe.model.family import Family, MetricType
from prom_probe.model.labels import Labels
from prom_probe.remote.protobuf import I64, LEN, VARINT, key, varint

# MetricMetadata's `type`. The types that an OpenMetrics page can have besides are not ours.
METRIC_TYPES: dict[MetricType, int] = {
    "unknown": 0,
    "counter": 1,
    "gauge": 2,
    "histogram": 3,
    "summary": 5,
    "info": 6,
}

_TIMESERIES, _METADATA = key(1, LEN), key(3, LEN)
_LABEL, _SAMPLE = key(1, LEN), key(2, LEN)
_NAME, _VALUE = key(1, LEN), key(2, LEN)
_SAMPLE_VALUE, _SAMPLE_TIME, _SAMPLE_START = key(1, I64), key(2, VARINT), key(3, VARINT)


class Run(NamedTuple):
    """Samples of one series in time order: timestamps in ms, and the values as packed little-endian float64.

    `starts`: when the counter began, in ms, of each sample, 0 where that is not known; empty if of none.
    """

    times: Sequence[int]
    values: bytes
    starts: Sequence[int] = ()


class Message1:
    """What is particular to this message; `message_v2.py` has the other."""

    # What a request says about itself; users' headers do not override it.
    headers: ClassVar[dict[str, str]] = {
        "Content-Encoding": "snappy",
        "Content-Type": "application/x-protobuf",
        "X-Prometheus-Remote-Write-Version": "0.1.0",
    }

    def labels(self, labels: Labels) -> tuple[bytes, int]:
        """A series' labels as they are kept between requests, and about how many bytes they take in one."""
        encoded = encode_labels(labels)
        return encoded, len(encoded)

    def encode(self, series: Iterable[tuple[bytes, Sequence[Run]]], families: Sequence[Family]) -> bytes:
        """The message, not compressed: series, sorted, which compresses best, then the metadata of `families`."""
        samples = SampleEncoder(starts=False)
        parts: list[bytes] = []
        for labels, runs in sorted(series, key=lambda one: one[0]):
            body = labels + samples.encode(runs)
            parts += (_TIMESERIES, varint(len(body)), body)
        return b"".join([*parts, encode_metadata(families)])


class SampleEncoder:
    """Encodes samples; a request has few different timestamps, so their bytes are remembered for its length."""

    def __init__(self, *, starts: bool) -> None:
        """`starts`: whether the message says when counters began."""
        self._with_starts = starts
        self._times: dict[int, bytes] = {}
        self._starts: dict[int, bytes] = {}
        self._heads: dict[int, bytes] = {}  # by the length of the fields behind the value: what precedes it

    def encode(self, runs: Iterable[Run]) -> bytes:
        """The sample fields of a TimeSeries, which are the same in both messages but for the starts."""
        parts: list[bytes] = []
        for times, values, starts in runs:
            told = starts if self._with_starts else ()
            for i, t_ms in enumerate(times):
                end = self._times.get(t_ms)
                if end is None:
                    end = self._times[t_ms] = _SAMPLE_TIME + varint(t_ms)
                if told and told[i]:
                    end += self._start(told[i])
                head = self._heads.get(len(end))
                if head is None:
                    length = len(_SAMPLE_VALUE) + 8 + len(end)
                    head = self._heads[len(end)] = _SAMPLE + varint(length) + _SAMPLE_VALUE
                parts += (head, values[8 * i : 8 * i + 8], end)
        return b"".join(parts)

    def _start(self, start_ms: int) -> bytes:
        found = self._starts.get(start_ms)
        if found is None:
            found = self._starts[start_ms] = _SAMPLE_START + varint(start_ms)
        return found


def encode_labels(labels: Labels) -> bytes:
    """The label fields of a TimeSeries. `labels` are sorted by name."""
    parts: list[bytes] = []
    for name, value in labels:
        body = _text(_NAME, name) + _text(_VALUE, value)
        parts += (_LABEL, varint(len(body)), body)
    return b"".join(parts)


def encode_metadata(families: Iterable[Family]) -> bytes:
    """A request's metadata fields: type, name, help and unit of each family."""
    parts: list[bytes] = []
    for family in families:
        body = key(1, VARINT) + varint(METRIC_TYPES[family.type]) if METRIC_TYPES[family.type] else b""
        for number, text in ((2, family.name), (4, family.help), (5, family.unit)):
            if text:
                body += _text(key(number, LEN), text)
        parts += (_METADATA, varint(len(body)), body)
    return b"".join(parts)


def _text(field: bytes, text: str) -> bytes:
    # A name that the kernel gives need not be UTF-8, and is escaped long before this; the message must be.
    data = text.encode(errors="backslashreplace")
    return field + varint(len(data)) + data
