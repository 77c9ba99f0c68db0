"""Relabelling: its rules as the configuration file has them, and what they make of labels, as in Prometheus."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from prom_probe.model.labels import Labels
from prom_probe.model.regex import AnchoredRegex, RegexError, compile_anchored

_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")

RelabelAction = Literal[
    "replace",
    "keep",
    "drop",
    "keepequal",
    "dropequal",
    "hashmod",
    "labelmap",
    "labeldrop",
    "labelkeep",
    "lowercase",
    "uppercase",
]

_Pairs: TypeAlias = dict[str, str]


class RelabelRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rule of `write_relabel_configs` or `metric_relabel_configs`."""

    source_labels: tuple[str, ...] = ()
    separator: str = ";"
    regex: str = "(.*)"
    modulus: int = 0
    target_label: str = ""
    replacement: str = "$1"
    action: RelabelAction = "replace"

    def __post_init__(self) -> None:
        try:
            compile_anchored(self.regex)
        except RegexError as error:
            raise ValueError(str(error)) from None
        if self.action == "hashmod" and self.modulus <= 0:
            raise ValueError("hashmod needs a modulus above 0")
        if self.action not in ("keep", "drop", "labelmap", "labeldrop", "labelkeep") and not self.target_label:
            raise ValueError(f"{self.action} needs a target_label")


class _Step(NamedTuple):
    rule: RelabelRule
    regex: AnchoredRegex

    def source(self, pairs: _Pairs) -> str:
        return self.rule.separator.join(pairs.get(name, "") for name in self.rule.source_labels)


class Relabeller:
    """The rules in their order, ready to be applied."""

    def __init__(self, rules: Sequence[RelabelRule]) -> None:
        self._steps = [_Step(rule, compile_anchored(rule.regex)) for rule in rules]

    def apply(self, labels: Labels) -> Labels | None:
        """The labels that come out, sorted; None if the series is dropped."""
        pairs = dict(labels)
        for step in self._steps:
            if not _ACTIONS[step.rule.action](step, pairs):
                return None
        return tuple(sorted((name, value) for name, value in pairs.items() if value))


def _keep(step: _Step, pairs: _Pairs) -> bool:
    return step.regex.matches(step.source(pairs))


def _drop(step: _Step, pairs: _Pairs) -> bool:
    return not step.regex.matches(step.source(pairs))


def _keepequal(step: _Step, pairs: _Pairs) -> bool:
    return pairs.get(step.rule.target_label, "") == step.source(pairs)


def _dropequal(step: _Step, pairs: _Pairs) -> bool:
    return not _keepequal(step, pairs)


def _replace(step: _Step, pairs: _Pairs) -> bool:
    match = step.regex.fullmatch(step.source(pairs))
    if match is None:
        return True
    target = step.regex.expand(step.rule.target_label, match)
    if not _LABEL_NAME.fullmatch(target):
        return True
    _set(pairs, target, step.regex.expand(step.rule.replacement, match))
    return True


def _lowercase(step: _Step, pairs: _Pairs) -> bool:
    _set(pairs, step.rule.target_label, step.source(pairs).lower())
    return True


def _uppercase(step: _Step, pairs: _Pairs) -> bool:
    _set(pairs, step.rule.target_label, step.source(pairs).upper())
    return True


def _hashmod(step: _Step, pairs: _Pairs) -> bool:
    """The last eight bytes of the MD5 sum, big-endian, modulo `modulus`."""
    from hashlib import md5  # it loads OpenSSL: 3 MB

    digest = md5(step.source(pairs).encode(), usedforsecurity=False).digest()
    _set(pairs, step.rule.target_label, str(int.from_bytes(digest[8:], "big") % step.rule.modulus))
    return True


def _labelmap(step: _Step, pairs: _Pairs) -> bool:
    for name, value in list(pairs.items()):
        match = step.regex.fullmatch(name)
        if match is not None:
            _set(pairs, step.regex.expand(step.rule.replacement, match), value)
    return True


def _labeldrop(step: _Step, pairs: _Pairs) -> bool:
    for name in list(pairs):
        if step.regex.matches(name):
            del pairs[name]
    return True


def _labelkeep(step: _Step, pairs: _Pairs) -> bool:
    for name in list(pairs):
        if not step.regex.matches(name):
            del pairs[name]
    return True


def _set(pairs: _Pairs, name: str, value: str) -> None:
    """An empty value removes the label."""
    if value:
        pairs[name] = value
    else:
        pairs.pop(name, None)


# What each action does; False drops the series.
_ACTIONS: dict[str, Callable[[_Step, _Pairs], bool]] = {
    "replace": _replace,
    "keep": _keep,
    "drop": _drop,
    "keepequal": _keepequal,
    "dropequal": _dropequal,
    "hashmod": _hashmod,
    "labelmap": _labelmap,
    "labeldrop": _labeldrop,
    "labelkeep": _labelkeep,
    "lowercase": _lowercase,
    "uppercase": _uppercase,
}
