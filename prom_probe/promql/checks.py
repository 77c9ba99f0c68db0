"""What an expression that fits the grammar must satisfy besides: types, numbers of arguments, sensible modifiers."""

from __future__ import annotations

from collections.abc import Sequence

from prom_probe.model.labels import METRIC_NAME
from prom_probe.model.matcher import Matcher
from prom_probe.promql.ast import COMPARISONS, SET_OPERATORS, Binary, Node, Selector, Type, Wrapped
from prom_probe.promql.functions.base import Function
from prom_probe.promql.lexer import parse_error
from prom_probe.promql.literals import quote
from prom_probe.promql.parse_labels import matches_empty

_VALUES = (Type.SCALAR, Type.VECTOR)
_NO_VECTOR = {Type.SCALAR: "scalar", Type.STRING: "string", Type.MATRIX: "matrix"}
_EMPTY_SELECTOR = "vector selector must contain at least one non-empty matcher"


class Checks:
    """Collects what is wrong in the order in which Prometheus finds it: it reports errors of syntax before these."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._found: list[tuple[int, str]] = []

    def mark(self) -> int:
        """How many there are; for `call`, which is checked before its arguments."""
        return len(self._found)

    def raise_first(self) -> None:
        """Raises QueryError (bad_data) for the first one, if there is any."""
        for start, message in self._found:
            raise parse_error(self._text, start, message)

    def _note(self, start: int, message: str) -> None:
        self._found.append((start, message))

    def selector(self, name: str, matchers: Sequence[Matcher], start: int) -> None:
        """`matchers`: those between braces."""
        if name:
            for matcher in matchers:
                if matcher.name == METRIC_NAME:
                    self._note(start, f"metric name must not be set twice: {quote(name)} or {quote(matcher.value)}")
        elif all(map(matches_empty, matchers)):
            self._note(start, _EMPTY_SELECTOR)

    def unary(self, node: Node, start: int) -> None:
        if node.type not in _VALUES:
            kinds = "expressions of type scalar or instant vector"
            self._note(start, f'unary expression only allowed on {kinds}, got "{node.type}"')

    def subquery(self, node: Node, start: int) -> None:
        if node.type != Type.VECTOR:
            self._note(start, f"subquery is only allowed on instant vector, got {_NO_VECTOR[node.type]} instead")

    def aggregate(self, op: str, expr: Node, expr_start: int, param: Node | None, param_start: int) -> None:
        if expr.type != Type.VECTOR:
            self._expected(Type.VECTOR, "aggregation expression", expr, expr_start)
        wanted = Type.STRING if op == "count_values" else Type.SCALAR
        if param is not None and param.type != wanted:
            self._expected(wanted, "aggregation parameter", param, param_start)

    def binary(self, node: Binary, op_start: int, rhs_start: int) -> None:
        op, types, matching = node.op, (node.lhs.type, node.rhs.type), node.matching
        if node.returns_bool and op not in COMPARISONS:
            self._note(op_start, "bool modifier can only be used on comparison operators")
        if op in COMPARISONS and not node.returns_bool and types == (Type.SCALAR, Type.SCALAR):
            self._note(op_start, "comparisons between scalars must use BOOL modifier")
        for label in matching.labels:
            if matching.on and label in matching.include:
                self._note(op_start, f"label {quote(label)} must not occur in ON and GROUP clause at once")
        for kind, start in zip(types, (node.start, rhs_start), strict=True):
            if kind not in _VALUES:
                self._note(start, "binary expression must contain only scalar and instant vector types")
        fills = (matching.fill_left, matching.fill_right) != (None, None)
        if types != (Type.VECTOR, Type.VECTOR):
            if matching.labels:
                self._note(node.start, "vector matching only allowed between instant vectors")
            if fills:
                self._note(node.start, "filling in missing series only allowed between instant vectors")
        elif op in SET_OPERATORS:
            if matching.group:
                self._note(node.start, f"no grouping allowed for {quote(op)} operation")
            if fills:
                self._note(node.start, "filling in missing series not allowed for set operators")
        if op in SET_OPERATORS and Type.SCALAR in types:
            self._note(node.start, f"set operator {quote(op)} not allowed in binary scalar expression")

    def call(self, name: str, function: Function, args: Sequence[Node], starts: Sequence[int], mark: int) -> None:
        """`starts`: where the function's name is, and each argument. `mark`: from before the arguments."""
        start = starts[0]
        if problem := _wrong_number(name, function, len(args)):
            self._found.insert(mark, (start, problem))
        if name == "info" and len(args) > 1:
            self._labels_only(args[1], starts[2])
        for i, (node, node_start) in enumerate(zip(args, starts[1:], strict=True)):
            if i >= len(function.args) and not function.optional:
                break
            wanted = function.args[min(i, len(function.args) - 1)]
            if node.type != wanted:
                self._expected(wanted, f"call to function {quote(name)}", node, node_start)

    def _labels_only(self, node: Node, start: int) -> None:
        """The second argument of `info`: matchers without a name, which may all match the empty value."""
        if not isinstance(node, Selector):
            if isinstance(node, Wrapped) or node.type == Type.VECTOR:
                self._note(start, "expected label selectors only")
        elif node.name:
            self._note(start, "expected label selectors only, got vector selector instead")
        elif (start, _EMPTY_SELECTOR) in self._found:
            self._found.remove((start, _EMPTY_SELECTOR))

    def _expected(self, wanted: Type, where: str, node: Node, start: int) -> None:
        self._note(start, f"expected type {wanted} in {where}, got {node.type}")


def _wrong_number(name: str, function: Function, given: int) -> str:
    """What is wrong with the number of arguments; "" if it is right."""
    known, called = len(function.args), f"argument(s) in call to {quote(name)}, got {given}"
    if not function.optional:
        return f"expected {known} {called}" if given != known else ""
    least = known - 1
    if given < least:
        return f"expected at least {least} {called}"
    most = least + function.optional
    return f"expected at most {most} {called}" if function.optional > 0 and most < given else ""
