"""Remote write 2.0's message, `io.prometheus.write.v2.Request`: every text once, and metadata with each series.

    Request     4 symbols (repeated), 5 timeseries (repeated)
    TimeSeries  1 labels_refs (packed: name, value, name, …), 2 samples (repeated), 5 metadata
    Sample      1 value: double, 2 timestamp: int64, ms, 3 start_timestamp: int64, ms (0 if it is not known)
    Metadata    1 type, 3 help_ref, 4 unit_ref

The first symbol is empty, so that a reference of 0 is none. `start_timestamp` is of release candidate 4, which
Prometheus 3.8 reads; those before it had field 6 of TimeSeries in its place, which nothing may write any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from prom_probe.model.family import Family
from prom_probe.model.labels import Labels, label_value
from prom_probe.model.written_names import find_family
from prom_probe.remote.message import METRIC_TYPES, Run, SampleEncoder
from prom_probe.remote.protobuf import LEN, VARINT, key, varint

_SYMBOL, _TIMESERIES = key(4, LEN), key(5, LEN)
_LABELS_REFS, _METADATA = key(1, LEN), key(5, LEN)
_TYPE, _HELP, _UNIT = key(1, VARINT), key(3, VARINT), key(4, VARINT)


class Message2:
    """See `message.Message1`."""

    headers: ClassVar[dict[str, str]] = {
        "Content-Encoding": "snappy",
        "Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request",
        "X-Prometheus-Remote-Write-Version": "2.0.0",
    }

    def __init__(self) -> None:
        self._families: dict[str, Family] = {}

    def labels(self, labels: Labels) -> tuple[Labels, int]:
        return labels, sum(len(name) + 3 * len(value) for name, value in labels)

    def encode(self, series: Iterable[tuple[Labels, Sequence[Run]]], families: Sequence[Family]) -> bytes:
        self._families |= {family.name: family for family in families}
        symbols: dict[str, int] = {"": 0}
        samples = SampleEncoder(starts=True)
        parts: list[bytes] = []
        for labels, runs in sorted(series, key=lambda one: one[0]):
            refs = b"".join([varint(_ref(symbols, text)) for pair in labels for text in pair])
            fields = [_LABELS_REFS, varint(len(refs)), refs, samples.encode(runs), self._metadata(labels, symbols)]
            body = b"".join(fields)
            parts += (_TIMESERIES, varint(len(body)), body)
        return b"".join([*_symbols(symbols), *parts])

    def _metadata(self, labels: Labels, symbols: dict[str, int]) -> bytes:
        family = find_family(label_value(labels, "__name__"), self._families)
        if family is None:
            return b""
        fields = (
            (_TYPE, METRIC_TYPES[family.type]),
            (_HELP, _ref(symbols, family.help)),
            (_UNIT, _ref(symbols, family.unit)),
        )
        body = b"".join([field + varint(number) for field, number in fields if number])
        return _METADATA + varint(len(body)) + body


def _ref(symbols: dict[str, int], text: str) -> int:
    return symbols.setdefault(text, len(symbols))


def _symbols(symbols: Iterable[str]) -> list[bytes]:
    texts = [text.encode(errors="backslashreplace") for text in symbols]
    return [_SYMBOL + varint(len(text)) + text for text in texts]
