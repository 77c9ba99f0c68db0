"""Watches that match nothing: said once, since a mistyped watch looks like a program that has not begun."""

from __future__ import annotations

from collections.abc import Iterable

from prom_probe.collectors.base import Context

# A process that had not yet executed its program at the first collection is found by the third.
_COLLECTIONS = 3


class Unmatched:
    """The watches that have matched no process yet, until the third collection."""

    def __init__(self, context: Context) -> None:
        self._watches = {watch.name: watch for watch in context.watches if watch.kind != "containers"}
        self._log = context.log
        self._left = _COLLECTIONS

    def forget(self, name: str) -> None:
        """Do not speak of this watch: an earlier worker has."""
        self._watches.pop(name, None)

    def look(self, matched: Iterable[str]) -> None:
        """Called by each collection with the trees that have had a process; the third one's result is logged."""
        if not self._left:
            return
        self._left -= 1
        for name in matched:
            self.forget(name)
        if not self._left:
            for watch in self._watches.values():
                self._log("warn", f"no process matches the watch {watch} so far")
