"""Relabelling: each action as Prometheus's own tests of it have them."""

from __future__ import annotations

import msgspec
import pytest

from prom_probe.model.labels import make_labels
from prom_probe.model.relabel import Relabeller, RelabelRule

A = {"a": "foo", "b": "bar", "c": "baz"}


def rule(**keys: object) -> RelabelRule:
    return msgspec.convert(keys, RelabelRule)


@pytest.mark.parametrize(
    ("given", "rules", "expected"),
    [
        (
            A,
            [{"source_labels": ["a"], "regex": "f(.*)", "target_label": "d", "replacement": "ch${1}-ch${1}"}],
            {**A, "d": "choo-choo"},
        ),
        (
            A,
            [
                {"source_labels": ["a", "b"], "regex": "f(.*);(.*)r", "target_label": "a", "replacement": "b${1}${2}m"},
                {
                    "source_labels": ["c", "a"],
                    "regex": "(b).*b(.*)ba(.*)",
                    "target_label": "d",
                    "replacement": "$1$2$2$3",
                },
            ],
            {"a": "boobam", "b": "bar", "c": "baz", "d": "boooom"},
        ),
        ({"a": "foo"}, [{"source_labels": ["a"], "regex": ".*o.*", "action": "drop"}], None),
        ({"a": "foo"}, [{"source_labels": ["a"], "regex": "no-match", "action": "drop"}], {"a": "foo"}),
        ({"a": "foo"}, [{"source_labels": ["a"], "regex": "f|o", "action": "drop"}], {"a": "foo"}),
        ({"a": "foo"}, [{"source_labels": ["a"], "regex": "no-match", "action": "keep"}], None),
        ({"a": "foo"}, [{"source_labels": ["a"], "regex": "f.*", "action": "keep"}], {"a": "foo"}),
        (A, [{"source_labels": ["a"], "regex": "^(foo)", "target_label": "c", "separator": ";"}], {**A, "c": "foo"}),
        ({"a": "foo", "b": "bar"}, [{"regex": "x", "target_label": "a", "replacement": "y"}], {"a": "foo", "b": "bar"}),
        ({"a": "foo", "b": "bar"}, [{"target_label": "a", "replacement": ""}], {"b": "bar"}),
        (
            {"a": "foo"},
            [{"source_labels": ["a"], "target_label": "${1}", "regex": "(f).*", "replacement": "v"}],
            {"a": "foo", "f": "v"},
        ),
        ({"a": "fo o"}, [{"source_labels": ["a"], "target_label": "$1", "replacement": "v"}], {"a": "fo o"}),
        (A, [{"source_labels": ["c"], "target_label": "d", "action": "hashmod", "modulus": 1000}], {**A, "d": "976"}),
        (
            {"a": "foo\nbar"},
            [{"source_labels": ["a"], "target_label": "b", "action": "hashmod", "modulus": 1000}],
            {"a": "foo\nbar", "b": "734"},
        ),
        (
            {"a": "foo", "b1": "bar", "b2": "baz"},
            [{"regex": "(b.*)", "replacement": "bar_${1}", "action": "labelmap"}],
            {"a": "foo", "b1": "bar", "b2": "baz", "bar_b1": "bar", "bar_b2": "baz"},
        ),
        (
            {"a": "foo", "b1": "bar", "b2": "baz"},
            [{"regex": "(b.*)", "action": "labelkeep"}],
            {"b1": "bar", "b2": "baz"},
        ),
        ({"a": "foo", "b1": "bar", "b2": "baz"}, [{"regex": "(b.*)", "action": "labeldrop"}], {"a": "foo"}),
        (
            {"foo": "bAr123Foo"},
            [{"source_labels": ["foo"], "action": "uppercase", "target_label": "u"}],
            {"foo": "bAr123Foo", "u": "BAR123FOO"},
        ),
        (
            {"foo": "bAr123Foo"},
            [{"source_labels": ["foo"], "action": "lowercase", "target_label": "l"}],
            {"foo": "bAr123Foo", "l": "bar123foo"},
        ),
        (
            {"a": "x", "b": "x"},
            [{"source_labels": ["a"], "action": "keepequal", "target_label": "b"}],
            {"a": "x", "b": "x"},
        ),
        ({"a": "x", "b": "y"}, [{"source_labels": ["a"], "action": "keepequal", "target_label": "b"}], None),
        ({"a": "x", "b": "x"}, [{"source_labels": ["a"], "action": "dropequal", "target_label": "b"}], None),
        ({"a": "x"}, [{"regex": "a", "action": "labeldrop"}], {}),
    ],
)
def test_actions(given: dict[str, str], rules: list[dict[str, object]], expected: dict[str, str] | None) -> None:
    """The labels afterwards, None for a dropped series."""
    found = Relabeller([rule(**keys) for keys in rules]).apply(make_labels("", given))
    assert found == (None if expected is None else make_labels("", expected))


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"regex": "("}, "missing closing"),
        ({"action": "hashmod", "target_label": "a"}, "modulus"),
        ({"action": "replace"}, "target_label"),
        ({"action": "explode"}, "Invalid enum value"),
        ({"source": ["a"]}, "unknown field"),
    ],
)
def test_faults(keys: dict[str, object], text: str) -> None:
    """A rule that Prometheus refuses, too."""
    with pytest.raises(msgspec.ValidationError, match=text):
        rule(**keys)
