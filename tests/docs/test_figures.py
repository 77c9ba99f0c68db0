"""Figures on the pages that are constants of the code."""

from __future__ import annotations

import re

import pytest

from prom_probe.cli.top import minute, rows
from prom_probe.collectors.gpu import feed
from prom_probe.config import planned_target
from prom_probe.config.settings import Config
from prom_probe.history import history
from prom_probe.promql import tokens
from prom_probe.run import kept, probes, supervisor, watchdog
from prom_probe.tsdb import row_head, store, stream
from prom_probe.tsdb.disk import evidence, journal, recovery, wal
from tests.docs.pages import read

CONFIG = Config()
MIB = 1 << 20

# A page, what stands there, and the number in it, in the order of the pages.
FIGURES = (
    ("ARCHITECTURE.md", "a backoff of {} to 30 s", supervisor.BACKOFF_FIRST_S),
    ("ARCHITECTURE.md", "a backoff of 0.1 to {} s", supervisor.BACKOFF_MAX_S),
    ("README.md", "the highest value of the last two minutes", CONFIG.expose_max_window == 120),
    ("docs/api.md", "at most {} processes that have ended", history.MOST_PROCESSES),
    ("docs/api.md", "have ended and {} events", history.MOST_EVENTS),
    ("docs/api.md", "at most {} KiB, 100 nested brackets", tokens.MAX_BYTES >> 10),
    ("docs/api.md", "{} nested brackets", tokens.MAX_NESTING),
    ("docs/api.md", "and {} operators", tokens.MAX_OPERATORS),
    ("docs/gpu.md", "has not returned after {} s", feed.HUNG_S),
    ("docs/gpu.md", "After {} s the worker ends itself", feed.RESTART_S),
    ("docs/gpu.md", "a fault (`HUNG`) after {} s", feed.HUNG_OPEN_S),
    ("docs/gpu.md", "the worker has {} s after SIGTERM", probes.GPU_GRACE_S),
    ("docs/gpu.md", "then {} s after SIGKILL", supervisor.KILLED_S),
    ("docs/metrics.md", "after three beats in one file, {} seconds at least", watchdog.STUCK_S),
    ("docs/scraping.md", "at most {} targets", planned_target._MAX_TARGETS),
    ("docs/storage.md", "A head is closed at {} rows", row_head.MAX_ROWS),
    ("docs/storage.md", "256 rows, at {} MiB", row_head.MAX_BYTES // MIB),
    ("docs/storage.md", "each below {} rows", stream._MERGED_ROWS),
    ("docs/storage.md", "when it spans an eighth of the retention", store._PARTS == 8),
    ("docs/storage.md", "tries again every {} s: with a new segment", journal._RETRY_S),
    ("docs/storage.md", "when the newest one has {} MiB", journal._SEGMENT_BYTES // MIB),
    ("docs/storage.md", "Up to {} KiB of them are written twice", wal.REPEATED_BYTES >> 10),
    ("docs/storage.md", "the newest {}, of 64 MiB in all, are kept", evidence._MOST_FILES),
    ("docs/storage.md", "of {} MiB in all, are kept", evidence._MOST_BYTES // MIB),
    ("docs/storage.md", "Up to {} files are named in the log", recovery.MOST_SAID),
    ("docs/top.md", "within the last three seconds", rows.STARTED_S == 3),
    ("docs/top.md", "within the last five", rows.ENDED_S == 5),
    ("docs/top.md", "are the last minute up to the moment", minute.SECONDS == 60),
    ("docs/troubleshooting.md", "it is tried again every {} s", journal._RETRY_S),
    ("docs/tuning.md", "`--collect.max-processes` ({})", CONFIG.collect_max_processes),
    ("docs/tuning.md", "`--storage.tsdb.max-series` ({})", CONFIG.storage_tsdb_max_series),
    ("docs/wrap-a-command.md", "the newest ten, 500 MB in all", kept.KEPT == 10),
    ("docs/wrap-a-command.md", "the newest ten, {} MB in all", kept.MAX_BYTES // MIB),
)


@pytest.mark.parametrize(("path", "phrase", "figure"), FIGURES)
def test_a_figure_is_the_codes(path: str, phrase: str, figure: float) -> None:
    """One that is written as a word is True where the code has the same."""
    assert figure, f"{path}: {phrase}: the code has another"
    text = re.sub(r"\s+", " ", read(path).prose)
    assert phrase.format(f"{figure:,g}") in text or phrase.format(f"{figure:g}") in text
