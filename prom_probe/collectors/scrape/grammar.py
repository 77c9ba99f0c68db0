"""The grammar of the exposition formats, line by line, as Prometheus's own lexers have it."""

from __future__ import annotations

import re
from typing import NamedTuple

from prom_probe.model.family import MetricType

_QUOTED = r'"[^"\\]*(?:\\.[^"\\]*)*"'
_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_BLANKS = r"[ \t]*"
_LABEL = "[a-zA-Z_][a-zA-Z0-9_]*"
_DECIMAL_TEXT = r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_SPECIAL_TEXT = "(?:[-+]?[iI][nN][fF](?:[iI][nN][iI][tT][yY])?|[nN][aA][nN])"
_NUMBER_TEXT = f"(?:{_DECIMAL_TEXT}|{_SPECIAL_TEXT})"

# A label, or a name between the braces, which a comma or the closing brace follows.
_TERM = re.compile(
    rf"(?:({_LABEL})|({_QUOTED})){_BLANKS}={_BLANKS}({_QUOTED})|({_QUOTED})(?={_BLANKS}[,}}])|({_NAME})", re.DOTALL
)


def _series(space: str, comma: str) -> str:
    """A series: a name with or without braces, or with the name between them.

    `space` is what may stand between two parts; `comma` follows a term unless the closing brace does.
    """
    term = rf"(?:(?:{_LABEL}|{_QUOTED}){space}={space}{_QUOTED}|{_QUOTED}(?={space}[,}}]))"
    braces = rf"\{{{space}(?:{term}{space}{comma})*+\}}"
    return f"(?:{_NAME}(?:{space}{braces})?|{braces})"


class LineFormat(NamedTuple):
    """What the lines of a format look like."""

    sample: re.Pattern[str]  # groups: series, value, timestamp
    comment: re.Pattern[str]  # groups: HELP, TYPE or UNIT; name; text
    types: dict[str, MetricType]
    strict: bool  # no line of another kind; "# EOF" at the end
    help_escapes: str

    def match(self, line: str) -> tuple[str, str, str | None] | None:
        """The series, the value and the timestamp in a line; None where it is not a sample."""
        found = self.sample.fullmatch(line)
        return None if found is None else (found[1], found[2], found[3])

    def timestamp_ms(self, text: str) -> int:
        """A sample's own time. Raises ValueError where it is beyond what Prometheus can have."""
        try:
            t_ms = int(float(text) * 1000) if self.strict else int(text)
        except (OverflowError, ValueError):  # an infinity, or more digits than int() reads
            t_ms = _MAX_MS + 1
        if abs(t_ms) > _MAX_MS:
            raise ValueError(f"not a timestamp: {text[:100]!r}")
        return t_ms


_MAX_MS = (1 << 63) - 1

TEXT = LineFormat(
    re.compile(
        rf"({_series(_BLANKS, f'(?:,{_BLANKS})?')}){_BLANKS}(?<![a-zA-Z0-9_:])([^{{ \t]+)(?:[ \t]+([0-9]+))?{_BLANKS}"
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
    "\\n",
)
_COMMA = r"(?:,|(?=\}))"
OPENMETRICS = LineFormat(
    re.compile(
        rf"({_series('', _COMMA)}) ([^ ]+)(?: ({_DECIMAL_TEXT}))?"
        rf"(?: # \{{(?:(?:{_LABEL}|{_QUOTED})={_QUOTED}{_COMMA})*+\}} {_NUMBER_TEXT}(?: {_DECIMAL_TEXT})?)?"
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
    '\\n"',
)

# A line of the text format that looks like this and is no valid comment is an error.
BAD_COMMENT = re.compile(r"[ \t]*#[ \t]+(?:HELP|TYPE)[ \t].*")

_ESCAPED = re.compile(r"\\.")
_STRAY_BYTE = re.compile("[\udc80-\udcff]")

_DECIMAL = re.compile(_DECIMAL_TEXT)
_SPECIAL = re.compile(_SPECIAL_TEXT)
_INFINITIES = (float("inf"), float("-inf"))
_ESCAPES = {"n": "\n"}


def is_utf8(text: str) -> bool:
    """Whether text that was decoded with `surrogateescape` has no bytes that are not UTF-8."""
    return _STRAY_BYTE.search(text) is None


def join_broken(lines: list[str]) -> list[str]:
    """The text format's lines, where a label's value with line breaks is in one.

    As many as before: empty lines stand in place of those that have been joined to the one before.
    """
    found: list[str] = []
    parts: list[str] = []  # of a line that has ended within a value
    for line in lines:
        quotes = 0 if not parts and line.lstrip(" \t").startswith("#") else _count_quotes(line)
        if parts or quotes % 2:
            parts.append(line)
        else:
            found.append(line)
        if len(parts) > 1 and quotes % 2:
            found += ["\n".join(parts), *[""] * (len(parts) - 1)]
            parts = []
    return found + parts


def _count_quotes(line: str) -> int:
    return (_ESCAPED.sub("", line) if "\\" in line else line).count('"')


def parse_series(text: str) -> tuple[str, list[tuple[str, str]]]:
    """The name in a series' text, which has been matched, and its labels in their order.

    Raises ValueError where there is no name, or two.
    """
    name, brace, inner = text.partition("{")
    name = name.rstrip(" \t")
    labels = []
    for bare, quoted, value, other, _ in _TERM.findall(inner) if brace else ():
        if not other:
            labels.append((bare or unquoted(quoted), unquoted(value)))
        elif name:
            raise ValueError("two names")
        else:
            name = unquoted(other)
    if not name:
        raise ValueError("a series without a name")
    return name, labels


def parse_number(text: str) -> float | None:
    """What Prometheus reads in `text`, None where it reads nothing."""
    if _DECIMAL.fullmatch(text):
        number = float(text)
        return None if number in _INFINITIES else number
    return float(text) if _SPECIAL.fullmatch(text) else None


def unquoted(name: str) -> str:
    """A name as it is meant, whether or not it is quoted."""
    return unescaped(name[1:-1], '\\n"') if name.startswith('"') else name


def unescaped(text: str, escapes: str) -> str:
    """`text` without the backslashes before these characters, `n` after one being a new line."""
    if "\\" not in text:
        return text
    return re.sub(
        r"\\(.)", lambda found: found[0] if found[1] not in escapes else _ESCAPES.get(found[1], found[1]), text
    )
