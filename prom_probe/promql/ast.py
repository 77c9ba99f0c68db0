"""The nodes of a parsed PromQL expression: immutable, so that they can be cached and shared."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, TypeAlias

from prom_probe.model.matcher import Matcher


class Type(StrEnum):
    """The type of an expression's value, with the text that users read."""

    SCALAR = "scalar"
    VECTOR = "instant vector"
    MATRIX = "range vector"
    STRING = "string"


At: TypeAlias = int | Literal["start", "end"] | None  # the @ modifier: ms, start(), end(), or none

# In each node, `start` is the offset of its first character in the query, and `invariant` says that its value is the
# same at every step, so that it is evaluated once. The type and `invariant` are stored, not derived from the children
# each time, as chains of operators can be deep.


@dataclass(frozen=True, slots=True)
class Number:
    value: float
    start: int
    type: Type = Type.SCALAR
    invariant: bool = True


@dataclass(frozen=True, slots=True)
class String:
    value: str
    start: int
    type: Type = Type.STRING
    invariant: bool = True


@dataclass(frozen=True, slots=True)
class Selector:
    """`name{matchers} offset 5m @ 10`; the name is among the matchers."""

    matchers: tuple[Matcher, ...]
    start: int
    offset_ms: int = 0
    at: At = None
    type: Type = Type.VECTOR

    @property
    def invariant(self) -> bool:
        return self.at is not None


@dataclass(frozen=True, slots=True)
class Matrix:
    """`selector[range]`; offset and @ are the selector's."""

    selector: Selector
    range_ms: int
    type: Type = Type.MATRIX

    @property
    def start(self) -> int:
        return self.selector.start

    @property
    def invariant(self) -> bool:
        return self.selector.at is not None


@dataclass(frozen=True, slots=True)
class Subquery:
    """`expr[range:step]`; a step of 0 means the default."""

    expr: Node
    range_ms: int
    step_ms: int
    start: int
    offset_ms: int = 0
    at: At = None
    type: Type = Type.MATRIX

    @property
    def invariant(self) -> bool:
        return self.at is not None


@dataclass(frozen=True, slots=True)
class Call:
    name: str
    args: tuple[Node, ...]
    start: int
    type: Type
    invariant: bool


@dataclass(frozen=True, slots=True)
class Aggregate:
    op: str
    expr: Node
    param: Node | None
    grouping: tuple[str, ...]  # sorted
    without: bool
    start: int
    type: Type = Type.VECTOR
    invariant: bool = field(init=False)

    def __post_init__(self) -> None:
        invariant = self.expr.invariant and (self.param is None or self.param.invariant)
        object.__setattr__(self, "invariant", invariant)


@dataclass(frozen=True, slots=True)
class Matching:
    """How the series of two vectors are matched. `group`: the side that may have many, "" for one-to-one."""

    on: bool = False
    labels: tuple[str, ...] = ()
    group: Literal["", "left", "right"] = ""
    include: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Binary:
    op: str
    lhs: Node
    rhs: Node
    start: int
    returns_bool: bool = False
    matching: Matching = field(default_factory=Matching)
    type: Type = field(init=False)
    invariant: bool = field(init=False)

    def __post_init__(self) -> None:
        scalar = self.lhs.type == self.rhs.type == Type.SCALAR
        object.__setattr__(self, "type", Type.SCALAR if scalar else Type.VECTOR)
        object.__setattr__(self, "invariant", self.lhs.invariant and self.rhs.invariant)


@dataclass(frozen=True, slots=True)
class Negate:
    expr: Node
    start: int
    type: Type = field(init=False)
    invariant: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "type", self.expr.type)
        object.__setattr__(self, "invariant", self.expr.invariant)


Node: TypeAlias = Number | String | Selector | Matrix | Subquery | Call | Aggregate | Binary | Negate

COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">="})
SET_OPERATORS = frozenset({"and", "or", "unless"})
