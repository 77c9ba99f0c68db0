"""Remote write 1.0's message, `prometheus.WriteRequest`: bytes to labels and samples.

    WriteRequest  1 timeseries (repeated), 3 metadata (ignored)
    TimeSeries    1 labels (repeated), 2 samples (repeated), 3 exemplars (ignored), 4 histograms (refused)
    Label         1 name, 2 value
    Sample        1 value: double, 2 timestamp: int64, ms

Values of 0 are omitted, as proto3 does. Senders write labels before samples, and a series' labels as the same bytes
each time: decoded labels are remembered by their bytes, so that known series decode much faster.
"""

from __future__ import annotations

import struct
from array import array
from collections import Counter

from prom_probe.model.labels import METRIC_NAME, Labels, format_labels
from prom_probe.remote.protobuf import I64, LEN, VARINT, Malformed, Shape, read_field, read_varint

MAX_FIELDS = 100_000  # time series and metadata in a request
MAX_SAMPLES = 500_000
MAX_SERIES_BYTES = 2 << 20  # of one time series in one request: 100,000 samples
MAX_LABELS = 128
MAX_LABELS_BYTES = 16 << 10  # of one series

_REQUEST: Shape = {1: LEN, 3: LEN}
_SERIES: Shape = {1: LEN, 2: LEN, 3: LEN, 4: LEN}
_LABEL: Shape = {1: LEN, 2: LEN}
_SAMPLE: Shape = {1: I64, 2: VARINT}

# A sample in its usual form: its key and length, the key of its value, the value, then the key and six bytes of its
# timestamp (1971 to 2109). A value of 0 is omitted.
_WITH_VALUE = b"\x12\x10\x09"
_WITHOUT_VALUE = b"\x12\x07\x10"
_WITH_VALUE_BYTES, _WITHOUT_VALUE_BYTES = 18, 9
_value_and_time = struct.Struct("<d7s").unpack_from
_double = struct.Struct("<d").unpack_from

# Timestamps remembered: a request has few of them, shared by many samples.
_MAX_TIMES = 10_000

# Memory for remembered labels, roughly counted.
_MEMORY_BYTES = 4 << 20


class BadRequest(ValueError):
    """An unusable request; the text says why."""


class BadLabels(ValueError):
    """Labels that do not identify a series; the text says why."""


class Refused:
    """The samples of a request that are not stored, by reason: their number and the first of them."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.first: dict[str, str] = {}

    def add(self, reason: str, samples: int, text: str) -> None:
        """Count `samples` (maybe 0) as refused; `text` describes the first of them."""
        if samples:
            self.counts[reason] += samples
            self.first.setdefault(reason, text)


class WriteRequest:
    """A decoded request: the samples of `labels[i]` are those from `ends[i - 1]` (0 for the first) up to `ends[i]`."""

    __slots__ = ("ends", "labels", "refused", "times", "values")

    def __init__(self) -> None:
        self.labels: list[Labels] = []
        self.ends: list[int] = []
        self.times = array("q")  # ms
        self.values = array("d")
        self.refused = Refused()


class Decoder:
    """Decodes requests, one at a time, in any thread."""

    def __init__(self) -> None:
        self._labels: dict[bytes, Labels] = {}  # by the bytes of all label fields
        self._pairs: dict[bytes, tuple[str, str]] = {}  # by the bytes of one label
        self._memory = 0

    def decode(self, data: memoryview) -> WriteRequest:
        """The request. Series with bad labels are in its `refused`; any other fault raises BadRequest."""
        request = WriteRequest()
        try:
            self._read_request(data, request)
        except Malformed as error:
            raise BadRequest(f"at byte {error.at}: {error}") from None
        return request

    def _read_request(self, data: memoryview, request: WriteRequest) -> None:
        times: dict[bytes, int] = {}
        at, end, fields = 0, len(data), 0
        while at < end:
            fields += 1
            if fields > MAX_FIELDS:
                raise BadRequest(f"more than {MAX_FIELDS} time series")
            number, start, at = _maybe_series(data, at, end) or read_field(data, at, end, _REQUEST)
            if number != 1:
                continue
            if at - start > MAX_SERIES_BYTES:
                raise BadRequest(f"a time series of more than {MAX_SERIES_BYTES} bytes")
            try:
                self._read_series(data[start:at].tobytes(), request, times)
            except Malformed as error:
                raise Malformed(str(error), start + error.at) from None
            if len(request.times) > MAX_SAMPLES:
                raise BadRequest(f"more than {MAX_SAMPLES} samples")

    def _read_series(self, data: bytes, request: WriteRequest, times: dict[bytes, int]) -> None:
        labels, at = self._maybe_known(data)
        fields: list[bytes] = []
        if labels is None:
            fields, at = _leading_labels(data)
        first, labels_end, end = len(request.times), at, len(data)
        late: list[bytes] = []  # labels after the first field of another kind
        histograms = 0
        while at < end:
            at = _read_samples(data, at, request, times)
            if at == end:
                break
            number, start, at = read_field(data, at, end, _SERIES)
            if number == 1:
                late.append(data[start:at])
            elif number == 2:
                t_ms, value = _read_sample(data, start, at)
                request.times.append(t_ms)
                request.values.append(value)
            elif number == 4:
                histograms += 1
        samples = len(request.times) - first
        try:
            if late:
                labels = self._read_labels(_leading_labels(data)[0] + late)
            elif labels is None:
                labels = self._read_labels(fields)
                self._remember(data[:labels_end], labels)
        except BadLabels as error:
            request.refused.add("malformed", samples + histograms, str(error))
            del request.times[first:], request.values[first:]
            return
        if histograms:  # formatting is not free
            request.refused.add("histogram", histograms, format_labels(labels))
        if samples:
            request.labels.append(labels)
            request.ends.append(first + samples)

    def _maybe_known(self, data: bytes) -> tuple[Labels | None, int]:
        """The labels of a series seen before, and where they end.

        The end is a guess, but a safe one: the bytes before it have been decoded as label fields once.
        """
        for head in (_WITH_VALUE, _WITHOUT_VALUE):
            end = data.find(head)
            if end > 0 and (labels := self._labels.get(data[:end])) is not None:
                return labels, end
        return None, 0

    def _remember(self, raw: bytes, labels: Labels) -> None:
        """Remember that the label fields `raw` stand for `labels`."""
        self._make_room(200 + len(raw) + 8 * len(labels))
        self._labels[raw] = labels

    def _make_room(self, size: int) -> None:
        """Forget everything if `size` bytes more would be too much."""
        self._memory += size
        if self._memory > _MEMORY_BYTES:
            self._labels.clear()
            self._pairs.clear()
            self._memory = size

    def _read_labels(self, fields: list[bytes]) -> Labels:
        """The labels in these label fields. Raises BadLabels."""
        if len(fields) > MAX_LABELS or sum(map(len, fields)) > MAX_LABELS_BYTES:
            raise BadLabels(f"more than {MAX_LABELS} labels, or more than {MAX_LABELS_BYTES} bytes of them")
        pairs = []
        for raw in fields:
            pair = self._pairs.get(raw)
            if pair is None:
                pair = _read_label(raw)
                self._make_room(400 + 3 * len(raw))
                self._pairs[raw] = pair
            if pair[1]:  # an empty value means an absent label
                pairs.append(pair)
        return _checked(pairs)


def _maybe_series(data: memoryview, at: int, end: int) -> tuple[int, int, int] | None:
    """A fast `read_field` for a time series whose length takes two bytes; None for anything else."""
    start = at + 3
    if start >= end or data[at] != 1 << 3 | LEN or not data[at + 1] >= 0x80 > data[at + 2]:
        return None
    stop = start + (data[at + 1] & 0x7F | data[at + 2] << 7)
    return (1, start, stop) if stop <= end else None


def _leading_labels(data: bytes) -> tuple[list[bytes], int]:
    """The label fields at the start of a series, and where they end."""
    fields = []
    at, end = 0, len(data)
    while at < end and data[at] == 1 << 3 | LEN:
        _, start, at = read_field(data, at, end, _SERIES)
        fields.append(data[start:at])
    return fields, at


def _read_label(raw: bytes) -> tuple[str, str]:
    """Name and value. Malformed is raised with the place 0: the series', as far as is known here."""
    texts = [b"", b""]
    at, end = 0, len(raw)
    try:
        while at < end:
            number, start, at = read_field(raw, at, end, _LABEL)
            if number <= 2:
                texts[number - 1] = raw[start:at]
    except Malformed as error:
        raise Malformed(f"a label of this time series: {error}", 0) from None
    try:
        return texts[0].decode(), texts[1].decode()
    except UnicodeDecodeError:
        raise BadLabels(f"label {texts[0]!r} with value {texts[1]!r} is not UTF-8") from None


def _checked(pairs: list[tuple[str, str]]) -> Labels:
    """`pairs` as labels. Raises BadLabels where they do not identify a series."""
    labels = tuple(sorted(pairs))
    names = {name for name, _ in labels}
    if len(names) < len(labels):
        raise BadLabels(f"a label comes twice: {format_labels(labels)}")
    if "" in names:
        raise BadLabels(f"a label has no name: {format_labels(labels)}")
    if METRIC_NAME not in names:
        raise BadLabels(f"no metric name: {format_labels(labels)}")
    return labels


def _read_samples(data: bytes, at: int, request: WriteRequest, times: dict[bytes, int]) -> int:
    """Read samples in their usual form from `at` on; gives the place of the first byte after them.

    `times`: timestamps of this request by their bytes.
    """
    end = len(data)
    while at < end:
        head = data[at : at + 3]
        if head == _WITH_VALUE and end - at >= _WITH_VALUE_BYTES:
            value, raw = _value_and_time(data, at + 3)
            after = at + _WITH_VALUE_BYTES
        elif head == _WITHOUT_VALUE and end - at >= _WITHOUT_VALUE_BYTES:
            value, after = 0.0, at + _WITHOUT_VALUE_BYTES
            raw = data[at + 2 : after]
        else:
            break
        t_ms = times.get(raw)
        if t_ms is None:
            if raw[0] != 2 << 3 | VARINT or not min(raw[1:6]) >= 0x80 > raw[6]:
                break
            if len(times) >= _MAX_TIMES:
                times.clear()
            t_ms = times[raw] = read_varint(raw, 1, 7)[0]
        request.times.append(t_ms)
        request.values.append(value)
        at = after
    return at


def _read_sample(data: bytes, start: int, end: int) -> tuple[int, float]:
    """(t_ms, value) of a sample in any form."""
    t_ms, value, at = 0, 0.0, start
    while at < end:
        number, place, at = read_field(data, at, end, _SAMPLE)
        if number == 1:
            (value,) = _double(data, place)
        elif number == 2:
            t_ms = read_varint(data, place, end)[0]
    return (t_ms if t_ms < 1 << 63 else t_ms - (1 << 64)), value
