"""Reads pages of an exposition format, each much like the one before it: values by place, series by their text.

On a page with the same series on the same lines only the changed lines are read.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple, TypeAlias

from prom_probe.collectors.scrape.exposition_error import ExpositionError
from prom_probe.collectors.scrape.grammar import (
    BAD_COMMENT,
    OPENMETRICS,
    TEXT,
    LineFormat,
    is_utf8,
    join_broken,
    parse_number,
    parse_series,
    unescaped,
    unquoted,
)
from prom_probe.collectors.scrape.page_family import FamilyText, family_of
from prom_probe.model.bound import canonical_bound
from prom_probe.model.family import Family, MetricType
from prom_probe.model.labels import METRIC_NAME, Labels, label_value
from prom_probe.model.sample import STALE

_MAX_HELP = 1024  # characters of a help text that are kept

# Labels whose values are floats, by the type that a page gave last.
_BOUNDS: dict[MetricType, str] = {"histogram": "le", "summary": "quantile"}

# Places are renumbered when more series are gone than present, and at least this many.
_COMPACT_GONE = 256


class PageLimits(NamedTuple):
    """What a page may have; one that has more is refused as a whole, as Prometheus does."""

    samples: int = 10_000  # after relabelling
    lines: int = 101_000


class PageSeries(NamedTuple):
    """A series of a page: its family as the page describes it, and its final labels."""

    family: Family
    labels: Labels

    @property
    def name(self) -> str:
        return label_value(self.labels, METRIC_NAME)


class PageCount(NamedTuple):
    """How many samples a page has, how many relabelling has kept, how many series the page before did not have."""

    samples: int
    kept: int
    added: int


class StampedSample(NamedTuple):
    """A sample that has a timestamp of its own in the page."""

    labels: Labels
    t_ms: int
    value: float


# A series' labels of its page, made final: see `TargetLabels.finish`.
Finish: TypeAlias = Callable[[str, Sequence[tuple[str, str]]], Labels | None]


class _Meaning(NamedTuple):
    """What a series' text means: the name in the page, which decides its family, and its final labels."""

    name: str
    labels: Labels


class _Scan(NamedTuple):
    """A page's lines; for each line its series' text (None: not a sample) and its place (-1: not in the row)."""

    form: LineFormat
    lines: list[str]
    texts: Sequence[str | None]
    places: list[int]
    counted: PageCount
    stamped: bool  # whether any sample has a timestamp that counts


class ExpositionPage:
    """The newest page of one target. Not thread-safe.

    `values` has one float64 for each place, the staleness marker where the page lacks the series; `series` has the
    series of each place. A place keeps its series until `epoch` changes. With `honor_timestamps`, samples that have a
    timestamp are in `stamped` alone.
    """

    def __init__(self, limits: PageLimits, finish: Finish, *, honor_timestamps: bool = False) -> None:
        self._limits = limits
        self._finish = finish
        self._honor_timestamps = honor_timestamps
        self._counted: Collection[str | None] = ()  # the newest page's texts, and those of pages refused since
        self._unused: dict[str, _Meaning | None] = {}  # of a refused page's new texts
        self._families: dict[str, FamilyText] = {}
        self.epoch = 0
        self._forget()

    def _forget(self) -> None:
        self.epoch += 1
        self.series: list[PageSeries] = []
        self.values = array("d")
        self.stamped: list[StampedSample] = []
        self._places: dict[str, int] = {}  # by text; several texts may mean one series; -1: dropped
        self._by_labels: dict[Labels, int] = {}
        self._present: set[int] = set()
        self._scan = _Scan(TEXT, [], [], [], PageCount(0, 0, 0), False)

    def read(self, body: bytes, openmetrics: bool) -> PageCount:
        """Take a page. Raises ExpositionError, and then changes nothing."""
        form = OPENMETRICS if openmetrics else TEXT
        if body.count(b"\n") > self._limits.lines:
            raise ExpositionError("samples", f"more than {self._limits.lines} lines")
        lines = body.decode(errors="surrogateescape").split("\n")
        if form is self._scan.form and len(lines) == len(self._scan.lines) and self._read_same(lines):
            return self._scan.counted._replace(added=0)
        return self._read_any(lines, form)

    def _read_same(self, lines: list[str]) -> bool:
        """Take a page with the same series on the same lines; for another page changes nothing and returns False."""
        form, before, texts, places, _, stamped = self._scan
        if stamped:
            return False
        changed: list[tuple[int, float]] = []
        for i, line in enumerate(lines):
            if line == before[i]:
                continue
            text = texts[i]
            if text is None:
                return False
            head, _, value = line.rpartition(" ")
            if head != text:
                found = form.match(line)
                if found is None or found[0] != text or (found[2] is not None and self._honor_timestamps):
                    return False
                value = found[1]
            number = parse_number(value)
            if number is None:
                return False
            changed.append((places[i], number))
        values = self.values
        for place, number in changed:
            if place >= 0:
                values[place] = number
        before[:] = lines
        self._counted = texts
        return True

    def _read_any(self, lines: list[str], form: LineFormat) -> PageCount:
        """Take any page, line by line."""
        if form is not self._scan.form and self._places:
            before, self._places = self._places, {}  # a series' text of one format need not be one of the other
        else:
            before = self._places
        reading = _PageReader(form, self._places, self._unused, self._limits, self._finish, self._honor_timestamps)
        try:
            reading.read(lines)
        except ExpositionError as error:
            if not form.strict and (joined := join_broken(lines)) != lines:
                self._places = before
                return self._read_any(joined, form)
            error.added = self._count_new(reading)
            error.kept -= reading.dropped
            self._counted = set(reading.texts).union(self._counted)
            self._unused, self._places = reading.meanings, before
            raise
        self._unused = {}
        if any(self._families.get(name, found) != found for name, found in reading.families.items()):
            self._families = {}
            self._forget()  # a type or a help text has changed: all series start over
            return self._read_any(lines, form)
        self._families = reading.families
        return self._adopt(lines, reading)

    def _adopt(self, lines: list[str], reading: _PageReader) -> PageCount:
        """Give every sample its place."""
        known, meanings, stamps = self._places, reading.meanings, reading.stamps
        present: set[int] = set()
        places: list[int] = []
        stamped: list[StampedSample] = []
        values = array("d", [STALE]) * len(self.values)
        for i, (text, number) in enumerate(zip(reading.texts, reading.numbers, strict=True)):
            place = -1
            if text is not None:
                found = known.get(text)
                place = known[text] = self._place(meanings[text]) if found is None else found
                if place == len(values):
                    values.append(STALE)
                if place >= 0 and i in stamps:
                    stamped.append(StampedSample(self.series[place].labels, stamps[i], number))
                    place = -1
                elif place in present:
                    place = -1  # the first one counts
                elif place >= 0:
                    present.add(place)
                    values[place] = number
            places.append(place)
        count = PageCount(reading.samples, reading.samples - reading.dropped, self._count_new(reading))
        if lines != [""]:  # after an empty page the series count as known, as after a failed scrape
            self._counted = reading.texts
        self.values, self.stamped, self._present = values, stamped, present
        self._scan = _Scan(reading.form, lines, reading.texts, places, count, bool(stamps))
        return count

    def _count_new(self, reading: _PageReader) -> int:
        """How many of the page's series are not in the cache that Prometheus would have."""
        new = set(reading.texts).difference(self._counted, (None,))
        return sum(not reading.drops(text) for text in new if text is not None)

    def _place(self, meaning: _Meaning | None) -> int:
        """The place of a series, a new one if it has none; -1 for a dropped one."""
        if meaning is None:
            return -1
        place = self._by_labels.get(meaning.labels)
        if place is None:
            place = self._by_labels[meaning.labels] = len(self.series)
            family = family_of(meaning.name, label_value(meaning.labels, METRIC_NAME), self._families)
            self.series.append(PageSeries(family, meaning.labels))
        return place

    def maybe_compact(self) -> None:
        """If many series are gone, renumber the rest and begin a new epoch."""
        gone = len(self.series) - len(self._present)
        if gone < _COMPACT_GONE or gone <= len(self._present):
            return
        stay = sorted(self._present)
        moved = {old: new for new, old in enumerate(stay)}
        self.series = [self.series[old] for old in stay]
        self.values = array("d", [self.values[old] for old in stay])
        self._present = set(range(len(stay)))
        self._places = {text: moved[old] for text, old in self._places.items() if old in moved}
        self._by_labels = {key: moved[old] for key, old in self._by_labels.items() if old in moved}
        self._scan = self._scan._replace(places=[moved.get(old, -1) for old in self._scan.places])
        self.epoch += 1


class _PageReader:
    """One page being read: each line's series text (None: not a sample) and value, and the page's families."""

    def __init__(
        self,
        form: LineFormat,
        known: dict[str, int],
        unused: dict[str, _Meaning | None],
        limits: PageLimits,
        finish: Finish,
        honor_timestamps: bool,
    ) -> None:
        self.form = form
        self.samples = 0
        self.dropped = 0  # by relabelling
        self.texts: list[str | None] = []
        self.numbers: list[float] = []
        self.stamps: dict[int, int] = {}  # by line: timestamps that count
        self.families: dict[str, FamilyText] = {}
        self.meanings: dict[str, _Meaning | None] = {}  # of the texts that are not `known`; None: dropped
        self._known = known
        self._unused = unused
        self._limits = limits
        self._finish = finish
        self._honor_timestamps = honor_timestamps
        self._type: MetricType = "unknown"  # the last that the page gave, whatever it was about

    def drops(self, text: str) -> bool:
        """Whether relabelling drops the series of a text."""
        return self._known[text] < 0 if text in self._known else self.meanings.get(text) is None

    def read(self, lines: list[str]) -> None:
        """Raises ExpositionError."""
        known, meanings, texts = self._known, self.meanings, self.texts
        for line in lines:
            text, _, value = line.rpartition(" ")
            number = parse_number(value) if text in known else None
            if number is None:
                found = self.form.match(line)
                if found is None:
                    self._comment(line, lines[len(texts) + 1 : len(texts) + 3])
                    continue
                text, value, stamp = found
                if text not in known and text not in meanings and self.samples - self.dropped <= self._limits.samples:
                    meaning = self._unused[text] if text in self._unused else self._meaning(text)
                    if meaning is None or self.samples - self.dropped < self._limits.samples:
                        meanings[text] = meaning  # what is beyond the limit counts, and is no series
                number = self._number(value, stamp)
            texts.append(text)
            self.numbers.append(number)
            self.samples += 1
            self.dropped += known[text] < 0 if text in known else text in meanings and meanings[text] is None
        if self.form.strict and "# EOF" not in lines[-2:]:
            raise self._error("the page does not end with # EOF")
        kept = self.samples - self.dropped
        if kept > self._limits.samples:
            raise ExpositionError("samples", f"{kept} samples, more than {self._limits.samples}", self.samples)

    def _number(self, value: str, stamp: str | None) -> float:
        """A sample's value; its timestamp is noted if it counts."""
        number = parse_number(value)
        if number is None:
            raise self._error(f"not a number: {value[:100]!r}")
        if stamp is not None:
            try:
                t_ms = self.form.timestamp_ms(stamp)
            except ValueError as error:
                raise self._error(str(error)) from None
            if self._honor_timestamps:
                self.stamps[len(self.texts)] = t_ms
        return number

    def _error(self, text: str, reason: str = "parse") -> ExpositionError:
        return ExpositionError(reason, f"line {len(self.texts) + 1}: {text}", self.samples)

    def _series_error(self, text: str, reason: str = "parse") -> ExpositionError:
        """A line that is a sample, whose series cannot be: Prometheus has counted it."""
        error = self._error(text, reason)
        error.samples += 1
        return error

    def _comment(self, line: str, following: list[str]) -> None:
        """Take a line that is not a sample; `following` has the two lines after it."""
        match = self.form.comment.fullmatch(line)
        if match is not None:
            if not is_utf8(line):
                raise self._error(f"not UTF-8: {line[:100]!r}")
            self._describe(match[1], unquoted(match[2]), match[3])
        elif self.form.strict:
            if not (following in ([], [""]) if line == "# EOF" else line == "" and not following):
                raise self._error(f"neither a sample nor a comment: {line[:100]!r}")
        elif line[:1] in (" ", "\t") and self.form.match(line.lstrip(" \t")) is not None:
            raise self._series_error(f"a blank before a sample: {line[:100]!r}")
        elif line.strip(" \t")[:1] not in ("", "#") or BAD_COMMENT.fullmatch(line):
            raise self._error(f"neither a sample nor a comment: {line[:100]!r}")
        self.texts.append(None)
        self.numbers.append(STALE)

    def _describe(self, what: str, name: str, text: str) -> None:
        found = self.families.get(name) or FamilyText()
        if what == "HELP":
            self.families[name] = found._replace(help=unescaped(text, self.form.help_escapes)[:_MAX_HELP])
        elif what == "TYPE":
            if text not in self.form.types:
                raise self._error(f"not a type: {text[:100]!r}")
            self._type = self.form.types[text]
            self.families[name] = found._replace(type=self._type)
        else:
            if text and not name.endswith(f"_{text}"):
                raise self._error(f"the unit {text[:100]!r} is not at the end of {name[:100]!r}")
            self.families[name] = found._replace(unit=text)

    def _meaning(self, text: str) -> _Meaning | None:
        """What a series' text means; bounds are written as Prometheus stores them."""
        if not is_utf8(text):
            raise self._error(f"not UTF-8: {text[:100]!r}")
        bound = _BOUNDS.get(self._type)
        try:
            name, pairs = parse_series(text)
        except ValueError as error:
            raise self._error(f"{error}: {text[:100]!r}") from None
        try:
            labels = self._finish(
                name, [(key, canonical_bound(value) if key == bound else value) for key, value in pairs]
            )
        except ExpositionError as error:
            raise self._series_error(str(error), error.reason) from None
        return None if labels is None else _Meaning(name, labels)
