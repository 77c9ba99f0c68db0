"""An expression as written, with parentheses and signs: as JSON, and in Prometheus's layout.

For `parse_query` and `format_query`; the engine does not use it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import promql_parser

from prom_probe.model.labels import METRIC_NAME
from prom_probe.model.matcher import Matcher
from prom_probe.promql.ast import SET_OPERATORS, At, Type
from prom_probe.promql.functions import FUNCTIONS
from prom_probe.promql.literals import fixed, quote
from prom_probe.promql.parser import GROUPS, METHODS, Reader, parse, read

Json: TypeAlias = dict[str, Any]

_LINE = 100  # bytes; longer lines are split
_INDENT = "  "
_PLAIN_LABEL = re.compile("[a-zA-Z_][a-zA-Z0-9_]*")
_CARDS = {"": "one-to-one", "left": "many-to-one", "right": "one-to-many"}
_TYPES = {Type.SCALAR: "scalar", Type.VECTOR: "vector", Type.MATRIX: "matrix", Type.STRING: "string"}
_UNITS_MS = (
    ("y", 31_536_000_000, True),  # only if nothing is left over
    ("w", 604_800_000, True),
    ("d", 86_400_000, False),
    ("h", 3_600_000, False),
    ("m", 60_000, False),
    ("s", 1000, False),
    ("ms", 1, False),
)


@dataclass(frozen=True, slots=True)
class Written:
    """A node: its JSON, its text on one line, and its text split into lines from an indentation level on."""

    type: Type
    json: Json
    text: str
    split: Callable[[int], str] | None = None  # None: it cannot be split

    def pretty(self, level: int = 0) -> str:
        """The node in lines, indented by `level`, as by Prometheus's `Pretty`."""
        if self.split is None or len(self.text.encode(errors="surrogateescape")) <= _LINE:
            # Prometheus omits the indentation of subqueries.
            return ("" if self.json["type"] == "subquery" else _INDENT * level) + self.text
        return self.split(level)


def written(text: str) -> Written:
    """The expression in `text`; raises QueryError (bad_data) as `parse` does."""
    parse(text)
    found: Written = read(text, _Writer)
    return found


class _Writer(Reader):
    """Reads expressions that `parse` accepts."""

    def node(self, expr: Any) -> Any:
        kind = type(expr).__name__
        first = self.operands[self.at]
        # A sign binds less tightly than ^ and more tightly than all other operators; before a number it is part of it.
        if first.text == "+" and kind != "NumberLiteral" and not (kind == "BinaryExpr" and str(expr.op) != "^"):
            self.at += 1
            return _unary("+", self.node(expr))
        return getattr(self, METHODS[kind])(expr, first.start)

    def number(self, expr: Any, start: int) -> Any:
        node = super().number(expr, start)
        token = self.operands[self.at - 1]
        text = value = fixed(node.value)
        if token.kind == "duration":
            text = ("-" if node.value < 0 else "") + duration(round(abs(node.value) * 1000))
        return Written(Type.SCALAR, {"type": "numberLiteral", "val": value}, text)

    def string(self, expr: Any, start: int) -> Any:
        value = super().string(expr, start).value
        return Written(Type.STRING, {"type": "stringLiteral", "val": _utf8(value)}, quote(value))

    def paren(self, expr: Any, start: int) -> Any:
        self.next()
        inner = self.node(expr.expr)

        def split(level: int) -> str:
            return f"{_INDENT * level}(\n{inner.pretty(level + 1)}\n{_INDENT * level})"

        return Written(inner.type, {"type": "parenExpr", "expr": inner.json}, f"({inner.text})", split)

    def unary(self, expr: Any, start: int) -> Any:
        self.next(signs="")
        return _unary("-", self.node(expr.expr))

    def selector(self, expr: Any, start: int) -> Any:
        node = super().selector(expr, start)
        json = _selector_json("vectorSelector", expr.name or "", node.matchers, node.offset_ms, node.at)
        return Written(node.type, json, _selector_text(expr.name or "", node.matchers) + _when(node.offset_ms, node.at))

    def matrix(self, expr: Any, start: int) -> Any:
        vector = expr.vector_selector
        node = super().selector(vector, start)
        name, range_ms = vector.name or "", self.length(expr.range)
        json = _selector_json("matrixSelector", name, node.matchers, node.offset_ms, node.at) | {"range": range_ms}
        text = f"{_selector_text(name, node.matchers)}[{duration(range_ms)}]{_when(node.offset_ms, node.at)}"
        return Written(Type.MATRIX, json, text)

    def subquery(self, expr: Any, start: int) -> Any:
        inner = self.node(expr.expr)
        range_ms = self.length(expr.range)
        step_ms = self.length(expr.step) if expr.step is not None else 0
        offset_ms, at = self.modifiers(expr)
        json = {"type": "subquery", "expr": inner.json, "range": range_ms, "step": step_ms, **_when_json(offset_ms, at)}
        step = duration(step_ms) if step_ms else ""
        ending = f"[{duration(range_ms)}:{step}]{_when(offset_ms, at)}"
        return Written(Type.MATRIX, json, inner.text + ending, lambda level: inner.pretty(level) + ending)

    def call(self, expr: Any, start: int) -> Any:
        name = self.next().text
        function = FUNCTIONS[name]
        args = [self.node(argument) for argument in expr.args]
        about = {
            "name": name,
            "argTypes": [_TYPES[one] for one in function.args],
            "variadic": function.optional,
            "returnType": _TYPES[function.returns],
        }
        json = {"type": "call", "func": about, "args": [one.json for one in args]}
        return Written(function.returns, json, _called(name, args), _split_call(name, args))

    def aggregate(self, expr: Any, start: int) -> Any:
        self.next()
        param = self.node(expr.param) if expr.param is not None else None
        by = expr.modifier
        labels = self.words(by.labels) if by else ()
        inner = self.node(expr.expr)
        without = by is not None and by.type == promql_parser.AggModifierType.Without
        op = str(expr.op)
        json = {
            "type": "aggregation",
            "op": op,
            "expr": inner.json,
            "param": param.json if param else None,
            "grouping": [_utf8(label) for label in labels],
            "without": without,
        }
        head = f"{op} {'without' if without else 'by'} ({_labels(labels)}) " if without or labels else op
        args = [one for one in (param, inner) if one is not None]
        return Written(Type.VECTOR, json, _called(head, args), _split_call(head, args))

    def binary(self, expr: Any, start: int) -> Any:
        lhs, rhs = self.node(expr.lhs), self.node(expr.rhs)
        op, how = str(expr.op), expr.modifier
        returns_bool = how is not None and how.return_bool
        words, matching = op + (" bool" if returns_bool else ""), None
        if lhs.type == rhs.type == Type.VECTOR:
            matching, text = self._matching(op, how)
            words += text
        json = {
            "type": "binaryExpr",
            "op": op,
            "lhs": lhs.json,
            "rhs": rhs.json,
            "matching": matching,
            "bool": returns_bool,
        }

        def split(level: int) -> str:
            return f"{lhs.pretty(level + 1)}\n{_INDENT * level}{words}\n{rhs.pretty(level + 1)}"

        kind = Type.SCALAR if lhs.type == rhs.type == Type.SCALAR else Type.VECTOR
        return Written(kind, json, f"{lhs.text} {words} {rhs.text}", split)

    def _matching(self, op: str, how: Any) -> tuple[Json, str]:
        """How an operator's two vectors are matched, as JSON and as text."""
        labels: Sequence[str] = ()
        include: Sequence[str] = ()
        on, group = False, ""
        if how is not None:
            on = how.matching is not None and how.matching.type == promql_parser.LabelModifierType.Include
            labels = self.words(how.matching.labels) if how.matching else ()
            group, include = GROUPS[str(how.card)], self.words(how.group_labels or ())
        json = {
            "card": "many-to-many" if op in SET_OPERATORS else _CARDS[group],
            "labels": [_utf8(label) for label in labels],
            "on": on,
            "include": [_utf8(label) for label in include],
            "fillValues": {"lhs": None, "rhs": None},
        }
        text = f" {'on' if on else 'ignoring'} ({_labels(labels)})" if labels or on or group else ""
        return json, text + (f" group_{group} ({_labels(include)})" if group else "")


def _unary(op: str, inner: Written) -> Written:
    def split(level: int) -> str:
        return f"{_INDENT * level}{op}{inner.pretty(level).strip()}"

    return Written(inner.type, {"type": "unaryExpr", "op": op, "expr": inner.json}, op + inner.text, split)


def _called(name: str, args: Sequence[Written]) -> str:
    return f"{name}({', '.join(one.text for one in args)})"


def _split_call(name: str, args: Sequence[Written]) -> Callable[[int], str]:
    def split(level: int) -> str:
        lines = ",\n".join(one.pretty(level + 1) for one in args)
        return f"{_INDENT * level}{name}(\n{lines}\n{_INDENT * level})"

    return split


def _selector_json(kind: str, name: str, matchers: Sequence[Matcher], offset_ms: int, at: At) -> Json:
    return {
        "type": kind,
        "name": name,
        "matchers": [{"name": _utf8(one.name), "value": _utf8(one.value), "type": one.op} for one in matchers],
        "anchored": False,
        "smoothed": False,
        **_when_json(offset_ms, at),
    }


def _selector_text(name: str, matchers: Sequence[Matcher]) -> str:
    shown = [
        f"{_label(one.name)}{one.op}{quote(one.value)}"
        for one in matchers
        if not (one.name == METRIC_NAME and one.op == "=" and one.value == name)
    ]
    shown.sort(key=lambda text: text.encode(errors="surrogateescape"))
    return name + (f"{{{','.join(shown)}}}" if shown else "")


def _when_json(offset_ms: int, at: At) -> Json:
    bound = at if isinstance(at, str) else None
    return {"offset": offset_ms, "timestamp": None if bound else at, "startOrEnd": bound}


def _when(offset_ms: int, at: At) -> str:
    """` @ 1.000 offset 5m`, or the part of it that applies."""
    text = "" if at is None else f" @ {at}()" if isinstance(at, str) else f" @ {at / 1000:.3f}"
    if offset_ms:
        text += f" offset {'-' if offset_ms < 0 else ''}{duration(abs(offset_ms))}"
    return text


def _labels(labels: Sequence[str]) -> str:
    return ", ".join(map(_label, labels))


def _label(name: str) -> str:
    return name if _PLAIN_LABEL.fullmatch(name) else quote(name)


def _utf8(text: str) -> str:
    """`text` with bytes that are not UTF-8 replaced, as Go does for JSON."""
    return text.encode(errors="surrogateescape").decode(errors="replace")


def duration(ms: int) -> str:
    """`1h30m`; weeks and years only if nothing is left over."""
    if not ms:
        return "0s"
    text = ""
    for unit, size, whole in _UNITS_MS:
        if ms >= size and not (whole and ms % size):
            count, ms = divmod(ms, size)
            text += f"{count}{unit}"
    return text
