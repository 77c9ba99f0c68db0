"""The files of a history beside the samples: `history`, appended to and now and then written anew, and `run.json`."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prom_probe.tsdb.disk.folder import HISTORY, RUN
from prom_probe.tsdb.disk.record_file import SideFileJob, file_of, frame
from prom_probe.tsdb.store import Store

# `history` is written anew once it has grown by as much as it had, and by this.
_GROWTH_BYTES = 1 << 20


class HistoryFile:
    """Loaded only where there is a path. Another thread writes; what has failed is written anew with the next flush."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._run = b""
        self._unwritten: list[bytes] = []
        self._jobs: list[SideFileJob] = []  # not known to be over
        self._whole_bytes = self._appended_bytes = 0
        self._anew = True

    def add(self, payload: bytes) -> None:
        """A record, which the next flush appends."""
        self._unwritten.append(payload)

    def write_run(self, data: bytes) -> None:
        self._run = data
        self._keep(RUN, data, append=False)

    def flush(self, everything: Callable[[], Iterable[bytes]]) -> None:
        """Append what was added; or write `everything`, where that is due."""
        if any(job.failed for job in self._jobs):
            self._anew = True
            self.write_run(self._run)
        self._jobs = [job for job in self._jobs if not job.over]
        unwritten, self._unwritten = self._unwritten, []
        if self._anew or self._appended_bytes > max(_GROWTH_BYTES, self._whole_bytes):
            self._anew = False
            data = file_of(everything())
            self._whole_bytes, self._appended_bytes = len(data), 0
            self._keep(HISTORY, data, append=False)
        elif unwritten:
            data = b"".join(map(frame, unwritten))
            self._appended_bytes += len(data)
            self._keep(HISTORY, data, append=True)

    def _keep(self, name: str, data: bytes, *, append: bool) -> None:
        job = self._store.keep_beside(name, data, append=append)
        if job is not None:
            self._jobs.append(job)
