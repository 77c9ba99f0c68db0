"""What this system can do for a process's priority."""

from __future__ import annotations

import os

import pytest


def has_realtime() -> bool:
    """Whether the C library passes scheduling policies on: musl and macOS do not."""
    try:
        os.sched_getscheduler(0)
    except (AttributeError, OSError):
        return False
    return True


_no_realtime = pytest.mark.skipif(not has_realtime(), reason="the C library has no scheduling policies")
# What a test of priorities other than "normal" is parametrized by.
PRIORITIES = ["high", pytest.param("realtime", marks=_no_realtime)]
