"""A query's text -> nodes, by promql-parser's grammar."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, Literal, NoReturn

import promql_parser

from prom_probe.model.labels import METRIC_NAME
from prom_probe.model.matcher import Matcher, MatchOp
from prom_probe.model.regex import RegexError, compile_anchored
from prom_probe.promql.ast import (
    COMPARISONS,
    Aggregate,
    At,
    Binary,
    Call,
    Matching,
    Matrix,
    Negate,
    Node,
    Number,
    Selector,
    String,
    Subquery,
    Type,
)
from prom_probe.promql.functions import FUNCTIONS, VARYING
from prom_probe.promql.guard import OPERATORS, check_length, check_shape
from prom_probe.promql.lexer import Token, lex, parse_error
from prom_probe.promql.literals import duration_ms, number, quote, unquote
from prom_probe.promql.result import QueryError
from prom_probe.promql.syntax_check import outline

_MATCH_OPS: dict[str, MatchOp] = {"=": "=", "!=": "!=", "=~": "=~", "!~": "!~"}
GROUPS: dict[str, Literal["", "left", "right"]] = {
    "VectorMatchCardinality.OneToOne": "",
    "VectorMatchCardinality.ManyToOne": "left",
    "VectorMatchCardinality.OneToMany": "right",
    "VectorMatchCardinality.ManyToMany": "",
}
_BOUNDS: dict[str, At] = {"AtModifierType.Start": "start", "AtModifierType.End": "end"}
_SHALLOW = 32  # trees of at most this depth need no stack of their own
_STACK_BYTES = 2 << 20  # trees within the guard's bounds need less than 512 KiB
_stack_lock = threading.Lock()


@lru_cache(maxsize=256)
def parse(text: str) -> Node:
    """The expression in `text`; raises QueryError (bad_data), with the place where it is known.

    Results are cached and shared: never change one. May be called from several threads at once.
    """
    node: Node = read(text, Reader)
    return node


def read(text: str, reader: type[Reader]) -> Any:
    """What `reader` makes of the expression; raises QueryError as `parse` does."""
    check_length(text)
    tokens = lex(text)
    depth = check_shape(text, tokens)
    if len(tokens) == 1:
        raise parse_error(text, 0, "no expression found in input")
    if depth <= _SHALLOW:
        return _read(text, tokens, reader)
    with _stack_lock, ThreadPoolExecutor(1) as pool:
        before = threading.stack_size(_STACK_BYTES)
        try:
            found = pool.submit(_read, text, tokens, reader)
        finally:
            threading.stack_size(before)
        return found.result()


def parse_selector(text: str) -> list[Matcher]:
    """The matchers of a selector such as `up{job="x"}`; raises QueryError (bad_data)."""
    node = parse(text)
    tokens = lex(text)
    alone = len(tokens) == 2 or (tokens[0].text != "+" and tokens[-2].text == "}")
    if not isinstance(node, Selector) or not alone:
        raise parse_error(text, 0, 'expected nothing but a selector, such as up{job="x"}')
    return list(node.matchers)


def _read(text: str, tokens: Sequence[Token], reader: type[Reader]) -> Any:
    words, operands = outline(text, tokens)
    try:
        tree = promql_parser.parse(words)
    except ValueError as error:
        raise _rejection(text, tokens, str(error)) from None
    return reader(text, tokens, operands).node(tree)


_AGGREGATIONS = frozenset(("sum", "avg", "count", "min", "max", "group", "stddev", "stdvar")) | {
    *("quantile", "topk", "bottomk", "limitk", "limit_ratio", "count_values")
}
# A part of promql-parser's error text -> the words it may be about. Other errors quote the word.
_ABOUT: dict[str, frozenset[str]] = {
    "ON and GROUP": frozenset(("group_left", "group_right")),
    "in aggregation": _AGGREGATIONS,
    "aggregate expression provided": _AGGREGATIONS,
    "before range": frozenset("["),
    "ranges only": frozenset("["),
    "offset m": frozenset(("offset",)),
    "@ ": frozenset("@"),
    "subquery is": frozenset("["),
    "bool modifier": frozenset(("bool",)),
    "vector matching only": frozenset(("on", "ignoring")),
    "vector selector must": frozenset("{"),
    "unary": frozenset("+-"),
    "comparisons": COMPARISONS,
    "binary expression must": OPERATORS,
}
_TYPES = {"vector": Type.VECTOR, "matrix": Type.MATRIX, "string": Type.STRING}
_TYPE = re.compile(rf"\b(type|or|on|an|between|got):? ({'|'.join(_TYPES)})")
_QUOTED = re.compile("'([^']*)'")


def _rejection(text: str, tokens: Sequence[Token], message: str) -> QueryError:
    """promql-parser's error in Prometheus's words, with the place if only one word of the query can be meant."""
    about = next((words for part, words in _ABOUT.items() if part in message), _QUOTED.findall(message)[:1])
    places = [token.start for token in tokens if token.kind != "string" and token.text.lower() in about]
    message = _TYPE.sub(lambda found: f"{found[1]} {_TYPES[found[2]]}", message)
    message = _QUOTED.sub(lambda found: quote(tokens[int(found[1])].text if found[1].isdigit() else found[1]), message)
    if len(places) == 1:
        return parse_error(text, places[0], message)
    return QueryError("bad_data", f"parse error: {message}")


class Reader:
    """Reads promql-parser's tree, whose leaves are in the order of the text's operands.

    In the tree, each literal is replaced by the number of its token (see `Outline`). Not all signs are in the tree:
    promql-parser drops each "+", and merges a number with the signs before it.
    """

    def __init__(self, text: str, tokens: Sequence[Token], operands: Sequence[Token]) -> None:
        self.text = text
        self.tokens = tokens
        self.operands = operands
        self.at = 0  # the next operand

    def fail(self, start: int, message: str) -> NoReturn:
        raise parse_error(self.text, start, message)

    def node(self, expr: Any) -> Node:
        first = self.operands[self.at]
        node: Node = getattr(self, METHODS[type(expr).__name__])(expr, first.start)
        if first.text == "+" and node.type in (Type.STRING, Type.MATRIX):
            kinds = "expressions of type scalar or instant vector"
            self.fail(first.start, f"unary expression only allowed on {kinds}, got {node.type}")
        return node

    def next(self, signs: str = "+-") -> Token:
        """The operand's own token, after the signs before it: they are in no node (+) or in the number (-)."""
        while self.operands[self.at].text in signs:
            self.at += 1
        self.at += 1
        return self.operands[self.at - 1]

    # -- one method for each kind of node; `start` is the node's offset, signs included

    def number(self, expr: Any, start: int) -> Number:
        self.next()
        value = self.seconds(self.tokens[abs(int(expr.val))])
        return Number(-value if math.copysign(1, expr.val) < 0 else value, start)

    def string(self, expr: Any, start: int) -> String:
        self.next()
        return String(self.word(expr.val), start)

    def paren(self, expr: Any, start: int) -> Node:
        self.next()
        return self.node(expr.expr)

    def unary(self, expr: Any, start: int) -> Negate:
        self.next(signs="+")
        return Negate(self.node(expr.expr), start)

    def selector(self, expr: Any, start: int) -> Selector:
        self.next()
        matchers = [self.matcher(matcher) for matcher in expr.matchers.matchers]
        if expr.name:
            for matcher in matchers:
                if matcher.name == METRIC_NAME:
                    self.fail(start, f"metric name must not be set twice: {quote(expr.name)} or {quote(matcher.value)}")
            matchers.append(Matcher(METRIC_NAME, "=", expr.name))
        elif all(_matches_empty(matcher) for matcher in matchers):
            self.fail(start, "vector selector must contain at least one non-empty matcher")
        return Selector(tuple(matchers), start, *self.modifiers(expr))

    def matrix(self, expr: Any, start: int) -> Matrix:
        selector = self.selector(expr.vector_selector, start)
        return Matrix(selector, self.length(expr.range))

    def subquery(self, expr: Any, start: int) -> Subquery:
        step_ms = self.length(expr.step) if expr.step is not None else 0
        return Subquery(self.node(expr.expr), self.length(expr.range), step_ms, start, *self.modifiers(expr))

    def call(self, expr: Any, start: int) -> Call:
        name = self.next()
        function = FUNCTIONS.get(name.text)
        if function is None:
            self.fail(name.start, f"unknown function with name {quote(name.text)}")
        args = tuple(self.node(argument) for argument in expr.args)
        invariant = name.text not in VARYING and all(node.invariant for node in args)
        return Call(name.text, args, start, function.returns, invariant)

    def aggregate(self, expr: Any, start: int) -> Aggregate:
        self.next()
        param = self.node(expr.param) if expr.param is not None else None
        by = expr.modifier
        labels = tuple(sorted(self.words(by.labels))) if by else ()
        op = str(expr.op)
        if param is not None and param.type != (Type.STRING if op == "count_values" else Type.SCALAR):
            self.fail(param.start, f"expected type scalar in aggregation parameter, got {param.type}")
        without = by is not None and by.type == promql_parser.AggModifierType.Without
        return Aggregate(op, self.node(expr.expr), param, labels, without, start)

    def binary(self, expr: Any, start: int) -> Binary:
        lhs = self.node(expr.lhs)
        how = expr.modifier
        if how is None:
            return Binary(str(expr.op), lhs, self.node(expr.rhs), start)
        on = how.matching is not None and how.matching.type == promql_parser.LabelModifierType.Include
        labels = self.words(how.matching.labels) if how.matching else ()
        matching = Matching(on, labels, GROUPS[str(how.card)], self.words(how.group_labels or ()))
        return Binary(str(expr.op), lhs, self.node(expr.rhs), start, how.return_bool, matching)

    # -- their parts

    def matcher(self, matcher: Any) -> Matcher:
        at = int(matcher.value)
        op = _MATCH_OPS.get(self.tokens[at - 1].text, "=")  # a name alone, {"up"}, has none
        found = Matcher(self.word(matcher.name), op, self.word(matcher.value))
        if op in ("=~", "!~"):
            try:
                compile_anchored(found.value)
            except RegexError as error:
                self.fail(self.tokens[at - 2].start, str(error))
        return found

    def words(self, labels: Sequence[str]) -> tuple[str, ...]:
        return tuple(self.word(label) for label in labels)

    def word(self, word: str) -> str:
        """A label or string: `word` itself, or the text of the token whose number it is."""
        if not word.isdigit():
            return word
        token = self.tokens[int(word)]
        if token.kind == "identifier":
            return token.text
        try:
            return unquote(token.text)
        except ValueError as error:
            self.fail(token.start, str(error))

    def seconds(self, token: Token) -> float:
        """The value of a number, or of a duration in seconds."""
        try:
            return duration_ms(token.text) / 1000 if token.kind == "duration" else number(token.text)
        except ValueError as error:
            self.fail(token.start, str(error))

    def length(self, delta: Any) -> int:
        """A range or step in ms."""
        token = self.tokens[int(delta.total_seconds())]
        seconds = self.seconds(token)
        if not 0 < seconds < 1 << 50:
            self.fail(token.start, "duration must be greater than 0" if seconds <= 0 else "duration out of range")
        return round(seconds * 1000)

    def modifiers(self, expr: Any) -> tuple[int, At]:
        """The offset and the @ of a selector or subquery, in ms."""
        offset_ms, at = 0, None
        if expr.offset is not None:
            offset_ms = round(self.signed(expr.offset.total_seconds(), 1 << 50, "duration out of range") * 1000)
        if expr.at is not None:
            if expr.at.at is None:
                return offset_ms, _BOUNDS[str(expr.at.type)]
            seconds = self.signed(expr.at.at.timestamp(), 1 << 53, "timestamp out of bounds for @ modifier")
            at = math.floor(seconds * 1000 + 0.5)
        return offset_ms, at

    def signed(self, at: float, bound: int, message: str) -> float:
        """A number of seconds, possibly negative, whose magnitude must be below `bound`."""
        token = self.tokens[int(at)]
        seconds = self.seconds(token)
        if not abs(seconds) < bound:
            self.fail(token.start, f"{message}: {token.text}")
        return -seconds if self.tokens[int(at) - 1].text == "-" else seconds


# The type of a node in promql-parser's tree -> the reader's method.
METHODS = {
    "NumberLiteral": "number",
    "StringLiteral": "string",
    "ParenExpr": "paren",
    "UnaryExpr": "unary",
    "VectorSelector": "selector",
    "MatrixSelector": "matrix",
    "SubqueryExpr": "subquery",
    "Call": "call",
    "AggregateExpr": "aggregate",
    "BinaryExpr": "binary",
}


def _matches_empty(matcher: Matcher) -> bool:
    if matcher.op in ("=", "!="):
        return (matcher.value == "") == (matcher.op == "=")
    return compile_anchored(matcher.value).matches("") == (matcher.op == "=~")


def selectors(node: Node) -> Sequence[Selector]:
    """The selectors of an expression, in the order of the text."""
    match node:
        case Selector():
            return [node]
        case Matrix():
            return [node.selector]
        case Subquery() | Negate():
            return selectors(node.expr)
        case Call():
            return [found for argument in node.args for found in selectors(argument)]
        case Aggregate():
            return [*(selectors(node.param) if node.param else ()), *selectors(node.expr)]
        case Binary():
            return [*selectors(node.lhs), *selectors(node.rhs)]
        case _:
            return []
