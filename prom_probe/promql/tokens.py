"""The tokens of one query as a parser consumes them, its errors, and the bounds on its size."""

from __future__ import annotations

from typing import NoReturn

from prom_probe.promql.lexer import Token, lex, parse_error
from prom_probe.promql.literals import duration_ms, number, quote, unquote
from prom_probe.promql.result import QueryError

MAX_BYTES = 16 * 1024
MAX_NESTING = 100  # of parentheses, calls, ranges and subqueries
MAX_OPERATORS = 200  # of a whole query, signs included
MAX_FRAMES = 700  # of Python's stack, which has a thousand

AGGREGATIONS = frozenset(("sum", "avg", "count", "min", "max", "group", "stddev", "stdvar")) | {
    *("topk", "bottomk", "quantile", "count_values", "limitk", "limit_ratio")
}
KEYWORDS = frozenset(("offset", "by", "without", "on", "ignoring", "group_left", "group_right", "bool")) | {
    *("and", "or", "unless", "atan2", "anchored", "smoothed")
}
_WORD_OPERATORS = frozenset(("and", "or", "unless", "atan2"))
_BRACKETS_AND_COMMAS = frozenset("()[]{},:=")
_LONGEST_SHOWN = 10  # characters of a string in an error


class Tokens:
    """`token` is the next one; `word` is its text, in lower case, if it is an identifier or a sign, else ""."""

    __slots__ = ("_lexer", "_nesting", "_operators", "frames", "open_aggregations", "text", "token", "word")

    def __init__(self, text: str) -> None:
        """Raises QueryError (bad_data) for a query that is too long."""
        size = len(text.encode(errors="surrogatepass"))
        if size > MAX_BYTES:
            raise QueryError("bad_data", f"query of {size} bytes is longer than the {MAX_BYTES} bytes allowed")
        self.text = text
        self.open_aggregations = 0
        self._lexer = lex(text)
        self._nesting = self._operators = self.frames = 0
        self._take()

    def _take(self) -> None:
        self.token = token = next(self._lexer)
        kind, text, _ = token
        self.word = text if kind == "op" else text.lower() if kind == "identifier" else ""

    def advance(self) -> Token:
        """Consumes the next token, which is neither the end nor an error, and returns it."""
        token = self.token
        self._take()
        return token

    def accept(self, word: str) -> bool:
        """Whether the next token is `word`; then it is consumed."""
        if self.word != word:
            return False
        self._take()
        return True

    def expect(self, word: str, context: str = "", expected: str = "") -> Token:
        """Consumes `word`; raises QueryError where something else comes."""
        if self.word != word:
            self.unexpected(context, expected)
        return self.advance()

    # -- bounds

    def nest(self) -> None:
        """Counts a bracket that opens; each is to be followed by `leave`."""
        self._nesting += 1
        if self._nesting > MAX_NESTING:
            self.fail(self.token.start, f"expression nests deeper than {MAX_NESTING} levels")

    def leave(self) -> None:
        self._nesting -= 1

    def descend(self, frames: int) -> None:
        """Counts calls from one expression to one inside it; they are to be taken off at its end."""
        self.frames += frames
        if self.frames > MAX_FRAMES:
            self.fail(self.token.start, "expression nests too deeply")

    def count_operator(self) -> None:
        self._operators += 1
        if self._operators > MAX_OPERATORS:
            self.fail(self.token.start, f"expression has more than {MAX_OPERATORS} operators")

    # -- errors

    def fail(self, start: int, message: str) -> NoReturn:
        raise parse_error(self.text, start, message)

    def unexpected(self, context: str = "", expected: str = "") -> NoReturn:
        """Raises the error about the next token that Prometheus gives for a place in its grammar."""
        token = self.token
        if token.kind == "error":
            self.fail(token.start, token.text)
        context = context or ("aggregation" if self.open_aggregations else "")
        found = _described(token, in_braces=context == "label matching")
        where = f" in {context}" if context else ""
        self.fail(token.start, f"unexpected {found}{where}" + (f", expected {expected}" if expected else ""))

    # -- values of tokens

    def seconds(self) -> float:
        """Consumes a number, or a duration, which is a number of seconds."""
        kind, text, start = self.advance()
        try:
            return duration_ms(text) / 1000 if kind == "duration" else number(text)
        except ValueError as error:
            self.fail(start, str(error))

    def string(self) -> str:
        """Consumes a string and returns its value."""
        _, text, start = self.advance()
        try:
            return unquote(text)
        except ValueError as error:
            self.fail(start, str(error))


def _described(token: Token, *, in_braces: bool) -> str:
    """A token in an error, as Prometheus describes it: in braces there are no keywords."""
    kind, text, _ = token
    word = text.lower()
    if kind == "end":
        return "end of input"
    if kind == "op":
        return quote(text) if text in _BRACKETS_AND_COMMAS else f"<op:{text}>"
    if kind == "identifier" and in_braces:
        return f"identifier {quote(text)}"
    if kind == "identifier":
        if word in _WORD_OPERATORS:
            return f"<op:{text}>"
        if word in KEYWORDS:
            return f"<{text}>"
        if word in AGGREGATIONS:
            return f"<aggr:{text}>"
        return f"{'metric ' if ':' in text else ''}identifier {quote(text)}"
    shown = quote(text) if len(text) <= _LONGEST_SHOWN else quote(text[:_LONGEST_SHOWN]) + "..."
    return f"{kind} {shown}"
