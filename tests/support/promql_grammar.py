"""Expressions drawn at random, valid and nearly so, and what promql-parser and our parser make of them.

`python -m tests.support.promql_grammar 50000` draws that many and prints what differs without an explanation.
"""

from __future__ import annotations

import random
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import promql_parser

from prom_probe.promql.ast import (
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
    Wrapped,
)
from prom_probe.promql.functions import FUNCTIONS
from prom_probe.promql.parser import parse_written
from prom_probe.promql.result import QueryError

_NAMES = ("x", "http_requests_total", "a:b:c", "sum", "offset", "by", "start", "min_of", "up")
_LABELS = ("a", "job", "on", "le", '"a.b"', "group_left")
_VALUES = ('"b"', "'5..'", "`.*`", '""', '"é"')
_DURATIONS = ("5m", "1h30m", "300", "1d", "90s", "500ms", "0x10")
_NUMBERS = ("1", "0.5", ".5", "1e3", "0x1F", "Inf", "nan", "5m", "1_000")
_OPERATORS = ("+", "-", "*", "/", "%", "^", "==", "!=", "<", ">", "<=", ">=", "and", "or", "unless", "atan2", "OR")
_UNLIKE = ("limit_ratio", "info", "step", "start", "end", "range")  # functions that the library has otherwise or not
_FUNCTIONS = sorted(set(FUNCTIONS) - set(_UNLIKE))
_AGGREGATIONS = ("sum", "avg", "count", "min", "max", "group", "stddev", "topk", "quantile", "count_values", "SUM")
_TOKEN = re.compile(r"\"[^\"]*\"|'[^']*'|`[^`]*`|[\w.:]+|[=!<>]=|[=!]~|\S")


class _Drawn:
    """Draws an expression; the deeper, the simpler."""

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw

    def one(self, depth: int = 0) -> str:
        kinds = (
            self.selector,
            self.number,
            self.binary,
            self.call,
            self.aggregate,
            self.paren,
            self.unary,
            self.subquery,
        )
        weights = (3, 1, 4, 4, 3, 1, 1, 1) if depth < 3 else (4, 1, 0, 0, 0, 0, 0, 0)
        return self.draw.choices(kinds, weights)[0](depth)

    def selector(self, depth: int) -> str:
        draw = self.draw
        matchers = [
            draw.choice(_LABELS) + draw.choice(("=", "!=", "=~", "!~")) + draw.choice(_VALUES)
            for _ in range(draw.choice((0, 0, 1, 2)))
        ]
        text = draw.choice(_NAMES) if draw.random() < 0.8 else ""
        if matchers or not text:
            text += "{" + ",".join(matchers) + draw.choice(("", "", ",")) + "}"
        return text + (self.modifiers() if draw.random() < 0.2 else "")

    def modifiers(self) -> str:
        draw = self.draw
        text = f" offset {draw.choice(('', '-'))}{draw.choice(_DURATIONS)}" if draw.random() < 0.6 else ""
        return text + (f" @ {draw.choice(('start()', 'end()', '10', '1.5'))}" if draw.random() < 0.6 else "")

    def matrix(self) -> str:
        return f"{self.selector(9)}[{self.draw.choice(_DURATIONS)}]{self.modifiers()}"

    def subquery(self, depth: int) -> str:
        step = self.draw.choice(("", *_DURATIONS))
        return f"{self.one(depth + 1)}[{self.draw.choice(_DURATIONS)}:{step}]{self.modifiers()}"

    def number(self, depth: int) -> str:
        return self.draw.choice(_NUMBERS)

    def paren(self, depth: int) -> str:
        return f"({self.one(depth + 1)})"

    def unary(self, depth: int) -> str:
        return self.draw.choice("+-") + self.one(depth + 1)

    def binary(self, depth: int) -> str:
        draw = self.draw
        how = " bool" if draw.random() < 0.15 else ""
        if draw.random() < 0.3:
            how += f" {draw.choice(('on', 'ignoring'))} ({self.labels()})"
            if draw.random() < 0.4:
                how += f" group_{draw.choice(('left', 'right'))} ({self.labels()})"
        return f"{self.one(depth + 1)} {draw.choice(_OPERATORS)}{how} {self.one(depth + 1)}"

    def labels(self) -> str:
        return ", ".join(self.draw.sample(_LABELS, self.draw.choice((0, 1, 1, 2))))

    def call(self, depth: int) -> str:
        name = self.draw.choice(_FUNCTIONS)
        function = FUNCTIONS[name]
        kinds = list(function.args)
        if function.optional and self.draw.random() < 0.5:
            kinds.pop()
        return f"{name}({', '.join(self.argument(kind, depth) for kind in kinds)})"

    def argument(self, kind: Type, depth: int) -> str:
        if self.draw.random() < 0.05:
            return self.one(depth + 1)
        match kind:
            case Type.MATRIX:
                return self.matrix() if self.draw.random() < 0.8 else self.subquery(depth + 1)
            case Type.SCALAR:
                return self.number(depth)
            case Type.STRING:
                return self.draw.choice(_VALUES)
            case Type.VECTOR:
                return self.one(depth + 1)

    def aggregate(self, depth: int) -> str:
        draw = self.draw
        op = draw.choice(_AGGREGATIONS)
        first = {"topk": "2, ", "quantile": "0.9, ", "count_values": '"v", '}.get(op, "")
        how = f" {draw.choice(('by', 'without'))} ({self.labels()}) " if draw.random() < 0.6 else ""
        args = f"({first}{self.one(depth + 1)})"
        return op + (how + args if draw.random() < 0.5 else args + how)


def expressions(count: int, seed: int) -> Iterator[str]:
    """Expressions, of which a quarter have a token left out, doubled or exchanged."""
    draw = random.Random(seed)
    for _ in range(count):
        text = _Drawn(draw).one()
        if draw.random() < 0.25:
            tokens = _TOKEN.findall(text)
            at = draw.randrange(len(tokens))
            change = draw.randrange(3)
            tokens[at : at + 1] = ([], [tokens[at]] * 2, [draw.choice(tokens)])[change]
            text = " ".join(tokens)
        yield text


# -- both trees as nested tuples


def ours(node: Node) -> Any:
    match node:
        case Number():
            return repr(node.value)
        case String():
            return ("string", node.value)
        case Wrapped():
            return ("(", ours(node.expr)) if node.by == "(" else ours(node.expr)
        case Negate():
            return _negated(ours(node.expr))
        case Selector():
            return ("selector", node.name, _matchers(node), node.offset_ms, node.at)
        case Matrix():
            return ("matrix", ours(node.selector), node.range_ms)
        case Subquery():
            return ("subquery", ours(node.expr), node.range_ms, node.step_ms, node.offset_ms, node.at)
        case Call():
            return (node.name, *map(ours, node.args))
        case Aggregate():
            param = node.param and ours(node.param)
            return (node.op, node.without, node.grouping, param, ours(node.expr))
        case Binary():
            return (node.op, _how(node.matching, node.returns_bool), ours(node.lhs), ours(node.rhs))


def _negated(inner: Any) -> Any:
    return ("-", inner)


def _matchers(node: Selector) -> list[tuple[str, str, str]]:
    plain = node.matchers[:-1] if node.name else node.matchers
    return sorted((one.name, one.op, one.value) for one in plain)


def _how(matching: Matching, returns_bool: bool) -> tuple[Any, ...]:
    return (returns_bool, matching.on, matching.labels, matching.group, matching.include)


_MATCH_OPS = {"Equal": "=", "NotEqual": "!=", "Re": "=~", "NotRe": "!~"}
_GROUPS = {"OneToOne": "", "ManyToMany": "", "ManyToOne": "left", "OneToMany": "right"}


def theirs(node: Any) -> Any:
    match type(node).__name__:
        case "NumberLiteral":
            return repr(node.val)
        case "StringLiteral":
            return ("string", node.val)
        case "ParenExpr":
            return ("(", theirs(node.expr))
        case "UnaryExpr":
            return _negated(theirs(node.expr))
        case "VectorSelector":
            matchers = [
                (one.name, _MATCH_OPS[str(one.op).rpartition(".")[2]], one.value) for one in node.matchers.matchers
            ]
            return ("selector", node.name or "", sorted(matchers), *_when(node))
        case "MatrixSelector":
            return ("matrix", theirs(node.vector_selector), _ms(node.range))
        case "SubqueryExpr":
            return ("subquery", theirs(node.expr), _ms(node.range), _ms(node.step), *_when(node))
        case "Call":
            return (node.func.name, *map(theirs, node.args))
        case "AggregateExpr":
            how = node.modifier
            without = how is not None and how.type == promql_parser.AggModifierType.Without
            labels = tuple(how.labels) if how else ()
            return (str(node.op), without, labels, node.param and theirs(node.param), theirs(node.expr))
        case "BinaryExpr":
            return (str(node.op), _their_how(node.modifier), theirs(node.lhs), theirs(node.rhs))
        case other:
            raise AssertionError(other)


def _their_how(how: Any) -> tuple[Any, ...]:
    if how is None:
        return _how(Matching(), False)
    on = how.matching is not None and how.matching.type == promql_parser.LabelModifierType.Include
    labels = tuple(how.matching.labels) if how.matching else ()
    return (how.return_bool, on, labels, _GROUPS[str(how.card).rpartition(".")[2]], tuple(how.group_labels or ()))


def _ms(delta: Any) -> int:
    return round(delta.total_seconds() * 1000) if delta is not None else 0


def _when(node: Any) -> tuple[int, At]:
    at: At = None
    if node.at is not None:
        kind = str(node.at.type).rpartition(".")[2]
        at = round(node.at.at.timestamp() * 1000) if kind == "At" else "start" if kind == "Start" else "end"
    return _ms(node.offset), at


# -- what differs


class Difference(NamedTuple):
    """`ours`, `theirs`: a tree, or the text of the refusal."""

    text: str
    ours: Any
    theirs: Any


@dataclass(frozen=True)
class _Refusal:
    message: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Refusal)


def difference(text: str) -> Difference | None:
    """What the two parsers disagree on; None if they give the same tree, or both refuse the text."""
    mine: Any
    their: Any
    try:
        mine = ours(parse_written(text))
    except QueryError as error:
        mine = _Refusal(str(error))
    try:
        their = theirs(promql_parser.parse(text))
    except ValueError as error:
        their = _Refusal(str(error))
    return None if mine == their else Difference(text, mine, their)


# What differs, by a pattern of the text or of our refusal, and why ours is as Prometheus has it.
EXPLAINED: list[tuple[str, str, str]] = [
    ("text", r"\d_\d", "underscores in numbers are newer than the library"),
    ("ours", "unary expression only allowed", "the library forgets a plus sign, and with it what it must not precede"),
    ("ours", r'in call to function "(exp|ln|log2|log10)", got scalar', "the library lets these have Inf and NaN"),
    ("ours", "invalid label name for grouping", "the library takes an empty label name"),
]


def explanation(found: Difference) -> str:
    """The reason that is listed for a difference; "" if none is."""
    texts = {"text": found.text, "ours": found.ours.message if isinstance(found.ours, _Refusal) else ""}
    return next((reason for part, pattern, reason in EXPLAINED if re.search(pattern, texts[part])), "")


def main() -> int:
    """Exit status 1 if a difference has no explanation."""
    count, seed = int(sys.argv[1]), random.randrange(1 << 30)
    reasons: Counter[str] = Counter()
    valid = 0
    for text in expressions(count, seed):
        found = difference(text)
        valid += found is None
        if found is None:
            continue
        reason = explanation(found)
        reasons[reason] += 1
        if not reason:
            print(found.text, "\n   ", found.ours, "\n   ", found.theirs)
    print(f"seed {seed}: {valid} of {count} agree;", dict(reasons))
    return 1 if reasons[""] else 0


if __name__ == "__main__":
    sys.exit(main())
