"""Which token may follow which in PromQL: finds the place of a syntax error, and the start of each operand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from prom_probe.promql.lexer import Token, parse_error
from prom_probe.promql.literals import quote


class Outline(NamedTuple):
    """`words`: the query with literals and matchers' labels replaced by the numbers of their tokens.

    Label matching operators are "=" in it, and signs after `offset` and `@` are omitted: the tokens beside the literal
    have them. `operands`: the tokens that start an operand (also a sign or a parenthesis), in order.
    """

    words: str
    operands: list[Token]


def _row(words: str, next_state: str) -> dict[str, str]:
    return dict.fromkeys(words.split(), next_state)


# State -> what may follow (a word, or a kind of token) -> the next state. An opening bracket has two next states: the
# one inside it and the one after its end. A closing bracket has "": the second state of the bracket that it closes.
_OPERAND = {
    **_row("number duration string", "value"),
    "identifier": "name",
    "(": "operand value",
    "{": "label value",
    **_row("+ -", "operand"),
}
_MATCHING = _row("on ignoring", "matching")
_VALUE = {
    **_row("+ - * / % ^ == != < <= > >= and or unless atan2", "right"),
    "[": "range value",
    "offset": "offset",
    "@": "at",
    ")": "",
    "$": "",
}
_LENGTH = _row("number duration", "value")
_MATCH = _row("= != =~ !~", "text")
_NEXT = {
    "operand": _OPERAND,
    "argument": {**_OPERAND, ")": ""},
    "right": {**_OPERAND, "bool": "compared", **_MATCHING},
    "compared": {**_OPERAND, **_MATCHING},
    "matched": {**_OPERAND, **_row("group_left group_right", "including")},
    "including": {**_OPERAND, "(": "list operand"},
    "value": _VALUE,
    "name": {**_VALUE, "(": "argument called", "{": "label value", **_row("by without", "grouping")},
    "called": {**_VALUE, **_row("by without", "regrouping")},
    "aggregated": _VALUE,
    "aggregation": {"(": "argument aggregated"},
    "grouping": {"(": "list aggregation"},
    "regrouping": {"(": "list value"},
    "matching": {"(": "list matched"},
    "list": {**_row("identifier string", "listed"), ")": ""},
    "listed": {",": "list", ")": ""},
    "label": {"identifier": "match", "string": "named", "}": ""},
    "match": _MATCH,
    "named": {**_MATCH, ",": "label", "}": ""},
    "text": {"string": "matcher"},
    "matcher": {",": "label", "}": ""},
    "range": _row("number duration", "ranged"),
    "ranged": {":": "step", "]": ""},
    "step": {**_row("number duration", "stepped"), "]": ""},
    "stepped": {"]": ""},
    "offset": {**_LENGTH, **_row("+ -", "length")},
    "at": {**_LENGTH, **_row("+ -", "length"), **_row("start end", "bound")},
    "length": _LENGTH,
    "bound": {"(": "bounded value"},
    "bounded": {")": ""},
}
_STARTS = {state for state, row in _NEXT.items() if row.items() >= {"number": "value", "{": "label value"}.items()}
_NOT_METRICS = frozenset({"bool", "on", "ignoring", "group_left", "group_right", "atan2"})
_EXPECTED = {
    "aggregation": 'aggregation, expected "("',
    **dict.fromkeys(("grouping", "regrouping", "matching"), 'grouping opts, expected "("'),
    "list": "grouping opts, expected label",
    "listed": 'grouping opts, expected "," or ")"',
    "label": 'label matching, expected identifier or "}"',
    **dict.fromkeys(("match", "named"), "label matching, expected label matching operator"),
    "text": "label matching, expected string",
    "matcher": 'label matching, expected "," or "}"',
    "range": "range, expected number or duration",
    "ranged": 'subquery or range, expected ":" or "]"',
    "step": 'subquery selector, expected number, duration or "]"',
    "stepped": 'subquery selector, expected "]"',
    "at": "@, expected timestamp",
    **dict.fromkeys(("offset", "length"), "offset, expected number or duration"),
}


def outline(text: str, tokens: Sequence[Token]) -> Outline:
    """The outline of `tokens`, whose brackets match, for a grammar and a reader of its tree.

    Raises QueryError (bad_data) at the first token that may not follow the one before it. What passes may still be
    invalid PromQL.
    """
    state = "operand"
    after_brackets: list[str] = []  # the states after the open brackets
    words: list[str] = []
    operands: list[Token] = []
    for number, token in enumerate(tokens):
        row = _NEXT[state]
        word = token.text.lower() if token.kind in ("op", "identifier") else "$" if token.kind == "end" else token.kind
        next_state = row.get(word, row.get(token.kind))
        if word == "," and row.get("@") and after_brackets and after_brackets[-1] in ("called", "aggregated"):
            next_state = "operand"
        if state in _STARTS and next_state == _OPERAND.get(word, _OPERAND.get(token.kind)):
            operands.append(token)
            if word in _NOT_METRICS:
                next_state = None
        if next_state is None:
            raise _unexpected(text, token, state)
        if token.kind in ("number", "duration"):
            words.append(str(number))
        elif token.kind == "string" or next_state == "match":
            words.append(f'"{number}"')
        elif row.get(word) == "text":
            words.append("=")
        elif next_state != "length":
            words.append(token.text)
        state, _, after = next_state.partition(" ")
        if after and word in "([{":
            after_brackets.append(after)
        elif not state and after_brackets:
            state = after_brackets.pop()
    return Outline(" ".join(words), operands)


def _unexpected(text: str, token: Token, state: str) -> Exception:
    what = "end of input"
    if token.kind != "end":
        what = token.text if token.kind == "string" else quote(token.text)
        what = what if token.kind == "op" else f"{token.kind} {what}"
    where = f" in {_EXPECTED[state]}" if state in _EXPECTED else ""
    return parse_error(text, token.start, f"unexpected {what}{where}")
