"""The promqltest language: a script's text -> commands. A blank or comment line ends a block."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, cast

from prom_probe.model.labels import METRIC_NAME, Labels, make_labels
from prom_probe.model.sample import STALE
from prom_probe.promql.lexer import lex
from prom_probe.promql.literals import duration_ms, unquote
from prom_probe.promql.result import QueryError

Note: TypeAlias = Literal["fail", "warn", "no_warn", "info", "no_info", "ordered"]


class ScriptError(ValueError):
    """A line that is not of the language; the text has its number."""


class _Native:
    """Stands for a native histogram's value, whatever it is."""

    def __repr__(self) -> str:
        return "{{...}}"


NATIVE = _Native()
Point: TypeAlias = "float | _Native | None"  # None: no sample


@dataclass(frozen=True, slots=True)
class Clear:
    line: int


@dataclass(frozen=True, slots=True)
class Load:
    """Series whose points are `step_ms` apart, the first at 0. `nhcb`: make native histograms from classic ones.

    `started`: the series whose samples have start timestamps.
    """

    line: int
    step_ms: int
    series: dict[Labels, list[Point]]
    nhcb: bool = False
    started: frozenset[Labels] = frozenset()


@dataclass(frozen=True, slots=True)
class Expectation:
    """`expect warn msg: ...`. The message must equal `text` or contain `pattern`; any message, if neither is given."""

    note: Note
    text: str = ""
    pattern: str = ""

    def __str__(self) -> str:
        wanted = f" msg: {self.text}" if self.text else f" regex: {self.pattern}" if self.pattern else ""
        return f"{self.note}{wanted}"


@dataclass(slots=True)
class Eval:
    """A query and its expected result. An instant one has start == end. `rows`: as written, in order."""

    line: int
    expr: str
    start_ms: int
    end_ms: int
    step_ms: int  # 0 for an instant query
    notes: list[Expectation] = field(default_factory=list)
    rows: list[tuple[Labels, list[Point]]] = field(default_factory=list)
    scalar: float | None = None
    string: str | None = None
    matrix: tuple[int, int, int] | None = None  # start, end, step of an expected range vector

    @property
    def instant(self) -> bool:
        return self.step_ms == 0

    def expects(self, note: Note) -> bool:
        return any(one.note == note for one in self.notes)


@dataclass(frozen=True, slots=True)
class Broken:
    """An eval block that is not of the language."""

    line: int
    text: str
    error: str


Command: TypeAlias = Clear | Load | Eval | Broken

_LOAD = re.compile(r"load(_with_nhcb)?\s+(\S+)$", re.I)
_STARTS = re.compile(r"(\S*)@st(?:\s|$)")
_EVAL = re.compile(r"eval(?:_(fail|warn|ordered|info))?\s+instant\s+(?:at\s+(\S+)\s+)?(.+)$", re.I)
_EVAL_RANGE = re.compile(r"eval(?:_(fail|warn|info))?\s+range\s+from\s+(\S+)\s+to\s+(\S+)\s+step\s+(\S+)\s+(.+)$", re.I)
_EXPECT = re.compile(r"expect\s+(ordered|fail|warn|no_warn|info|no_info)(?:\s+(regex|msg):\s*(.+))?$")
_EXPECT_STRING = re.compile(r"expect\s+string\s+(.+)$")
_EXPECT_MATRIX = re.compile(r"expect\s+range\s+vector\s+from\s+(\S+)\s+to\s+(\S+)\s+step\s+(\S+)$")
_LEGACY_FAIL = re.compile(r"expected_fail_(message|regexp)\s+(.+)$")
_QUOTED = r'"(?:[^"\\]|\\.)*"|' r"'(?:[^'\\]|\\.)*'|`[^`]*`"
_METRIC = re.compile(rf"([A-Za-z_:][A-Za-z0-9_:]*)?\s*(\{{(?!\{{)(?:[^\"'`}}]|{_QUOTED})*\}})?(?=\s|$)")
_NUMBER = r"(?:inf|nan|(?:[0-9][0-9_]*\.?[0-9]*|\.[0-9]+)(?:e[-+]?[0-9]+)?)"
_VALUE = re.compile(rf"([-+]?{_NUMBER})(?:([-+])({_NUMBER}))?(?:x([0-9]+))?$", re.I)
_GAP = re.compile(r"_(?:x([0-9]+))?$")
_STALE = re.compile(r"stale(?:x([0-9]+))?$", re.I)
_HISTOGRAM = re.compile(r"\{\{.*?\}\}")


def parse_script(text: str) -> Iterator[Command]:
    """The commands of a script; raises ScriptError."""
    lines = [line.strip() for line in text.split("\n")]
    lines = ["" if line.startswith("#") else line for line in lines]
    at = 0
    ignoring = False
    while at < len(lines):
        line, number = lines[at], at + 1
        at += 1
        block = []
        if line:
            while at < len(lines) and lines[at] and line.lower() not in ("clear", "ignore", "resume"):
                block.append(lines[at])
                at += 1
        word = line.split(None, 1)[0].lower() if line else ""
        if word in ("ignore", "resume"):
            ignoring = word == "ignore"
        if not word or ignoring or word == "resume":
            continue
        try:
            if word == "clear":
                yield Clear(number)
            elif word.startswith("load"):
                yield _load(line, number, block)
            elif word.startswith("eval"):
                yield _maybe_eval(line, number, block)
            else:
                raise ScriptError(f"unknown command {word!r}")
        except (ValueError, QueryError) as error:
            raise ScriptError(f"line {number}: {error}") from None


def _load(line: str, number: int, block: list[str]) -> Load:
    found = _LOAD.match(line)
    if not found:
        raise ScriptError(f"not a load command: {line!r}")
    series: dict[Labels, list[Point]] = {}
    started: set[Labels] = set()
    all_start = False
    for one in block:
        start = _STARTS.match(one)
        if start and start[1]:
            started.add(series_line(f"{start[1]} _")[0])
        elif start:
            all_start = True
        else:
            labels, series[labels] = series_line(one)
            if all_start:
                started.add(labels)
    return Load(number, _duration(found[2]), series, bool(found[1]), frozenset(started))


def _maybe_eval(line: str, number: int, block: list[str]) -> Eval | Broken:
    try:
        return _eval(line, number, block)
    except (ValueError, QueryError) as error:
        return Broken(number, line, str(error))


def _eval(line: str, number: int, block: list[str]) -> Eval:
    if found := _EVAL_RANGE.match(line):
        legacy, expr = found[1], found[5]
        command = Eval(number, expr, _duration(found[2]), _duration(found[3]), _duration(found[4]))
    elif found := _EVAL.match(line):
        legacy, expr = found[1], found[3]
        at_ms = _duration(found[2] or "0")
        command = Eval(number, expr, at_ms, at_ms, 0)
    else:
        raise ScriptError(f"not an eval command: {line!r}")
    if legacy:
        command.notes.append(Expectation(cast(Note, legacy.lower())))
    for one in block:
        _expected(command, one)
    return command


def _expected(command: Eval, line: str) -> None:
    """Add what one line of an eval block expects."""
    if found := _EXPECT.match(line):
        note = cast(Note, found[1])
        wanted = (found[3] or "").strip()
        command.notes.append(
            Expectation(note, wanted if found[2] == "msg" else "", wanted if found[2] == "regex" else "")
        )
    elif found := _EXPECT_STRING.match(line):
        command.string = unquote(found[1].strip())
    elif found := _EXPECT_MATRIX.match(line):
        command.matrix = (_duration(found[1]), _duration(found[2]), _duration(found[3]))
    elif found := _LEGACY_FAIL.match(line):
        text = found[2].strip()
        exact = found[1] == "message"
        command.notes = [one for one in command.notes if one.note != "fail"]
        command.notes.append(Expectation("fail", text if exact else "", "" if exact else text))
    elif line.startswith("expect "):
        raise ScriptError(f"unknown expectation: {line!r}")
    elif not command.rows and command.scalar is None and (value := _maybe_number(line)) is not None:
        command.scalar = value
    else:
        command.rows.append(series_line(line))


def series_line(line: str) -> tuple[Labels, list[Point]]:
    """`name{a="b"} 1 2+3x4 _ stale` as labels and points."""
    found = _METRIC.match(line)
    if not found or not (found[1] or found[2]):
        raise ScriptError(f"not a series: {line!r}")
    return _labels(found[1] or "", found[2] or "{}"), list(_points(line[found.end() :]))


def _labels(name: str, braces: str) -> Labels:
    pairs = {}
    tokens = [token for token in [*lex(braces)][1:-2] if token.text != ","]
    while tokens:
        first = tokens.pop(0)
        key = unquote(first.text) if first.kind == "string" else first.text
        if tokens and tokens[0].text == "=":
            if tokens[1:] == [] or tokens[1].kind != "string":
                raise ScriptError(f"not labels: {braces}")
            pairs[key] = unquote(tokens[1].text)
            del tokens[:2]
        else:
            name = key
    return make_labels(name or pairs.pop(METRIC_NAME, ""), pairs)


def _points(text: str) -> Iterator[Point]:
    for word in _HISTOGRAM.sub("{{}}", text).split():
        if "{{}}" in word:
            yield from [NATIVE] * (int(word.rpartition("x")[2]) + 1 if "x" in word else 1)
        elif found := _GAP.match(word):
            yield from [None] * int(found[1] or 1)
        elif found := _STALE.match(word):
            yield from [STALE] * (int(found[1]) + 1 if found[1] else 1)
        elif found := _VALUE.match(word):
            value = _float(found[1])
            growth = _float(found[3]) * (-1 if found[2] == "-" else 1) if found[2] else 0.0
            times = int(found[4] or 0)
            if found[2] and not found[4]:
                raise ScriptError(f"not a value: {word!r}")
            for _ in range(times + 1):
                yield value
                value += growth
        else:
            raise ScriptError(f"not a value: {word!r}")


def _maybe_number(text: str) -> float | None:
    return _float(text) if re.fullmatch(rf"[-+]?{_NUMBER}", text, re.I) else None


def _float(text: str) -> float:
    return float(text.replace("_", ""))


def _duration(text: str) -> int:
    """A duration, or a number of seconds, perhaps negative, in ms."""
    sign = -1 if text.startswith("-") else 1
    text = text.lstrip("+-")
    if (seconds := _maybe_number(text)) is not None:
        return sign * round(seconds * 1000)
    if not re.fullmatch(r"(?:[0-9]+(?:ms|[smhdwy]))+", text):
        raise ScriptError(f"not a duration: {text!r}")
    return sign * duration_ms(text)
