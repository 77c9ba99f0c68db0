"""Opening a store's folder: to go on writing there, or to read it as it is."""

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
    """What the folder holds, and what makes the journal, once the series are known. Raises StorageError."""
    folder = folders.open_to_write(path)
    try:
        found = recover(folder, max_series, report, repair=True)
    except BaseException:
        folder.close()
        raise
    return found, partial(Journal, folder, found, report)


def read(path: str, report: Report) -> RecoveredStore:
    """What the folder holds; nothing of it is changed. Raises StorageError."""
    folder = folders.open_to_read(path)
    try:
        return recover(folder, _ALL, report, repair=False)
    finally:
        folder.close()
