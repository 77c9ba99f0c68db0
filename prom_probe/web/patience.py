"""A loop that stays awake for a moment after an answer: clients that ask back to back are answered sooner."""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

# What a client takes from an answer to its next request. To sleep and to be woken costs as much again, and what comes
# after it finds the processor's caches cold.
PATIENCE_S = 0.0002

Events: TypeAlias = list[tuple[selectors.SelectorKey, int]]


class PatientSelector(selectors.DefaultSelector):
    """Sleeps until something comes, unless more is expected: then it looks again and again for a moment first."""

    def __init__(self) -> None:
        super().__init__()
        self._until = 0.0

    def expect(self) -> None:
        """Be awake for PATIENCE_S from now on, or until something comes."""
        self._until = time.monotonic() + PATIENCE_S

    def select(self, timeout: float | None = None) -> Events:
        if self._until and (timeout is None or timeout > 0):
            until, self._until = self._until, 0.0
            while time.monotonic() < until:
                if found := super().select(0):
                    return found
        return super().select(timeout)


def run(serve: Callable[[Callable[[], None]], Coroutine[Any, Any, None]]) -> None:
    """Run a loop that serves; `serve` is given the selector's `expect`."""
    selector = PatientSelector()
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
        runner.run(serve(selector.expect))
