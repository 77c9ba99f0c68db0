"""prctl(2): what Linux can do for a process that another one depends on. Elsewhere these functions do nothing."""

from __future__ import annotations

import sys

_SET_PDEATHSIG, _SET_DUMPABLE, _SET_CHILD_SUBREAPER = 1, 4, 36


def die_with_parent(number: int) -> None:
    """Have this process sent signal `number` when its parent is gone. An exec keeps that, but for a setuid program."""
    _prctl(_SET_PDEATHSIG, number)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent has ended."""
    _prctl(_SET_CHILD_SUBREAPER, 1)


def leave_no_core() -> None:
    """Have the kernel write no core of this process, not even to a program that takes cores."""
    _prctl(_SET_DUMPABLE, 0)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
