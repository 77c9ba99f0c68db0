"""A source: what a SOURCE of the command line names, a running API or what a run has stored."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from prom_probe.cli.error import ClientError

if TYPE_CHECKING:
    from prom_probe.history.process_record import ProcessRecord
    from prom_probe.history.run_info import RunInfo
    from prom_probe.model.run_event import RunEvent

METAVAR = "SOURCE"
HELP = "a URL, a directory of a stored run, @last, @2 (the one before) and so on, or the name of a kept run"

_URL = re.compile(r"(https?://|unix:).*")
_NTH = re.compile(r"@(last|[1-9][0-9]{0,3})")


class Source(Protocol):
    """Answers what a run was. Times are Unix seconds, None for all that is stored; methods raise ClientError."""

    def now_s(self) -> float:
        """What `now` means: the present, or the last moment of what is stored."""

    def query(self, expr: str, time_s: float) -> bytes:
        """The query API's JSON for the expression at one time."""

    def query_range(self, expr: str, start_s: float, end_s: float, step_s: float) -> bytes:
        """The query API's JSON for the expression every `step_s`."""

    def metric_names(self) -> list[str]:
        """The names of all metrics, sorted."""

    def stored_span(self) -> tuple[float, float] | None:
        """The times of the oldest and the newest sample; None for no samples, or if the API does not tell."""

    def run(self) -> RunInfo:
        """What is watched, since when, and how it ended."""

    def processes(self, start_s: float | None = None, end_s: float | None = None) -> list[ProcessRecord]:
        """The processes that had samples in a time range, largest memory peak first."""

    def events(
        self, start_s: float | None = None, end_s: float | None = None, types: Sequence[str] = ()
    ) -> list[RunEvent]:
        """What happened in a time range, oldest first; no types: of any."""


def open_source(text: str) -> Source:
    """The source that `text` names. Raises ClientError if there is none, ConfigError if it cannot be read."""
    if _URL.fullmatch(text):
        from prom_probe.cli.client import ApiSource

        return ApiSource(text)
    return _open_directory(directory_of(text))


def lasting_name(text: str) -> str:
    """A URL or a directory that stays the source which `text` names now; @last is another one with the next run."""
    return text if _URL.fullmatch(text) else os.path.abspath(directory_of(text))


def _open_directory(path: str) -> Source:
    from prom_probe.tsdb.disk import api_file, folder

    if folder.is_written(path) and (url := api_file.read(path)):
        from prom_probe.cli.client import ApiSource

        return ApiSource(url)
    from prom_probe.cli.stored import StoredSource

    return StoredSource(path)


def directory_of(text: str) -> str:
    from prom_probe.run.kept import list_runs, runs_folder, why_none

    folder = runs_folder()
    if match := _NTH.fullmatch(text):
        runs = list_runs(folder)
        number = 1 if match[1] == "last" else int(match[1])
        if number > len(runs):
            kept = f"only {len(runs)} {'run is' if len(runs) == 1 else 'runs are'} kept"
            raise ClientError(f"{text}: {kept if runs else why_none()}", 2)
        return runs[number - 1].path
    if os.path.isdir(text):
        return text
    if folder is not None and "/" not in text and os.path.isdir(os.path.join(folder, text)):
        return os.path.join(folder, text)
    raise ClientError(f"no such source: {text!r} is not {HELP}", 2)
