"""Opening a store's folder: to continue writing there, or only to read it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from prom_probe.tsdb.disk import folder as folders
from prom_probe.tsdb.disk.journal import Journal
from prom_probe.tsdb.disk.recovery import RecoveredStore, recover

if TYPE_CHECKING:
    from prom_probe.tsdb.index import IndexedSeries

Report: TypeAlias = Callable[[str, str], None]

_ALL = 1 << 62


def open_to_write(
    path: str, max_series: int, report: Report
) -> tuple[RecoveredStore, Callable[[Callable[[], Sequence[IndexedSeries]]], Journal]]:
    """The folder's content, and a function that makes the journal from the index's series. Raises StorageError."""
    folder = folders.open_to_write(path)
    try:
        found = recover(folder, max_series, report, repair=True)
    except BaseException:
        folder.close()
        raise
    return found, partial(Journal, folder, found, report)


def read(path: str, report: Report) -> RecoveredStore:
    """The folder's content; nothing is changed. Raises StorageError."""
    folder = folders.open_to_read(path)
    try:
        return recover(folder, _ALL, report, repair=False)
    finally:
        folder.close()
