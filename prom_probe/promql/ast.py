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


Extension: TypeAlias = Literal["", "anchored", "smoothed"]  # how a selector's samples are extended to its ends
At: TypeAlias = int | Literal["start", "end"] | None  # the @ modifier: ms, start(), end(), or none

# In each node, `start` is the offset of its first character in the query, and `invariant` says that its value is the
# same at every step, so that it is evaluated once. The type and `invariant` are stored, not derived from the children
# each time, as chains of operators can be deep.


@dataclass(frozen=True, slots=True)
class Number:
    """`as_duration`: written as `5m`, not as `300`."""

    value: float
    start: int
    as_duration: bool = False
    type: Type = Type.SCALAR
    invariant: bool = True


@dataclass(frozen=True, slots=True)
class String:
    value: str
    start: int
    type: Type = Type.STRING
    invariant: bool = True


@dataclass(frozen=True, slots=True)
class Duration:
    """A duration that is not a literal: `5m * 2`, `step() + 1`; in seconds.

    `op`: an operator with one or two operands, `min_of` or `max_of`, or without operands one of `QUERY_TIMES`.
    """

    op: str
    operands: tuple[Length, ...]
    start: int
    parenthesized: bool = False

    @property
    def varies(self) -> bool:
        """Whether it depends on the query's times."""
        return self.op in QUERY_TIMES or any(isinstance(one, Duration) and one.varies for one in self.operands)


Length: TypeAlias = Number | Duration  # of time, in seconds

# Where the text has a Duration, the node keeps it beside the milliseconds; these are 0 where it depends on the query's
# times, until `bind` has put them in.


@dataclass(frozen=True, slots=True)
class Selector:
    """`name{matchers} offset 5m @ 10`. The name is among the matchers, `name` is what stands before the braces."""

    matchers: tuple[Matcher, ...]
    start: int
    offset_ms: int = 0
    at: At = None
    name: str = ""
    extension: Extension = ""
    offset: Duration | None = None
    type: Type = Type.VECTOR

    @property
    def invariant(self) -> bool:
        return self.at is not None


@dataclass(frozen=True, slots=True)
class Matrix:
    """`selector[range]`; offset and @ are the selector's."""

    selector: Selector
    range_ms: int
    range: Duration | None = None
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
    range: Duration | None = None
    step: Duration | None = None
    offset: Duration | None = None
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
    grouping: tuple[str, ...]  # as written
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
    fill_left: float | None = None  # stands for a missing sample of that side
    fill_right: float | None = None


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


@dataclass(frozen=True, slots=True)
class Wrapped:
    """`(expr)` or `+expr`: only in trees that are parsed as they are written."""

    by: Literal["(", "+"]
    expr: Node
    start: int
    type: Type = field(init=False)
    invariant: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "type", self.expr.type)
        object.__setattr__(self, "invariant", self.expr.invariant)


Node: TypeAlias = Number | String | Selector | Matrix | Subquery | Call | Aggregate | Binary | Negate | Wrapped

# In a duration and as functions: the query's step, its first and last time, and the time between them, in seconds.
QUERY_TIMES = frozenset({"step", "start", "end", "range"})
COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">="})
SET_OPERATORS = frozenset({"and", "or", "unless"})
