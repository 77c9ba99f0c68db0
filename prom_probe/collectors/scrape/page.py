"""Reads pages of an exposition format, each much like the one before it: values by place, series by their text.

The grammar of Prometheus's own lexers decides what a line is. prometheus_client's parser decides what a series' text
means, once for each text. On a page with the same series on the same lines only the changed lines are read.
"""

import re
from array import array
from collections.abc import Collection, Sequence
from typing import NamedTuple

from prom_probe.collectors.scrape.parser import load_parser
from prom_probe.model.family import Family, MetricType
from prom_probe.model.sample import STALE

_parse_text = load_parser()

_QUOTED = r'"[^"\\\n]*(?:\\.[^"\\\n]*)*"'
_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_BLANKS = r"[ \t]*"
_LABEL = "[a-zA-Z_][a-zA-Z0-9_]*"
_DECIMAL_TEXT = r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_SPECIAL_TEXT = "(?:[-+]?[iI][nN][fF](?:[iI][nN][iI][tT][yY])?|[nN][aA][nN])"
_NUMBER_TEXT = f"(?:{_DECIMAL_TEXT}|{_SPECIAL_TEXT})"


def _series(space: str, trailing_comma: str) -> str:
    """A series: a name with or without labels, or a name among the labels, with `space` where spaces are allowed."""
    term = f"(?:(?:{_LABEL}|{_QUOTED}){space}={space}{_QUOTED}|{_QUOTED})"
    braces = rf"\{{{space}(?:{term}{space}(?:,{space}{term}{space})*{trailing_comma})?\}}"
    return f"(?:{_NAME}(?:{space}{braces})?|{braces})"


_WITH_EXEMPLARS = ("_total", "_bucket")


class _Format(NamedTuple):
    """What the lines of a format look like."""

    sample: re.Pattern[str]  # groups: series, value, exemplar
    comment: re.Pattern[str]  # groups: HELP, TYPE or UNIT; name; text
    types: dict[str, MetricType]
    strict: bool  # no line of another kind; "# EOF" at the end

    def match(self, line: str) -> tuple[str, str] | None:
        """The series and the value in a line; None where it is not a sample."""
        match = self.sample.fullmatch(line)
        if match is None or (match[3] and not match[1].partition("{")[0].endswith(_WITH_EXEMPLARS)):
            return None
        return match[1], match[2]


_TEXT = _Format(
    re.compile(
        rf"({_series(_BLANKS, f'(?:,{_BLANKS})?')})[ \t]*(?<![a-zA-Z0-9_:])([^{{ \t]+)(?:[ \t]+[0-9]+)?[ \t]*()"
    ),
    re.compile(rf"[ \t]*#[ \t]+(HELP|TYPE)[ \t]+({_NAME}|{_QUOTED})[ \t]?(.*)"),
    {
        "counter": "counter",
        "gauge": "gauge",
        "histogram": "histogram",
        "summary": "summary",
        "untyped": "unknown",
    },
    False,
)
_OPENMETRICS = _Format(
    re.compile(
        rf"({_series('', '')}) ([^ ]+)(?: {_DECIMAL_TEXT})?"
        rf"( # \{{(?:{_LABEL}={_QUOTED}(?:,{_LABEL}={_QUOTED})*)?\}} {_NUMBER_TEXT}(?: {_DECIMAL_TEXT})?)?"
    ),
    re.compile(rf"# (HELP|TYPE|UNIT) ({_NAME}|{_QUOTED}) (.*)"),
    {
        "counter": "counter",
        "gauge": "gauge",
        "histogram": "histogram",
        "summary": "summary",
        "info": "info",
        "unknown": "unknown",
        "gaugehistogram": "unknown",
        "stateset": "gauge",
    },
    True,
)

_DECIMAL = re.compile(_DECIMAL_TEXT)
_SPECIAL = re.compile(_SPECIAL_TEXT)
_INFINITIES = (float("inf"), float("-inf"))

# A line of the text format that looks like this and is no valid comment is an error.
_BAD_COMMENT = re.compile(r"[ \t]*#[ \t]+(?:HELP|TYPE)[ \t].*")

# Endings that a sample's name adds to its family's: the types of such families, and whether one has several names.
_ENDINGS: dict[str, tuple[tuple[MetricType, ...], bool]] = {
    "_bucket": (("histogram",), True),
    "_sum": (("histogram", "summary"), True),
    "_count": (("histogram", "summary"), True),
    "_total": (("counter",), False),
    "_info": (("info",), False),
}

_ESCAPES = {"n": "\n"}
_MAX_HELP = 1024  # characters of a help text that are kept

# Places are renumbered when more series are gone than present, and at least this many.
_COMPACT_GONE = 256


class PageLimits(NamedTuple):
    """What a page may have; one that has more is refused as a whole, as Prometheus does."""

    samples: int = 10_000
    labels: int = 64  # of a series, without its name
    label_name: int = 256  # characters
    label_value: int = 4096  # characters


class ExpositionError(Exception):
    """A page that cannot be used; `reason` is "parse", "samples" or "labels".

    `samples` is how many samples came before the error, `kept` how many of them were good, `added` how many of their
    series were new.
    """

    def __init__(self, reason: str, text: str, samples: int = 0) -> None:
        super().__init__(text)
        self.reason = reason
        self.samples = self.kept = samples
        self.added = 0


class PageSeries(NamedTuple):
    """A series of a page: its labels as the page has them, without empty ones and without `__name__`."""

    family: Family
    name: str
    labels: dict[str, str]


class _Metadata(NamedTuple):
    """What a page says of a family."""

    type: MetricType = "unknown"
    help: str = ""
    unit: str = ""


_Meaning = tuple[str, dict[str, str]]  # a series' name and labels


class _Scan(NamedTuple):
    """A page's lines; for each line its series' text (None: not a sample) and its place (-1: a duplicate)."""

    form: _Format
    lines: list[str]
    texts: Sequence[str | None]
    places: list[int]


class ExpositionPage:
    """The newest page of one target. Not thread-safe.

    `values` has one float64 for each place, the staleness marker where the page lacks the series; `series` has the
    series of each place. A place keeps its series until `epoch` changes.
    """

    def __init__(self, limits: PageLimits) -> None:
        self._limits = limits
        self._counted: Collection[str | None] = ()  # the newest page's texts, and those of pages refused since
        self._unused: dict[str, _Meaning] = {}  # of a refused page's new texts
        self._families: dict[str, _Metadata] = {}
        self.epoch = 0
        self._forget()

    def _forget(self) -> None:
        self.epoch += 1
        self.series: list[PageSeries] = []
        self.values = array("d")
        self._places: dict[str, int] = {}  # by text; several texts may mean one series
        self._by_labels: dict[tuple[str, frozenset[tuple[str, str]]], int] = {}
        self._present: set[int] = set()
        self._scan = _Scan(_TEXT, [], [], [])

    def read(self, body: bytes, openmetrics: bool) -> tuple[int, int]:
        """Take a page; returns how many samples it has, and how many of their series the page before did not have.

        Raises ExpositionError, and then changes nothing.
        """
        form = _OPENMETRICS if openmetrics else _TEXT
        if body.count(b"\n") > 10 * self._limits.samples + 1000:
            raise ExpositionError("samples", "more lines than ten times as many samples as are allowed")
        try:
            lines = body.decode().split("\n")
        except UnicodeDecodeError as error:
            raise ExpositionError("parse", f"byte {error.start} is not UTF-8") from None
        if form is self._scan.form and len(lines) == len(self._scan.lines) and self._read_same(lines):
            return len(lines) - self._scan.texts.count(None), 0
        return self._read_any(lines, form)

    def _read_same(self, lines: list[str]) -> bool:
        """Take a page with the same series on the same lines; for another page changes nothing and returns False."""
        form, before, texts, places = self._scan
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
                if found is None or found[0] != text:
                    return False
                value = found[1]
            number = _number(value)
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

    def _read_any(self, lines: list[str], form: _Format) -> tuple[int, int]:
        """Take any page, line by line."""
        if form is not self._scan.form and self._places:
            before, self._places = self._places, {}  # a series' text of one format need not be one of the other
        else:
            before = self._places
        reading = _PageReader(form, self._places, self._unused, self._limits)
        try:
            reading.read(lines)
        except ExpositionError as error:
            error.added = self._count_new(reading.texts)
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

    def _adopt(self, lines: list[str], reading: "_PageReader") -> tuple[int, int]:
        """Give every sample its place."""
        known, meanings = self._places, reading.meanings
        present: set[int] = set()
        places: list[int] = []
        values = array("d", [STALE]) * len(self.values)
        for text, number in zip(reading.texts, reading.numbers, strict=True):
            if text is None:
                places.append(-1)
                continue
            place = known.get(text)
            if place is None:
                place = known[text] = self._place(*meanings[text])
                if place == len(values):
                    values.append(STALE)
            if place in present:
                places.append(-1)  # the first one counts
                continue
            present.add(place)
            places.append(place)
            values[place] = number
        added = self._count_new(reading.texts)
        if lines != [""]:  # after an empty page the series count as known, as after a failed scrape
            self._counted = reading.texts
        self.values, self._present = values, present
        self._scan = _Scan(reading.form, lines, reading.texts, places)
        return reading.samples, added

    def _count_new(self, texts: Sequence[str | None]) -> int:
        """How many of these texts are not in the cache that Prometheus would have."""
        return len(set(texts).difference(self._counted, (None,)))

    def _place(self, name: str, labels: dict[str, str]) -> int:
        """The place of a series; a new one if it has none."""
        labels = {key: value for key, value in labels.items() if value}
        key = (name, frozenset(labels.items()))
        place = self._by_labels.get(key)
        if place is None:
            place = self._by_labels[key] = len(self.series)
            self.series.append(PageSeries(_family(name, self._families), name, labels))
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

    def __init__(self, form: _Format, known: dict[str, int], unused: dict[str, _Meaning], limits: PageLimits) -> None:
        self.form = form
        self.samples = 0
        self.texts: list[str | None] = []
        self.numbers: list[float] = []
        self.families: dict[str, _Metadata] = {}
        self.meanings: dict[str, _Meaning] = {}  # of the texts that are not `known`
        self._known = known
        self._unused = unused
        self._limits = limits

    def read(self, lines: list[str]) -> None:
        """Raises ExpositionError."""
        known = self._known
        for line in lines:
            text, _, value = line.rpartition(" ")
            number = _number(value) if text in known else None
            if number is None:
                found = self.form.match(line)
                if found is None:
                    self._comment(line, lines[len(self.texts) + 1 : len(self.texts) + 3])
                    continue
                text, value = found
                if text not in known and text not in self.meanings and self.samples < self._limits.samples:
                    self.meanings[text] = self._unused.get(text) or self._meaning(text)
                number = _number(value)
            if number is None:
                raise self._error(f"not a number: {value[:100]!r}")
            self.texts.append(text)
            self.numbers.append(number)
            self.samples += 1
        if self.form.strict and "# EOF" not in lines[-2:]:
            raise self._error("the page does not end with # EOF")
        if self.samples > self._limits.samples:
            raise ExpositionError("samples", f"{self.samples} samples, more than {self._limits.samples}", self.samples)

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
            self._describe(match[1], _unquoted(match[2]), match[3])
        elif self.form.strict:
            if not (following in ([], [""]) if line == "# EOF" else line == "" and not following):
                raise self._error(f"neither a sample nor a comment: {line[:100]!r}")
        elif line[:1] in (" ", "\t") and self.form.sample.fullmatch(line.lstrip(" \t")):
            raise self._series_error(f"a blank before a sample: {line[:100]!r}")
        elif line.strip(" \t")[:1] not in ("", "#") or _BAD_COMMENT.fullmatch(line):
            raise self._error(f"neither a sample nor a comment: {line[:100]!r}")
        self.texts.append(None)
        self.numbers.append(STALE)

    def _describe(self, what: str, name: str, text: str) -> None:
        found = self.families.get(name) or _Metadata()
        if what == "HELP":
            help_text = _unescaped(text, '\\n"' if self.form.strict else "\\n")
            self.families[name] = found._replace(help=help_text[:_MAX_HELP])
        elif what == "TYPE":
            if text not in self.form.types:
                raise self._error(f"not a type: {text[:100]!r}")
            self.families[name] = found._replace(type=self.form.types[text])
        else:
            if text and not name.endswith(f"_{text}"):
                raise self._error(f"the unit {text[:100]!r} is not at the end of {name[:100]!r}")
            self.families[name] = found._replace(unit=text)

    def _meaning(self, text: str) -> _Meaning:
        """What a series' text means, by prometheus_client's parser."""
        try:
            (family,) = _parse_text(f"{text} 0\n")
            (sample,) = family.samples
        except (ValueError, LookupError) as error:
            raise self._series_error(str(error)[:200] or f"not a series: {text[:100]}") from None
        labels: dict[str, str] = sample.labels
        limits = self._limits
        if len(labels) > limits.labels:
            raise self._series_error(f"{len(labels)} labels, more than {limits.labels}", "labels")
        for name, value in labels.items():
            if len(name) > limits.label_name or len(value) > limits.label_value:
                raise self._series_error(f"a label that is too long: {name[:100]!r}", "labels")
        if not sample.name:
            raise self._series_error("a series without a name")
        return sample.name, labels


def _number(text: str) -> float | None:
    """What Prometheus reads in `text`, None where it reads nothing."""
    if _DECIMAL.fullmatch(text):
        number = float(text)
        return None if number in _INFINITIES else number
    return float(text) if _SPECIAL.fullmatch(text) else None


def _unquoted(name: str) -> str:
    if not name.startswith('"'):
        return name
    return _unescaped(name[1:-1], '\\n"')


def _unescaped(text: str, escapes: str) -> str:
    """`text` without the backslashes before these characters, `n` after one being a new line."""
    if "\\" not in text:
        return text
    return re.sub(
        r"\\(.)", lambda found: found[0] if found[1] not in escapes else _ESCAPES.get(found[1], found[1]), text
    )


def _family(name: str, families: dict[str, _Metadata]) -> Family:
    """The family of the samples called `name`, as the text format would describe it."""
    found = families.get(name)
    if found is not None:
        return Family(name, *found)
    for ending, (types, many) in _ENDINGS.items():
        if name.endswith(ending):
            base = name[: -len(ending)]
            found = families.get(base)
            if found is not None and found.type in types:
                return Family(base if many else name, *found)
    found = families.get(name.removesuffix("_created"))
    return Family(name, "gauge", found.help) if found is not None else Family(name, "unknown", "")
