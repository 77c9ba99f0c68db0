"""PromQL's grammar and type rules: a query's text -> nodes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Literal, NoReturn, cast

from prom_probe.model.labels import METRIC_NAME
from prom_probe.model.matcher import Matcher, MatchOp
from prom_probe.model.regex import RegexError, compile_anchored
from prom_probe.promql.ast import (
    AGGREGATIONS,
    COMPARISONS,
    PARAMETERS,
    SET_OPERATORS,
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
from prom_probe.promql.guard import MAX_BYTES, check_length, check_shape
from prom_probe.promql.lexer import Token, duration_ms, lex, parse_error, quote, unquote

# Operators by how tightly they bind; a sign before an operand binds as `*` does.
_PRECEDENCE = {
    "or": 1,
    "and": 2,
    "unless": 2,
    **dict.fromkeys(COMPARISONS, 3),
    "+": 4,
    "-": 4,
    "*": 5,
    "/": 5,
    "%": 5,
    "atan2": 5,
    "^": 6,
}
_POWER = 6
_NOT_METRICS = frozenset({"bool", "on", "ignoring", "group_left", "group_right", "atan2"})
_DOCUMENTED = {"identifier": "identifier", "number": "number", "duration": "duration", "string": "string"}


@lru_cache(maxsize=256)
def parse(text: str, max_bytes: int = MAX_BYTES) -> Node:
    """The expression that `text` is; raises QueryError (bad_data) with the place. Results are shared: never change one.

    May be called from several threads at once.
    """
    parser = _Parser(text, max_bytes)
    if len(parser.tokens) == 1:
        parser.fail(0, "no expression found in input")
    node, _ = parser.expression(0)
    if parser.peek.kind != "end":
        parser.unexpected("")
    return node


def parse_selector(text: str) -> list[Matcher]:
    """The matchers of a selector such as `up{job="x"}`, as `match[]` has it; raises QueryError (bad_data)."""
    parser = _Parser(text, MAX_BYTES)
    selector = parser.selector()
    if parser.peek.kind != "end":
        parser.unexpected("")
    return list(selector.matchers)


class _Parser:
    """Precedence climbing over the tokens of one query."""

    def __init__(self, text: str, max_bytes: int) -> None:
        check_length(text, max_bytes)
        self.text = text
        self.tokens = lex(text)
        check_shape(text, self.tokens)
        self.at = 0

    # -- words

    @property
    def peek(self) -> Token:
        return self.tokens[self.at]

    def next(self) -> Token:
        token = self.tokens[self.at]
        self.at += token.kind != "end"
        return token

    def accept(self, text: str) -> bool:
        """Whether the next token is the sign or keyword `text`, which is then consumed."""
        token = self.peek
        if token.kind in ("op", "identifier") and token.text.lower() == text:
            self.at += 1
            return True
        return False

    def expect(self, text: str, context: str, expected: str) -> Token:
        token = self.peek
        if not self.accept(text):
            self.unexpected(context, expected)
        return token

    def fail(self, where: Token | Node | int, message: str) -> NoReturn:
        raise parse_error(self.text, where if isinstance(where, int) else where.start, message)

    def unexpected(self, context: str, expected: str = "") -> NoReturn:
        token = self.peek
        what = "end of input" if token.kind == "end" else quote(token.text)
        if token.kind in _DOCUMENTED:
            what = f"{_DOCUMENTED[token.kind]} {token.text if token.kind == 'string' else what}"
        message = f"unexpected {what}"
        if context:
            message += f" in {context}"
        self.fail(token, message + (f", expected {expected}" if expected else ""))

    # -- expressions

    def expression(self, least: int) -> tuple[Node, int]:
        """An expression of operators that bind at least as tightly as `least`, and where it starts.

        The start differs from the node's where parentheses stand before it.
        """
        lhs, start = self.signed()
        while True:
            operator = self.peek
            word = operator.text.lower()
            level = _PRECEDENCE.get(word, -1) if operator.kind in ("op", "identifier") else -1
            if level < 0 or level < least:
                return lhs, start
            self.next()
            returns_bool = self.accept("bool")
            matching = self.matching()
            rhs, rhs_start = self.expression(level if word == "^" else level + 1)
            lhs = self.binary(Binary(word, lhs, rhs, start, returns_bool, matching), operator, rhs_start)

    def signed(self) -> tuple[Node, int]:
        """An operand with the signs before it."""
        signs = []
        while self.peek.kind == "op" and self.peek.text in "+-":
            signs.append(self.next())
        if not signs:
            return self.operand()
        node, _ = self.expression(_POWER)
        if node.type not in (Type.SCALAR, Type.VECTOR):
            self.fail(
                signs[-1],
                "unary expression only allowed on expressions of type scalar or instant vector,"
                f" got {quote(node.type)}",
            )
        for sign in reversed(signs):
            if isinstance(node, Number):
                node = Number(-node.value if sign.text == "-" else node.value, sign.start)
            elif sign.text == "-":
                node = Negate(node, sign.start)
        return node, signs[0].start

    def matching(self) -> Matching:
        on = self.accept("on")
        if not on and not self.accept("ignoring"):
            return Matching()
        labels = self.label_list("grouping opts")
        group: Literal["", "left", "right"] = ""
        if self.accept("group_left"):
            group = "left"
        elif self.accept("group_right"):
            group = "right"
        include: tuple[str, ...] = ()
        if group and self.peek.text == "(" and self.peek.kind == "op":
            include = self.label_list("grouping opts")
        return Matching(on, labels, group, include)

    def binary(self, node: Binary, operator: Token, rhs_start: int) -> Binary:
        """`node`, its types checked."""
        left, right, matching = node.lhs.type, node.rhs.type, node.matching
        for side, start in ((left, node.start), (right, rhs_start)):
            if side not in (Type.SCALAR, Type.VECTOR):
                self.fail(start, "binary expression must contain only scalar and instant vector types")
        if node.returns_bool and node.op not in COMPARISONS:
            self.fail(operator, "bool modifier can only be used on comparison operators")
        if node.op in COMPARISONS and not node.returns_bool and left == right == Type.SCALAR:
            self.fail(operator, "comparisons between scalars must use BOOL modifier")
        if node.op in SET_OPERATORS:
            if Type.SCALAR in (left, right):
                self.fail(node, f"set operator {quote(node.op)} not allowed in binary scalar expression")
            if matching.group:
                self.fail(node, f"no grouping allowed for {quote(node.op)} operation")
        if Type.SCALAR in (left, right) and matching.labels:
            self.fail(node, "vector matching only allowed between instant vectors")
        if matching.on:
            for label in matching.labels:
                if label in matching.include:
                    self.fail(operator, f"label {quote(label)} must not occur in ON and GROUP clause at once")
        return node

    def operand(self) -> tuple[Node, int]:
        """A primary expression with its ranges, offsets and @ modifiers."""
        start = self.peek.start
        wrapped = self.accept("(")
        if wrapped:
            node, _ = self.expression(0)
            self.expect(")", "", "")
        else:
            node = self.primary()
        has_offset = has_at = False
        while True:
            modifier = self.peek
            if self.accept("["):
                node = self.ranged(node, wrapped, has_offset, has_at, modifier)
                wrapped = has_offset = has_at = False
            elif self.accept("offset"):
                offset_ms = self.offset()
                if wrapped or not isinstance(node, Selector | Matrix | Subquery):
                    self.fail(
                        start,
                        "offset modifier must be preceded by an instant vector selector"
                        " or range vector selector or a subquery",
                    )
                if has_offset:
                    self.fail(start, "offset may not be set multiple times")
                has_offset = offset_ms != 0
                node = _modified(node, offset_ms=offset_ms)
            elif self.accept("@"):
                at = self.timestamp(start)
                if wrapped or not isinstance(node, Selector | Matrix | Subquery):
                    self.fail(
                        start,
                        "@ modifier must be preceded by an instant vector selector"
                        " or range vector selector or a subquery",
                    )
                if has_at:
                    self.fail(start, "@ <timestamp> may not be set multiple times")
                has_at = True
                node = _modified(node, at=at)
            else:
                return node, start

    def primary(self) -> Node:
        token = self.peek
        if token.kind in ("number", "duration"):
            self.next()
            return Number(self.seconds(token), token.start)
        if token.kind == "string":
            self.next()
            return String(self.unquoted(token), token.start)
        if token.kind == "identifier":
            following = self.tokens[self.at + 1].text.lower()
            if token.text.lower() in AGGREGATIONS | PARAMETERS.keys() and following in ("(", "by", "without"):
                return self.aggregate()
            if following == "(":
                return self.call()
        if token.text == "{" or (token.kind == "identifier" and token.text.lower() not in _NOT_METRICS):
            return self.selector()
        return self.unexpected("")

    def arguments(self, context: str) -> list[tuple[Node, int]]:
        self.expect("(", context, '"("')
        found: list[tuple[Node, int]] = []
        while not self.accept(")"):
            if found:
                comma = self.expect(",", context, '"," or ")"')
                if self.accept(")"):
                    self.fail(comma, "trailing commas not allowed in function call args")
            found.append(self.expression(0))
        return found

    def aggregate(self) -> Aggregate:
        name = self.next()
        op = name.text.lower()
        clause = self.grouping()
        arguments = self.arguments("aggregation")
        grouping, without = clause or self.grouping() or ((), False)
        if not arguments:
            self.fail(name, "no arguments for aggregate expression provided")
        wanted = 2 if op in PARAMETERS else 1
        if len(arguments) != wanted:
            self.fail(
                name,
                f"wrong number of arguments for aggregate expression provided, expected {wanted}, got {len(arguments)}",
            )
        expr, expr_start = arguments[-1]
        self.typed(expr, expr_start, Type.VECTOR, "aggregation expression")
        param = None
        if op in PARAMETERS:
            param, param_start = arguments[0]
            self.typed(param, param_start, PARAMETERS[op], "aggregation parameter")
        return Aggregate(op, expr, param, tuple(sorted(grouping)), without, name.start)

    def grouping(self) -> tuple[tuple[str, ...], bool] | None:
        if self.accept("by"):
            return self.label_list("grouping opts"), False
        if self.accept("without"):
            return self.label_list("grouping opts"), True
        return None

    def call(self) -> Call:
        name = self.next()
        function = FUNCTIONS.get(name.text)
        if function is None:
            self.fail(name, f"unknown function with name {quote(name.text)}")
        arguments = self.arguments("function call")
        label = quote(name.text)
        least = len(function.args) - (function.optional != 0)
        if function.optional == 0 and len(arguments) != least:
            self.fail(name, f"expected {least} argument(s) in call to {label}, got {len(arguments)}")
        if len(arguments) < least:
            self.fail(name, f"expected at least {least} argument(s) in call to {label}, got {len(arguments)}")
        if 0 < function.optional < len(arguments) - least:
            most = least + function.optional
            self.fail(name, f"expected at most {most} argument(s) in call to {label}, got {len(arguments)}")
        for i, (argument, start) in enumerate(arguments):
            wanted = function.args[min(i, len(function.args) - 1)]
            self.typed(argument, start, wanted, f"call to function {label}")
        nodes = tuple(argument for argument, _ in arguments)
        invariant = name.text not in VARYING and all(node.invariant for node in nodes)
        return Call(name.text, nodes, name.start, function.returns, invariant)

    def typed(self, node: Node, start: int, wanted: Type, context: str) -> None:
        if node.type != wanted:
            self.fail(start, f"expected type {wanted} in {context}, got {node.type}")

    # -- selectors

    def selector(self) -> Selector:
        """`name`, `name{...}` or `{...}` without modifiers."""
        first = self.peek
        matchers: list[Matcher] = []
        name = ""
        if first.kind == "identifier":
            name = self.next().text
        elif first.text != "{":
            self.unexpected("", "")
        if self.peek.kind == "op" and self.accept("{"):
            while not self.accept("}"):
                if matchers:
                    self.expect(",", "label matching", '"," or "}"')
                    if self.accept("}"):
                        break
                matchers.append(self.matcher())
        if name:
            for matcher in matchers:
                if matcher.name == METRIC_NAME:
                    self.fail(first, f"metric name must not be set twice: {quote(name)} or {quote(matcher.value)}")
            matchers.append(Matcher(METRIC_NAME, "=", name))
        elif all(_matches_empty(matcher) for matcher in matchers):
            self.fail(first, "vector selector must contain at least one non-empty matcher")
        return Selector(tuple(matchers), first.start)

    def matcher(self) -> Matcher:
        label = self.next()
        if label.kind == "string" and self.peek.text in (",", "}"):
            return Matcher(METRIC_NAME, "=", self.unquoted(label))
        if label.kind not in ("identifier", "string"):
            self.at -= label.kind != "end"
            self.unexpected("label matching", 'identifier or "}"')
        if self.peek.kind != "op" or self.peek.text not in ("=", "!=", "=~", "!~"):
            self.unexpected("label matching", "label matching operator")
        op = cast(MatchOp, self.next().text)
        value = self.peek
        if value.kind != "string":
            self.unexpected("label matching", "string")
        self.next()
        name = self.unquoted(label) if label.kind == "string" else label.text
        matcher = Matcher(name, op, self.unquoted(value))
        if op in ("=~", "!~"):
            try:
                compile_anchored(matcher.value)
            except RegexError as error:
                self.fail(label, str(error))
        return matcher

    def label_list(self, context: str) -> tuple[str, ...]:
        self.expect("(", context, '"("')
        labels: list[str] = []
        while not self.accept(")"):
            if labels:
                self.expect(",", context, '"," or ")"')
                if self.accept(")"):
                    break
            token = self.peek
            if token.kind == "string":
                labels.append(self.unquoted(token))
            elif token.kind == "identifier" and ":" not in token.text:
                labels.append(token.text)
            else:
                self.unexpected(context, "label")
            self.next()
        return tuple(labels)

    def ranged(self, node: Node, wrapped: bool, has_offset: bool, has_at: bool, bracket: Token) -> Matrix | Subquery:
        """The rest of `node[range]` or `node[range:step]` after its bracket."""
        range_ms = self.duration("subquery or range")
        if self.accept(":"):
            step_ms = 0 if self.peek.text == "]" else self.duration("subquery selector")
            self.expect("]", "subquery selector", '"]"')
            if node.type != Type.VECTOR:
                self.fail(node, f"subquery is only allowed on instant vector, got {node.type} instead")
            return Subquery(node, range_ms, step_ms, node.start)
        self.expect("]", "subquery or range", '":" or "]"')
        if wrapped or not isinstance(node, Selector):
            self.fail(bracket, "ranges only allowed for vector selectors")
        if has_offset:
            self.fail(bracket, "no offset modifiers allowed before range")
        if has_at:
            self.fail(bracket, "no @ modifiers allowed before range")
        return Matrix(node, range_ms)

    def duration(self, context: str) -> int:
        """A positive duration, or a number of seconds, in ms."""
        token = self.peek
        if token.kind not in ("duration", "number"):
            self.unexpected(context, "number, duration, step(), or range()")
        self.next()
        seconds = self.seconds(token)
        if not 0 < seconds < 1 << 50:
            self.fail(token, "duration must be greater than 0" if seconds <= 0 else "duration out of range")
        return round(seconds * 1000)

    def offset(self) -> int:
        negative = self.accept("-")
        if not negative:
            self.accept("+")
        token = self.peek
        if token.kind not in ("duration", "number"):
            self.unexpected("offset", "number, duration, step(), or range()")
        self.next()
        seconds = self.seconds(token)
        if not seconds < 1 << 50:
            self.fail(token, "duration out of range")
        return round((-seconds if negative else seconds) * 1000)

    def timestamp(self, start: int) -> At:
        word = self.peek.text.lower()
        if word in ("start", "end") and self.peek.kind == "identifier":
            self.next()
            self.expect("(", "@", "timestamp")
            self.expect(")", "@", "timestamp")
            return "start" if word == "start" else "end"
        negative = self.accept("-")
        if not negative:
            self.accept("+")
        token = self.peek
        if token.kind not in ("number", "duration"):
            self.unexpected("@", "timestamp")
        self.next()
        seconds = -self.seconds(token) if negative else self.seconds(token)
        if not abs(seconds) < 1 << 53:
            self.fail(start, f"timestamp out of bounds for @ modifier: {seconds:f}")
        return math.floor(seconds * 1000 + 0.5)

    def seconds(self, token: Token) -> float:
        """The value of a number, or of a duration in seconds."""
        if token.kind == "duration":
            try:
                return duration_ms(token.text) / 1000
            except ValueError as error:
                self.fail(token, str(error))
        return number(token.text)

    def unquoted(self, token: Token) -> str:
        try:
            return unquote(token.text)
        except ValueError as error:
            self.fail(token, str(error))


def number(text: str) -> float:
    """The value of a number token: decimal, hexadecimal, octal with a leading zero, Inf, NaN."""
    plain = text.replace("_", "")
    if plain[:2] in ("0x", "0X"):
        return float(int(plain, 16))
    if len(plain) > 1 and plain[0] == "0" and all(char in "01234567" for char in plain):
        return float(int(plain, 8))
    return float(plain)


def _matches_empty(matcher: Matcher) -> bool:
    if matcher.op in ("=", "!="):
        return (matcher.value == "") == (matcher.op == "=")
    return compile_anchored(matcher.value).matches("") == (matcher.op == "=~")


def _modified(node: Selector | Matrix | Subquery, *, offset_ms: int | None = None, at: At = None) -> Node:
    """`node` with an offset or an @ modifier added."""
    if isinstance(node, Matrix):
        selector = _modified(node.selector, offset_ms=offset_ms, at=at)
        assert isinstance(selector, Selector)
        return replace(node, selector=selector)
    if offset_ms is not None:
        return replace(node, offset_ms=offset_ms)
    return replace(node, at=at)


def selectors(node: Node) -> Sequence[Selector]:
    """The selectors of an expression, for estimates of what it will read."""
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
            return [*selectors(node.expr), *(selectors(node.param) if node.param else ())]
        case Binary():
            return [*selectors(node.lhs), *selectors(node.rhs)]
        case _:
            return []
