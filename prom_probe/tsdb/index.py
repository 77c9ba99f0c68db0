"""The index: label pair -> series, and matchers resolved by set operations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from sys import getsizeof
from typing import TYPE_CHECKING, Protocol

from prom_probe.model.labels import Labels, label_value
from prom_probe.model.matcher import Matcher

if TYPE_CHECKING:
    from prom_probe.model.regex import AnchoredRegex

_REF = attrgetter("ref")
_FOREVER = 1 << 62
# Bytes, with the garbage collector's header where there is one: a dict entry with its share of spare room, a list slot,
# a Posting with its list, an IndexedSeries with its ref, a tail with its numbers.
_DICT_SLOT = 45
_LIST_SLOT = 9
_POSTING = 48 + 88
_SERIES = 96 + 32
TAIL_COST = 64 + 32 + 32


class SeriesOwner(Protocol):
    """A stream that has samples of a series."""

    @property
    def alone(self) -> tuple[SeriesOwner, ...]:
        """A tuple of itself alone, which its series share."""


class IndexedSeries:
    """One series: its labels, its ref, and the streams that have its samples. Only the writer changes it.

    Refs grow with every new series and are never reused. `kept`: the series cap does not evict it; `lasting`: it does
    so last. `seen`: the store's lived time when the series was last known to be alive. `until`: the last epoch of the
    index that has it. `tail`: (t_ms, value) of its newest appended sample.
    """

    __slots__ = ("kept", "labels", "lasting", "owners", "ref", "seen", "tail", "until")

    def __init__(self, labels: Labels, ref: int, seen: int) -> None:
        self.labels = labels
        self.ref = ref
        self.owners: tuple[SeriesOwner, ...] = ()
        self.kept = self.lasting = False
        self.seen = seen
        self.until = _FOREVER
        self.tail: tuple[int, float] | None = None

    @property
    def gone(self) -> bool:
        """Whether it has left the index."""
        return self.until != _FOREVER

    def belong_to(self, owner: SeriesOwner) -> None:
        """Note that `owner` has samples of it, after its other owners."""
        if not self.owners:
            self.owners = owner.alone
        elif owner not in self.owners:
            self.owners += owner.alone

    def cost(self) -> int:
        """Bytes that it takes, its entries in the index included, but not the postings themselves."""
        lists = _LIST_SLOT * (len(self.labels) + 1)
        return _SERIES + getsizeof(self.labels) + lists + _DICT_SLOT + (TAIL_COST if self.tail is not None else 0)


class Posting:
    """The series that have one label pair, by ascending ref. Append-only."""

    __slots__ = ("members", "pair")

    def __init__(self, pair: tuple[str, str]) -> None:
        self.pair = pair
        self.members: list[IndexedSeries] = []

    def cost(self) -> int:
        return _POSTING + getsizeof(self.pair) + getsizeof(self.pair[1]) + _DICT_SLOT


class Index:
    """All series by label pair. One writer adds to it; readers in other threads see what their snapshot's bound allows.

    Lists only grow, so a reader that ignores what came after its snapshot sees what was there when it began. A series
    that leaves is marked with the epoch in which it left, and is missing from the index that replaces this one.
    """

    def __init__(self) -> None:
        self.all: list[IndexedSeries] = []
        self.values: dict[str, dict[str, Posting]] = {}
        self.bytes = 0

    def intern(self, labels: Labels) -> Labels:
        """`labels` made of pairs that the index already has, where possible, so that equal pairs are one object."""
        out = []
        for pair in labels:
            posting = self.values.get(pair[0], {}).get(pair[1])
            out.append(pair if posting is None else posting.pair)
        return tuple(out)

    def add(self, series: IndexedSeries) -> None:
        """Add a series whose ref is higher than all others."""
        for pair in series.labels:
            values = self.values.get(pair[0])
            if values is None:
                values = self.values[pair[0]] = {}
                self.bytes += getsizeof(pair[0]) + 64 + _DICT_SLOT
            posting = values.get(pair[1])
            if posting is None:
                posting = Posting(pair)
                posting.members.append(series)
                values[pair[1]] = posting  # complete before a reader can see it
                self.bytes += posting.cost()
            else:
                posting.members.append(series)
        self.all.append(series)
        self.bytes += series.cost()


@dataclass(frozen=True, slots=True)
class Scope:
    """What a snapshot sees of the index: the series with refs below `bound` that had not left by `epoch`."""

    index: Index
    bound: int
    epoch: int


def resolve(scope: Scope, matchers: Sequence[Matcher], deadline: float | None) -> list[IndexedSeries]:
    """The series in scope that all `matchers` match, by ascending ref.

    An absent label has the value "", as in Prometheus. Raises RegexError for a bad pattern, RegexTimeout at `deadline`.
    """
    index = scope.index
    included: list[list[IndexedSeries]] = []  # a list for each matcher that needs the label
    excluded: list[list[IndexedSeries]] = []
    pairs: list[tuple[tuple[str, str], list[IndexedSeries]]] = []  # the plain `name="value"` ones
    for matcher in matchers:
        values = index.values.get(matcher.name, {})
        if matcher.op == "=" and matcher.value:
            posting = values.get(matcher.value)
            if posting is None:
                return []
            pairs.append((posting.pair, posting.members))
            continue
        regex = _regex(matcher)
        if matcher.op == "=~" and regex is not None and regex.matches_all:  # what "All" of a dashboard's variable is
            continue
        equal = matcher.op in ("=", "=~")
        matches_absent = _hits(matcher, regex, "", deadline) == equal
        # A matcher that matches an absent label can only exclude series that have the label; any other needs it.
        wanted = _postings(values, matcher, regex, equal != matches_absent, deadline)
        lists = [posting.members for posting in wanted]
        if matches_absent:
            excluded += lists
        else:
            included.append(lists[0] if len(lists) == 1 else _union(lists))
    result = _intersect(index, included, pairs)
    for members in excluded:
        result.difference_update(members)
    return sorted((one for one in result if one.ref < scope.bound and one.until >= scope.epoch), key=_REF)


def _regex(matcher: Matcher) -> AnchoredRegex | None:
    if matcher.op in ("=", "!="):
        return None
    from prom_probe.model.regex import compile_anchored

    return compile_anchored(matcher.value)


def _hits(matcher: Matcher, regex: AnchoredRegex | None, value: str, deadline: float | None) -> bool:
    """Whether `value` is the matcher's value or matches its pattern, negated or not."""
    return value == matcher.value if regex is None else regex.matches(value, deadline)


def _postings(
    values: dict[str, Posting], matcher: Matcher, regex: AnchoredRegex | None, hit: bool, deadline: float | None
) -> list[Posting]:
    """The postings whose values hit the matcher's value or pattern, or, without `hit`, those whose values do not."""
    literals: Iterable[str] | None = (matcher.value,) if regex is None else regex.literals
    if literals is not None:
        if hit:
            return [posting for value in literals if (posting := values.get(value)) is not None]
        without = set(literals)
        return [posting for value, posting in values.copy().items() if value not in without]
    return [posting for value, posting in values.copy().items() if _hits(matcher, regex, value, deadline) == hit]


def _union(lists: Iterable[list[IndexedSeries]]) -> list[IndexedSeries]:
    out: list[IndexedSeries] = []
    for members in lists:
        out += members
    return out


def _intersect(
    index: Index, included: list[list[IndexedSeries]], pairs: list[tuple[tuple[str, str], list[IndexedSeries]]]
) -> set[IndexedSeries]:
    """The series in all lists. Begins with the shortest; a long posting is not walked for a few candidates."""
    if not included and not pairs:
        return set(index.all)
    included.sort(key=len)
    pairs.sort(key=lambda item: len(item[1]))
    if pairs and (not included or len(pairs[0][1]) <= len(included[0])):
        result = set(pairs.pop(0)[1])
    else:
        result = set(included.pop(0))
    for pair, members in pairs:
        if len(members) < 4 * len(result):
            result.intersection_update(members)
        else:
            result = {series for series in result if pair in series.labels}
    for members in included:
        result.intersection_update(members)
    return result


def label_values_of(series: Iterable[IndexedSeries], name: str) -> list[str]:
    """The values of label `name` over `series`, sorted, without absent ones."""
    return sorted({value for one in series if (value := label_value(one.labels, name))})
