"""Series selectors in settings: `name{label="value"}`, read without the query language."""

from __future__ import annotations

import re
from collections.abc import Iterator

from prom_probe.model.labels import METRIC_NAME
from prom_probe.model.matcher import Matcher, MatchOp
from prom_probe.model.regex import RegexError, compile_anchored

_NAME = re.compile(r"\s*([a-zA-Z_:][a-zA-Z0-9_:]*)?\s*")
_MATCHER = re.compile(
    r"\s*(?P<name>[a-zA-Z_][a-zA-Z0-9_]*)\s*(?P<op>=~|!~|!=|=)\s*"
    r"""(?P<value>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`[^`]*`)\s*(?P<end>,\s*\}?|\})\s*"""
)
_OPS: dict[str, MatchOp] = {"=": "=", "!=": "!=", "=~": "=~", "!~": "!~"}
_ESCAPED = re.compile(r"""\\([abfnrtv\\"'])""")
_CHARACTERS = dict(zip("abfnrtv", "\a\b\f\n\r\t\v", strict=True))


def parse_selector(text: str) -> tuple[Matcher, ...]:
    """The matchers of a selector. Raises ValueError for anything else, and where it would match everything."""
    name = _NAME.match(text)
    assert name is not None  # it matches the empty text
    at = name.end()
    found = [Matcher(METRIC_NAME, "=", name[1])] if name[1] else []
    if at < len(text):
        if text[at] != "{":
            raise ValueError(f'not a selector such as name{{label="value"}}: {text!r}')
        found += _matchers(text, at + 1)
    if not any(matcher.value and matcher.op in ("=", "=~") for matcher in found):
        raise ValueError(f"a selector needs a matcher that does not match everything: {text!r}")
    return tuple(found)


def _matchers(text: str, at: int) -> Iterator[Matcher]:
    """Those between the braces; the closing one is the last character."""
    if text[at:].strip() == "}":
        return
    while True:
        found = _MATCHER.match(text, at)
        if found is None:
            raise ValueError(f"not a label matcher at {text[at:]!r} in the selector {text!r}")
        matcher = Matcher(found["name"], _OPS[found["op"]], _unquoted(found["value"]))
        if matcher.op in ("=~", "!~"):
            try:
                compile_anchored(matcher.value)
            except RegexError as error:
                raise ValueError(f"{error} in the selector {text!r}") from None
        yield matcher
        at = found.end()
        if found["end"].endswith("}"):
            break
    if at < len(text):
        raise ValueError(f"unexpected {text[at:]!r} after the selector {text[:at]!r}")


def _unquoted(text: str) -> str:
    if text[0] == "`":
        return text[1:-1]
    return _ESCAPED.sub(lambda found: _CHARACTERS.get(found[1], found[1]), text[1:-1])
