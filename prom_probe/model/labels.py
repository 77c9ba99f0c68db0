"""Labels: the sorted set of label pairs that identifies a series, `__name__` included."""

from collections.abc import Iterable, Mapping
from typing import TypeAlias

METRIC_NAME = "__name__"

# Sorted by label name, no empty values (an empty value means "label absent", as in Prometheus).
Labels: TypeAlias = tuple[tuple[str, str], ...]

EMPTY: Labels = ()


def make_labels(name: str = "", pairs: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> Labels:
    """The Labels of metric `name` ("" for none) with `pairs`; pairs with an empty value are dropped."""
    merged = dict(pairs)
    if name:
        merged[METRIC_NAME] = name
    return tuple(sorted((k, v) for k, v in merged.items() if v != ""))


def label_value(labels: Labels, name: str) -> str:
    """The value of label `name`; "" if the label is absent."""
    for key, value in labels:
        if key == name:
            return value
    return ""


def format_labels(labels: Labels) -> str:
    """`name{a="b"}` as Prometheus prints a series."""
    name = ""
    inner = []
    for key, value in labels:
        if key == METRIC_NAME:
            name = value
        else:
            inner.append(f'{key}="{escape_value(value)}"')
    if not inner:
        return name or "{}"
    return f"{name}{{{', '.join(inner)}}}"


def escape_value(value: str) -> str:
    """A label value as it stands between quotes in the text exposition format."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
