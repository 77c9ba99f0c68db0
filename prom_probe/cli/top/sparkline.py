"""A line of blocks as high as the values."""

from __future__ import annotations

from collections.abc import Sequence

_BLOCKS = "▁▂▃▄▅▆▇█"


def sparkline(cells: Sequence[float | None], width: int, top: float) -> str:
    """`width` characters, each as high as the greatest of its values; `top` is the highest, no value a space."""
    return "".join(
        _block(cells[len(cells) * i // width : max(len(cells) * (i + 1) // width, len(cells) * i // width + 1)], top)
        for i in range(width)
    )


def _block(cells: Sequence[float | None], top: float) -> str:
    values = [value for value in cells if value is not None]
    if not values:
        return " "
    share = max(values) / top if top > 0 else 0.0
    return _BLOCKS[max(0, min(len(_BLOCKS) - 1, round(share * len(_BLOCKS)) - 1))]
