"""A query's text -> nodes: PromQL's grammar, by a Pratt parser whose depth is bounded by `Tokens`."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Literal, NamedTuple

from prom_probe.model.feature import Feature
from prom_probe.model.labels import METRIC_NAME
from prom_probe.model.matcher import Matcher
from prom_probe.promql.ast import (
    Aggregate,
    At,
    Binary,
    Call,
    Duration,
    Extension,
    Length,
    Matching,
    Matrix,
    Negate,
    Node,
    Number,
    Selector,
    String,
    Subquery,
    Wrapped,
)
from prom_probe.promql.checks import Checks
from prom_probe.promql.durations import QueryTimes, bind, length_ms, literal_ms
from prom_probe.promql.functions import FUNCTIONS, VARYING
from prom_probe.promql.lexer import Token
from prom_probe.promql.literals import fixed, quote
from prom_probe.promql.parse_duration import RANGE, STEP, parse_length, parse_offset
from prom_probe.promql.parse_labels import parse_label_names, parse_matchers
from prom_probe.promql.tokens import AGGREGATIONS, KEYWORDS, MAX_FRAMES, Tokens

EVERYTHING = frozenset(Feature)  # for what asks only what an expression is about

# How tightly each operator binds; ^ is the only one whose right side binds first.
_BINDING = {
    "or": 1,
    **dict.fromkeys(("and", "unless"), 2),
    **dict.fromkeys(("==", "!=", "<", "<=", ">", ">=", "</", ">/"), 3),
    **dict.fromkeys(("+", "-"), 4),
    **dict.fromkeys(("*", "/", "%", "atan2"), 5),
    "^": 6,
}
_POWER = _BINDING["^"]
_FRAMES = 5  # of Python's stack, from an expression to one in its parentheses
_POSTFIXES = frozenset(("[", "offset", "@", "anchored", "smoothed"))
_NOT_METRICS = frozenset(("bool", "on", "ignoring", "group_left", "group_right", "atan2"))
_WITH_PARAMETER = frozenset(("topk", "bottomk", "quantile", "count_values", "limitk", "limit_ratio"))
_EXPERIMENTAL_AGGREGATIONS = frozenset(("limitk", "limit_ratio"))
_ANY_CASE = frozenset(("step", "start", "end", "range", "min_of", "max_of"))  # function names that are keywords
_BOUNDS: dict[str, At] = {"start": "start", "end": "end"}
_AT = ("@", "timestamp")
_LATEST_S = 2.0**53
_EXTENSIONS: dict[str, Extension] = {"anchored": "anchored", "smoothed": "smoothed"}
_GROUPS: dict[str, Literal["left", "right"]] = {"group_left": "left", "group_right": "right"}
_FILLS = {"fill": {"left", "right"}, "fill_left": {"left"}, "fill_right": {"right"}}
_OPENS = re.compile(r"[ \t\r\n]*\(")
_MUST_FOLLOW = "must be preceded by an instant vector selector or range vector selector or a subquery"
_CONSTANT = QueryTimes(0, 0, 0)  # for durations in which no time of the query occurs


class _Parsed(NamedTuple):
    node: Node
    varies: bool  # some of its durations depend on the query's times


@lru_cache(maxsize=256)
def _parsed(text: str, features: frozenset[Feature]) -> _Parsed:
    parser = Parser(text, features)
    return _Parsed(parser.whole(), parser.varies)


def parse(text: str, features: frozenset[Feature] = EVERYTHING) -> Node:
    """The expression in `text`; raises QueryError (bad_data), with its place.

    Results are cached and shared: never change one. May be called from several threads at once.
    """
    return _parsed(text, features).node


def parse_bound(text: str, times: QueryTimes, features: frozenset[Feature] = EVERYTHING) -> Node:
    """`parse`, with the durations that vary with the query's times put in."""
    node, varies = _parsed(text, features)
    return bind(text, node, times) if varies else node


def parse_written(text: str, features: frozenset[Feature] = EVERYTHING) -> Node:
    """The expression with all parentheses and signs, as `Wrapped` nodes."""
    return Parser(text, features, as_written=True).whole()


def parse_selector(text: str) -> list[Matcher]:
    """The matchers of a selector such as `up{job="x"}`; raises QueryError (bad_data)."""
    parser = Parser(text, EVERYTHING)
    tokens = parser.tokens
    if tokens.word != "{" and not (tokens.token.kind == "identifier" and tokens.word not in _NOT_METRICS):
        tokens.unexpected()
    selector = parser.selector(tokens.token if tokens.word == "{" else tokens.advance())
    parser.end()
    return list(selector.matchers)


class Parser:
    """Parses one text. Each method consumes what it is named after.

    `as_written`: keep what does not change an expression's meaning. `varies`: a duration depends on the query's times.
    """

    def __init__(self, text: str, features: frozenset[Feature], *, as_written: bool = False) -> None:
        self.tokens = Tokens(text)
        self.features = features
        self.as_written = as_written
        self.varies = False
        self.checks = Checks(text)

    def whole(self) -> Node:
        if self.tokens.token.kind == "end":
            self.tokens.fail(0, "no expression found in input")
        node = self.expression(1)
        self.end()
        text = self.tokens.text  # of which no character makes more than two frames
        if 2 * len(text) > MAX_FRAMES and stack_frames(node) > MAX_FRAMES:
            self.tokens.fail(0, "expression nests too deeply")
        return node

    def end(self) -> None:
        if self.tokens.token.kind != "end":
            self.tokens.unexpected()
        self.checks.raise_first()

    def expression(self, least: int, frames: int = _FRAMES) -> Node:
        """An expression of operators that bind at least as tightly as `least`.

        `frames`: of Python's stack, between the expression outside and this one.
        """
        tokens = self.tokens
        tokens.descend(frames)
        start = tokens.token.start
        node = self.operand()
        while (binding := _BINDING.get(tokens.word, 0)) >= least:
            tokens.count_operator()
            node = self.binary(node, start, binding)
        tokens.frames -= frames
        return node

    def operand(self) -> Node:
        """A primary expression with the signs before it and the modifiers after it."""
        tokens = self.tokens
        kind, _, start = tokens.token
        word = tokens.word
        if word in ("+", "-"):
            return self.signed()
        if word == "(":
            node = self.parenthesized()
        elif word == "{":
            node = self.selector(tokens.token)
        elif kind in ("number", "duration"):
            node = Number(tokens.seconds(), start, kind == "duration")
        elif kind == "string":
            node = String(tokens.string(), start)
        elif kind == "identifier" and word not in _NOT_METRICS:
            node = self.named(tokens.advance())
        else:
            tokens.unexpected()
        while tokens.word in _POSTFIXES:
            node = self.modified(node, start, parenthesized=word == "(")
            word = ""
        return node

    def signed(self) -> Node:
        """An operand after signs; those of a literal number are part of it."""
        tokens = self.tokens
        signs = []
        while tokens.word in ("+", "-"):
            tokens.count_operator()
            signs.append(tokens.advance())
        literal = tokens.token.kind in ("number", "duration")
        node = self.expression(_POWER, frames=3)
        for sign in reversed(signs):
            if literal and isinstance(node, Number):
                node = Number(-node.value if sign.text == "-" else node.value, sign.start, node.as_duration)
                continue
            self.checks.unary(node, sign.start)
            if sign.text == "-":
                node = Negate(node, sign.start)
            elif self.as_written:
                node = Wrapped("+", node, sign.start)
        return node

    def parenthesized(self) -> Node:
        tokens = self.tokens
        tokens.nest()
        start = tokens.advance().start
        node = self.expression(1)
        tokens.expect(")")
        tokens.leave()
        return Wrapped("(", node, start) if self.as_written else node

    def named(self, name: Token) -> Node:
        """What begins with an identifier: an aggregation, a call, or a selector."""
        tokens, word = self.tokens, name.text.lower()
        if word in AGGREGATIONS and tokens.word in ("(", "by", "without"):
            return self.aggregate(name, word)
        if tokens.word == "(" and word not in KEYWORDS and ":" not in word:
            return self.call(name)
        return self.selector(name)

    # -- selectors

    def selector(self, first: Token) -> Selector:
        """`first`: the name, consumed, or the brace that opens."""
        name = "" if first.text == "{" else first.text
        matchers = parse_matchers(self.tokens) if self.tokens.word == "{" else []
        self.checks.selector(name, matchers, first.start)
        if name:
            matchers.append(Matcher(METRIC_NAME, "=", name))
        return Selector(tuple(matchers), first.start, name=name)

    def modified(self, node: Node, start: int, *, parenthesized: bool) -> Node:
        """`node`, which begins at `start`, with the next modifier."""
        word = self.tokens.word
        if word == "[":
            return self.ranged(node, start, parenthesized=parenthesized)
        self.tokens.advance()
        if word == "offset":
            return self.offset(node, start, parenthesized=parenthesized)
        if word == "@":
            return self.at(node, start, parenthesized=parenthesized)
        return self.extended(node, start, word, parenthesized=parenthesized)

    def ranged(self, node: Node, start: int, *, parenthesized: bool) -> Node:
        """A range or a subquery."""
        tokens = self.tokens
        tokens.nest()
        opening = tokens.advance().start
        range_ms, range_expr = self.milliseconds(parse_length(tokens, RANGE))
        if tokens.accept(":"):
            tokens.count_operator()  # a subquery of a subquery deepens the tree without nesting in the text
            step_ms, step_expr = (0, None) if tokens.word == "]" else self.milliseconds(parse_length(tokens, STEP))
            tokens.expect("]", STEP.context, '"]"')
            self.checks.subquery(node, start)
            node = Subquery(node, range_ms, step_ms, start, range=range_expr, step=step_expr)
        else:
            tokens.expect("]", "subquery or range", '":" or "]"')
            if not isinstance(node, Selector) or parenthesized:
                tokens.fail(opening, "ranges only allowed for vector selectors")
            if node.offset_ms or node.offset:
                tokens.fail(opening, "no offset modifiers allowed before range")
            if node.at is not None:
                tokens.fail(opening, "no @ modifiers allowed before range")
            node = Matrix(node, range_ms, range_expr)
        tokens.leave()
        return node

    def milliseconds(self, length: Length, *, negative: bool = False) -> tuple[int, Duration | None]:
        """A length in milliseconds, 0 if it varies, and the length itself if it is no literal."""
        if isinstance(length, Number):
            if length.value <= 0 and not negative:
                self.tokens.fail(length.start, "duration must be greater than 0")
            return literal_ms(length.value), None
        if length.varies:
            self.varies = True
            return 0, length
        return length_ms(self.tokens.text, length, _CONSTANT, negative=negative), length

    def offset(self, node: Node, start: int, *, parenthesized: bool) -> Node:
        offset_ms, offset = self.milliseconds(parse_offset(self.tokens), negative=True)
        target = _target(node)
        if target is None or parenthesized:
            self.tokens.fail(start, f"offset modifier {_MUST_FOLLOW}")
        if target.offset_ms or target.offset:
            self.tokens.fail(start, "offset may not be set multiple times")
        return _retargeted(node, replace(target, offset_ms=offset_ms, offset=offset))

    def at(self, node: Node, start: int, *, parenthesized: bool) -> Node:
        at = self.timestamp(start)
        target = _target(node)
        if target is None or parenthesized:
            self.tokens.fail(start, f"@ modifier {_MUST_FOLLOW}")
        if target.at is not None:
            self.tokens.fail(start, "@ <timestamp> may not be set multiple times")
        return _retargeted(node, replace(target, at=at))

    def timestamp(self, start: int) -> At:
        """What follows an @; errors of range are at `start`, where what it belongs to begins."""
        tokens = self.tokens
        if (bound := _BOUNDS.get(tokens.word)) is not None:
            tokens.advance()
            tokens.expect("(", *_AT)
            tokens.expect(")", *_AT)
            return bound
        sign = tokens.advance().text if tokens.word in ("+", "-") else ""
        if tokens.token.kind not in ("number", "duration"):
            tokens.unexpected(*_AT)
        seconds = tokens.seconds() * (-1 if sign == "-" else 1)
        if not abs(seconds) < _LATEST_S:
            shown = f"{seconds:f}" if math.isfinite(seconds) else fixed(seconds)
            tokens.fail(start, f"timestamp out of bounds for @ modifier: {shown}")
        return math.floor(seconds * 1000 + 0.5)

    def extended(self, node: Node, start: int, word: str, *, parenthesized: bool) -> Node:
        """`anchored` or `smoothed`, which is consumed."""
        tokens = self.tokens
        if Feature.EXTENDED_RANGE_SELECTORS not in self.features:
            tokens.fail(start, f"{word} modifier is experimental and not enabled")
        if isinstance(node, Subquery):
            tokens.fail(start, f"{word} modifier is not supported for subqueries")
        target = _target(node)
        if not isinstance(target, Selector) or parenthesized:
            tokens.fail(start, f"{word} modifier not implemented")
        extension = _EXTENSIONS[word]
        if target.extension not in ("", extension):
            tokens.fail(start, "anchored and smoothed modifiers cannot be used together")
        return _retargeted(node, replace(target, extension=extension))

    # -- calls and aggregations

    def arguments(self) -> tuple[list[Node], list[int]]:
        """A list in parentheses, and where each argument starts."""
        tokens = self.tokens
        tokens.nest()
        tokens.expect("(")
        args: list[Node] = []
        starts: list[int] = []
        while not tokens.accept(")"):
            if args:
                comma = tokens.expect(",").start
                if tokens.word == ")":
                    tokens.fail(comma, "trailing commas not allowed in function call args")
            starts.append(tokens.token.start)
            args.append(self.expression(1))
        tokens.leave()
        return args, starts

    def call(self, name: Token) -> Call:
        mark = self.checks.mark()
        args, starts = self.arguments()
        word = name.text.lower() if name.text.lower() in _ANY_CASE else name.text
        function = FUNCTIONS.get(word)
        if function is None:
            self.tokens.fail(name.start, f"unknown function with name {quote(name.text)}")
        if function.experimental and Feature.EXPERIMENTAL_FUNCTIONS not in self.features:
            self.tokens.fail(name.start, f"function {quote(word)} is not enabled")
        self.checks.call(word, function, args, [name.start, *starts], mark)
        invariant = word not in VARYING and all(node.invariant for node in args)
        return Call(word, tuple(args), name.start, function.returns, invariant)

    def aggregate(self, name: Token, op: str) -> Aggregate:
        tokens = self.tokens
        tokens.open_aggregations += 1
        grouping = self.maybe_grouping()
        args, starts = self.arguments()
        labels, without = grouping or self.maybe_grouping() or ((), False)
        tokens.open_aggregations -= 1
        if not args:
            tokens.fail(name.start, "no arguments for aggregate expression provided")
        if op in _EXPERIMENTAL_AGGREGATIONS and Feature.EXPERIMENTAL_FUNCTIONS not in self.features:
            enable = f"must be enabled with --enable-feature={Feature.EXPERIMENTAL_FUNCTIONS}"
            tokens.fail(name.start, f"{op}() is experimental and {enable}")
        wanted = 2 if op in _WITH_PARAMETER else 1
        if len(args) != wanted:
            wrong = f"wrong number of arguments for aggregate expression provided, expected {wanted}, got {len(args)}"
            tokens.fail(name.start, wrong)
        param = args[0] if wanted > 1 else None
        self.checks.aggregate(op, args[-1], starts[-1], param, starts[0])
        return Aggregate(op, args[-1], param, labels, without, name.start)

    def maybe_grouping(self) -> tuple[tuple[str, ...], bool] | None:
        """`by` or `without` with its labels, if it comes next: these, and whether it is `without`."""
        word = self.tokens.word
        if word not in ("by", "without"):
            return None
        self.tokens.advance()
        return parse_label_names(self.tokens), word == "without"

    # -- binary operators

    def binary(self, lhs: Node, start: int, binding: int) -> Binary:
        """The operator and what follows it; `lhs` begins at `start`."""
        tokens = self.tokens
        op, op_start = tokens.word, tokens.advance().start
        returns_bool = tokens.accept("bool")
        matching = self.matching()
        rhs_start = tokens.token.start
        rhs = self.expression(binding + (op != "^"), frames=2)
        node = Binary(op, lhs, rhs, start, returns_bool, matching)
        self.checks.binary(node, op_start, rhs_start)
        return node

    def matching(self) -> Matching:
        tokens = self.tokens
        on = tokens.word == "on"
        labels: tuple[str, ...] = ()
        include: tuple[str, ...] = ()
        group: Literal["", "left", "right"] = ""
        if on or tokens.word == "ignoring":
            tokens.advance()
            labels = parse_label_names(tokens)
            if tokens.word in _GROUPS:
                group = _GROUPS[tokens.word]
                tokens.advance()
                include = parse_label_names(tokens) if tokens.word == "(" else ()
        fills = self.fills() if tokens.word in _FILLS else {}
        return Matching(on, labels, group, include, fills.get("left"), fills.get("right"))

    def fills(self) -> dict[str, float]:
        """What stands for missing samples, by side. A metric may have the name of such a modifier."""
        tokens = self.tokens
        found: dict[str, float] = {}
        while (
            (sides := _FILLS.get(tokens.word))
            and not sides & found.keys()
            and _OPENS.match(tokens.text, tokens.token.start + len(tokens.token.text))
        ):
            start = tokens.advance().start
            if Feature.BINOP_FILL_MODIFIERS not in self.features:
                tokens.fail(start, "binop fill modifiers are experimental and not enabled")
            tokens.expect("(")
            sign = tokens.advance().text if tokens.word in ("+", "-") else ""
            if tokens.token.kind not in ("number", "duration"):
                tokens.unexpected()
            value = tokens.seconds()
            tokens.expect(")")
            found |= dict.fromkeys(sides, -value if sign == "-" else value)
        return found


def _target(node: Node) -> Selector | Subquery | None:
    """What has the time of a selector, range or subquery."""
    if isinstance(node, Matrix):
        return node.selector
    return node if isinstance(node, Selector | Subquery) else None


def _retargeted(node: Node, target: Selector | Subquery) -> Node:
    """`node` with what `_target` gives exchanged."""
    return replace(node, selector=target) if isinstance(node, Matrix) and isinstance(target, Selector) else target


# About how many frames of Python's stack a node's evaluation puts between it and the nodes below.
_FRAMES_OF = {Call: 5, Aggregate: 5, Subquery: 6, Binary: 3, Negate: 2}  # the others have none below, or no value


def stack_frames(node: Node) -> int:
    """The most frames that evaluating a tree takes; without recursion, as the tree may be too deep for it."""
    deepest = 0
    left: list[tuple[Node, int]] = [(node, 0)]
    while left:
        node, frames = left.pop()
        frames += _FRAMES_OF.get(type(node), 0)
        deepest = max(deepest, frames)
        left += [(child, frames) for child in children(node)]
    return deepest


def children(node: Node) -> Sequence[Node]:
    """The expressions in an expression, in the order of the text."""
    match node:
        case Subquery() | Negate() | Wrapped():
            return (node.expr,)
        case Call():
            return node.args
        case Aggregate():
            return (node.expr,) if node.param is None else (node.param, node.expr)
        case Binary():
            return (node.lhs, node.rhs)
        case _:
            return ()


def selectors(node: Node) -> Sequence[Selector]:
    """The selectors of an expression, in the order of the text."""
    if isinstance(node, Selector | Matrix):
        return [node if isinstance(node, Selector) else node.selector]
    return [found for child in children(node) for found in selectors(child)]
