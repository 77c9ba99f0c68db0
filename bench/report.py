"""Percentiles and plain tables for the benchmarks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

Row: TypeAlias = tuple[str, ...]


def percentile(values: Sequence[float], quantile: float) -> float:
    """The value at `quantile` (0..1) of the sorted values, nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(quantile * len(ordered)))]


def format_table(head: Row, rows: Sequence[Row]) -> str:
    """A Markdown table."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    return "\n".join(
        "| " + " | ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) + " |"
        for row in [head, tuple("-" * width for width in widths), *rows]
    )


def print_table(head: Row, rows: Sequence[Row]) -> None:
    """The same on standard output."""
    print(format_table(head, rows))
