"""Bounds on a query's size, checked before it is parsed: recursion and time stay small whatever is sent."""

from __future__ import annotations

from collections.abc import Sequence

from prom_probe.promql.lexer import Token, parse_error
from prom_probe.promql.result import QueryError

MAX_BYTES = 16 * 1024
MAX_NESTING = 100
MAX_OPERATORS = 200

_OPERATOR_WORDS = frozenset({"and", "or", "unless", "atan2"})
_OPERATOR_SIGNS = frozenset({"+", "-", "*", "/", "%", "^", "==", "!=", "<", "<=", ">", ">="})


def check_length(text: str, max_bytes: int = MAX_BYTES) -> None:
    """Raises QueryError (bad_data) for a query longer than `max_bytes`."""
    size = len(text.encode(errors="surrogatepass"))
    if size > max_bytes:
        raise QueryError("bad_data", f"query of {size} bytes is longer than the {max_bytes} bytes allowed")


def check_shape(text: str, tokens: Sequence[Token]) -> None:
    """Raises QueryError (bad_data) at the place where `tokens` of `text` nest too deeply or chain too long."""
    depth = operators = 0
    braces = 0  # the signs between braces are matchers, not operators
    for token in tokens:
        if token.kind == "op":
            if token.text in "([{":
                depth += 1
                braces += token.text == "{"
                if depth > MAX_NESTING:
                    raise parse_error(text, token.start, f"expression nests deeper than {MAX_NESTING} levels")
            elif token.text in ")]}":
                depth -= 1
                braces -= token.text == "}"
            elif not braces and token.text in _OPERATOR_SIGNS:
                operators += 1
        elif token.kind == "identifier" and not braces and token.text.lower() in _OPERATOR_WORDS:
            operators += 1
        if operators > MAX_OPERATORS:
            raise parse_error(text, token.start, f"expression has more than {MAX_OPERATORS} operators")
