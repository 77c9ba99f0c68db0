"""The index, compared with checking every series against every matcher."""

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prom_probe.model.labels import Labels, label_value, make_labels
from prom_probe.model.matcher import Matcher
from prom_probe.model.regex import RegexError, RegexTimeout
from prom_probe.tsdb.index import Index, IndexedSeries, Scope, resolve

_NAMES = st.sampled_from(["__name__", "job", "pid"])
_WORDS = st.sampled_from(["a", "b", "ab", "abc", "1", "12", "x.y"])
_LABELS = st.dictionaries(_NAMES, _WORDS, min_size=1).map(lambda pairs: make_labels("", pairs))
_PATTERNS = st.sampled_from(["a|b", "a|", "", ".*", ".+", "ab?", "[a-z]+", "a.*", "1", "x\\.y|a", "(a|b)+", "nothing"])
_MATCHERS = st.one_of(
    st.builds(Matcher, _NAMES, st.sampled_from(["=", "!="]), st.one_of(_WORDS, st.just(""))),
    st.builds(Matcher, _NAMES, st.sampled_from(["=~", "!~"]), _PATTERNS),
)


def _index(labels: list[Labels]) -> Index:
    index = Index()
    for ref, one in enumerate(labels):
        index.add(IndexedSeries(index.intern(one), ref, 0))
    return index


def _resolve(index: Index, matchers: list[Matcher], bound: int = 99, epoch: int = 0) -> list[int]:
    return [series.ref for series in resolve(Scope(index, bound, epoch), matchers, None)]


def _takes(matcher: Matcher, labels: Labels) -> bool:
    value = label_value(labels, matcher.name)
    if matcher.op in ("=", "!="):
        return (value == matcher.value) == (matcher.op == "=")
    return (re.fullmatch(matcher.value, value) is not None) == (matcher.op == "=~")


@given(st.lists(_LABELS, unique=True, max_size=30), st.lists(_MATCHERS, max_size=4), st.integers(0, 30))
@settings(max_examples=150)
def test_resolve_finds_what_every_matcher_matches(labels: list[Labels], matchers: list[Matcher], bound: int) -> None:
    """All four operators, patterns that match the empty value included, below the reader's bound."""
    expected = [i for i, one in enumerate(labels) if i < bound and all(_takes(m, one) for m in matchers)]
    assert _resolve(_index(labels), matchers, bound) == expected


@given(st.lists(_LABELS, unique=True, max_size=30), st.sets(st.integers(0, 29)), st.lists(_MATCHERS, max_size=3))
@settings(max_examples=150)
def test_series_that_left_show_in_older_snapshots_only(
    labels: list[Labels], left: set[int], matchers: list[Matcher]
) -> None:
    """A series belongs to the epochs up to the one in which it left."""
    index = _index(labels)
    before = _resolve(index, matchers)
    for ref in left & set(range(len(labels))):
        index.all[ref].until = 3
    assert _resolve(index, matchers, epoch=3) == before
    assert _resolve(index, matchers, epoch=4) == [ref for ref in before if ref not in left]


def test_equal_pairs_are_one_object() -> None:
    """Ten series with the same job share its label pair."""
    index = _index([make_labels(f"m{i}", {"job": "".join(["j", "ob"])}) for i in range(10)])
    assert len({id(pair) for series in index.all for pair in series.labels if pair[0] == "job"}) == 1


def test_patterns_fail_clearly() -> None:
    """A bad pattern and a deadline that has passed are errors of their own."""
    index = _index([make_labels("m", {"job": "a" * 40})])
    with pytest.raises(RegexError):
        _resolve(index, [Matcher("job", "=~", "(")])
    with pytest.raises(RegexTimeout):
        resolve(Scope(index, 9, 0), [Matcher("job", "=~", "(a|aa)+b")], time.monotonic() - 1)
