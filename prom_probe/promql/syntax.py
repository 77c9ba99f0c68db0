"""An expression as written, with parentheses and signs: as JSON, and in Prometheus's layout.

For `parse_query` and `format_query`; the engine does not use it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from prom_probe.model.feature import Feature
from prom_probe.promql.ast import (
    SET_OPERATORS,
    Aggregate,
    Binary,
    Call,
    Length,
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
from prom_probe.promql.literals import as_utf8, fixed, quote
from prom_probe.promql.parser import EVERYTHING, parse_written

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


def written(text: str, features: frozenset[Feature] = EVERYTHING) -> Written:
    """The expression in `text`; raises QueryError (bad_data) as `parse` does."""
    return write(parse_written(text, features))


def write(node: Node) -> Written:
    """A tree of `parse_written`."""
    match node:
        case Number():
            return Written(Type.SCALAR, {"type": "numberLiteral", "val": fixed(node.value)}, _number(node))
        case String():
            return Written(Type.STRING, {"type": "stringLiteral", "val": as_utf8(node.value)}, quote(node.value))
        case Wrapped() if node.by == "(":
            return _parenthesized(write(node.expr))
        case Wrapped():
            return _unary("+", write(node.expr))
        case Negate():
            return _unary("-", write(node.expr))
        case Selector():
            text = _selector_text(node) + _extension(node) + _when(node)
            return Written(Type.VECTOR, _selector_json("vectorSelector", node), text)
        case Matrix():
            selector = node.selector
            text = f"{_selector_text(selector)}[{_length(node.range, node.range_ms)}]"
            json = _selector_json("matrixSelector", selector) | {"range": node.range_ms}
            return Written(Type.MATRIX, json, text + _extension(selector) + _when(selector))
        case Subquery():
            return _subquery(node)
        case Call():
            return _call(node)
        case Aggregate():
            return _aggregate(node)
        case Binary():
            return _binary(node)


def _parenthesized(inner: Written) -> Written:
    def split(level: int) -> str:
        return f"{_INDENT * level}(\n{inner.pretty(level + 1)}\n{_INDENT * level})"

    return Written(inner.type, {"type": "parenExpr", "expr": inner.json}, f"({inner.text})", split)


def _subquery(node: Subquery) -> Written:
    inner = write(node.expr)
    json = {"type": "subquery", "expr": inner.json, "range": node.range_ms, "step": node.step_ms, **_when_json(node)}
    step = _length(node.step, node.step_ms) if node.step or node.step_ms else ""
    ending = f"[{_length(node.range, node.range_ms)}:{step}]{_when(node)}"
    return Written(Type.MATRIX, json, inner.text + ending, lambda level: inner.pretty(level) + ending)


def _call(node: Call) -> Written:
    function = FUNCTIONS[node.name]
    args = [write(argument) for argument in node.args]
    about = {
        "name": node.name,
        "argTypes": [_TYPES[one] for one in function.args],
        "variadic": function.optional,
        "returnType": _TYPES[function.returns],
    }
    json = {"type": "call", "func": about, "args": [one.json for one in args]}
    return Written(function.returns, json, _called(node.name, args), _split_call(node.name, args))


def _aggregate(node: Aggregate) -> Written:
    param = write(node.param) if node.param is not None else None
    inner = write(node.expr)
    json = {
        "type": "aggregation",
        "op": node.op,
        "expr": inner.json,
        "param": param.json if param else None,
        "grouping": [as_utf8(label) for label in node.grouping],
        "without": node.without,
    }
    head = node.op
    if node.without or node.grouping:
        head += f" {'without' if node.without else 'by'} ({_labels(node.grouping)}) "
    args = [one for one in (param, inner) if one is not None]
    return Written(Type.VECTOR, json, _called(head, args), _split_call(head, args))


def _binary(node: Binary) -> Written:
    lhs, rhs = write(node.lhs), write(node.rhs)
    words, matching = node.op + (" bool" if node.returns_bool else ""), None
    if lhs.type == rhs.type == Type.VECTOR:
        matching, text = _matching(node)
        words += text
    json = {
        "type": "binaryExpr",
        "op": node.op,
        "lhs": lhs.json,
        "rhs": rhs.json,
        "matching": matching,
        "bool": node.returns_bool,
    }

    def split(level: int) -> str:
        return f"{lhs.pretty(level + 1)}\n{_INDENT * level}{words}\n{rhs.pretty(level + 1)}"

    return Written(node.type, json, f"{lhs.text} {words} {rhs.text}", split)


def _matching(node: Binary) -> tuple[Json, str]:
    """How an operator's two vectors are matched, as JSON and as text."""
    how = node.matching
    json = {
        "card": "many-to-many" if node.op in SET_OPERATORS else _CARDS[how.group],
        "labels": [as_utf8(label) for label in how.labels],
        "on": how.on,
        "include": [as_utf8(label) for label in how.include],
        "fillValues": {"lhs": how.fill_left, "rhs": how.fill_right},
    }
    text = f" {'on' if how.on else 'ignoring'} ({_labels(how.labels)})" if how.labels or how.on or how.group else ""
    if how.group:
        text += f" group_{how.group} ({_labels(how.include)})"
    if how.fill_left is not None and how.fill_left == how.fill_right:
        return json, f"{text} fill ({fixed(how.fill_left)})"
    for side, value in (("left", how.fill_left), ("right", how.fill_right)):
        if value is not None:
            text += f" fill_{side} ({fixed(value)})"
    return json, text


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


def _selector_json(kind: str, node: Selector) -> Json:
    return {
        "type": kind,
        "name": node.name,
        "matchers": [{"name": as_utf8(one.name), "value": as_utf8(one.value), "type": one.op} for one in node.matchers],
        "anchored": node.extension == "anchored",
        "smoothed": node.extension == "smoothed",
        **_when_json(node),
    }


def _selector_text(node: Selector) -> str:
    shown = [
        f"{_label(one.name)}{one.op}{quote(one.value)}"
        for one in (node.matchers[:-1] if node.name else node.matchers)  # the last one is the name
    ]
    shown.sort(key=lambda text: text.encode(errors="surrogateescape"))
    return node.name + (f"{{{','.join(shown)}}}" if shown else "")


def _extension(node: Selector) -> str:
    return f" {node.extension}" if node.extension else ""


def _when_json(node: Selector | Subquery) -> Json:
    bound = node.at if isinstance(node.at, str) else None
    return {"offset": node.offset_ms, "timestamp": None if bound else node.at, "startOrEnd": bound}


def _when(node: Selector | Subquery) -> str:
    """` @ 1.000 offset 5m`, or the part of it that applies."""
    at = node.at
    text = "" if at is None else f" @ {at}()" if isinstance(at, str) else f" @ {at / 1000:.3f}"
    if node.offset or node.offset_ms:
        text += f" offset {_length(node.offset, node.offset_ms)}"
    return text


def _length(length: Length | None, ms: int) -> str:
    """A duration: `length` as written if it is no literal, else its milliseconds."""
    if length is None:
        return ("-" if ms < 0 else "") + duration(abs(ms))
    if isinstance(length, Number):
        return _number(length)
    terms = [_length(one, 0) for one in length.operands]
    if not terms:
        text = f"{length.op}()"
    elif length.op in ("min_of", "max_of"):
        text = f"{length.op}({', '.join(terms)})"
    else:
        text = f" {length.op} ".join(terms) if len(terms) > 1 else length.op + terms[0]
    return f"({text})" if length.parenthesized else text


def _number(node: Number) -> str:
    if not node.as_duration:
        return fixed(node.value)
    return ("-" if node.value < 0 else "") + duration(round(abs(node.value) * 1000))


def _labels(labels: Sequence[str]) -> str:
    return ", ".join(map(_label, labels))


def _label(name: str) -> str:
    return name if _PLAIN_LABEL.fullmatch(name) else quote(name)


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
