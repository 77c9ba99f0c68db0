"""The matchers in a selector's braces, and the lists of label names after `by`, `on` and their like."""

from __future__ import annotations

from prom_probe.model.labels import METRIC_NAME
from prom_probe.model.matcher import Matcher, MatchOp
from prom_probe.model.regex import RegexError, compile_anchored
from prom_probe.promql.literals import is_utf8, quote
from prom_probe.promql.tokens import Tokens

_MATCH_OPS: dict[str, MatchOp] = {"=": "=", "!=": "!=", "=~": "=~", "!~": "!~"}
_MATCHING, _GROUPING = "label matching", "grouping opts"


def parse_matchers(tokens: Tokens) -> list[Matcher]:
    """What stands between braces, which are consumed too; a string alone is the metric's name."""
    tokens.expect("{")
    matchers: list[Matcher] = []
    while tokens.word != "}":
        if matchers:
            tokens.expect(",", _MATCHING, '"," or "}"')
            if tokens.word == "}":
                break
        matchers.append(_parse_matcher(tokens))
    tokens.advance()
    return matchers


def _parse_matcher(tokens: Tokens) -> Matcher:
    first = tokens.token
    if first.kind == "string":
        name = tokens.string()
        if tokens.word not in _MATCH_OPS:
            return Matcher(METRIC_NAME, "=", name)
    elif first.kind == "identifier":
        name = tokens.advance().text
        if tokens.word not in _MATCH_OPS:
            tokens.unexpected(_MATCHING, "label matching operator")
    else:
        tokens.unexpected(_MATCHING, 'identifier or "}"')
    op = _MATCH_OPS[tokens.advance().text]
    if tokens.token.kind != "string":
        tokens.unexpected(_MATCHING, "string")
    value = tokens.string()
    if op in ("=~", "!~"):
        try:
            compile_anchored(value)
        except RegexError as error:
            tokens.fail(first.start, str(error))
    return Matcher(name, op, value)


def parse_label_names(tokens: Tokens) -> tuple[str, ...]:
    """A list of labels in parentheses, which are consumed too."""
    tokens.expect("(", _GROUPING, '"("')
    names: list[str] = []
    while tokens.word != ")":
        if names:
            tokens.expect(",", _GROUPING, '"," or ")"')
            if tokens.word == ")":
                break
        kind, text, start = tokens.token
        if kind == "string":
            names.append(tokens.string())
            if not names[-1] or not is_utf8(names[-1]):
                tokens.fail(start, f"invalid label name for grouping: {quote(names[-1])}")
        elif kind == "identifier" and tokens.word != "without":
            names.append(text)
            tokens.advance()
        else:
            tokens.unexpected(_GROUPING, "label")
    tokens.advance()
    return tuple(names)


def matches_empty(matcher: Matcher) -> bool:
    """Whether series without the label match."""
    if matcher.op in ("=", "!="):
        return (matcher.value == "") == (matcher.op == "=")
    return compile_anchored(matcher.value).matches("") == (matcher.op == "=~")
