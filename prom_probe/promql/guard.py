"""Bounds on a query's size, checked before it is parsed: without them the parser's recursion can kill the process."""

from __future__ import annotations

from collections.abc import Sequence

from prom_probe.promql.lexer import Token, parse_error
from prom_probe.promql.result import QueryError

MAX_BYTES = 16 * 1024
MAX_NESTING = 100
MAX_OPERATORS = 200

OPERATORS = frozenset("+-*/%^<>") | {"==", "!=", "<=", ">=", "and", "or", "unless", "atan2"}


def check_length(text: str) -> None:
    """Raises QueryError (bad_data) for a query that is too long."""
    size = len(text.encode(errors="surrogatepass"))
    if size > MAX_BYTES:
        raise QueryError("bad_data", f"query of {size} bytes is longer than the {MAX_BYTES} bytes allowed")


def check_shape(text: str, tokens: Sequence[Token]) -> int:
    """The greatest depth that the tree of `tokens` may have; raises QueryError (bad_data) where that is too deep."""
    depth = deepest = operators = ranges = 0
    braces = False  # between braces, operators are matchers'
    for token in tokens:
        word = token.text.lower() if token.kind in ("op", "identifier") else ""
        if word and word in "([{":
            depth += 1
            deepest = max(deepest, depth)
            ranges += word == "["  # subqueries nest to the left, not inside each other's brackets
            braces = word == "{"
        elif word and word in ")]}":
            depth -= 1
            braces = False
        elif not braces:
            operators += word in OPERATORS
        if depth > MAX_NESTING:
            raise parse_error(text, token.start, f"expression nests deeper than {MAX_NESTING} levels")
        if operators > MAX_OPERATORS or ranges > MAX_OPERATORS + 1:
            raise parse_error(text, token.start, f"expression has more than {MAX_OPERATORS} operators")
    return deepest + operators + ranges
