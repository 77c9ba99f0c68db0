"""The run itself: what is watched, since when, and how it ended; on disk the file `run.json`."""

from __future__ import annotations

import msgspec

from prom_probe.history.process_record import signal_name


class RunInfo(msgspec.Struct):
    """Times are unix seconds. Without a COMMAND `command` is None; of one whose command line is not to be shown it has
    the program alone. `end` is None while the run lasts; status, signal and `duration` are COMMAND's, `cpu_seconds` the
    CPU time of it and the children that it waited for."""

    command: list[str] | None = None
    host: str = ""
    start: float = 0.0
    end: float | None = None
    exit_status: int | None = None
    signal: int | None = None
    duration: float | None = None
    cpu_seconds: float | None = None
    trees: list[str] = []
    interval: float = 1.0
    version: str = ""

    @property
    def how_it_ended(self) -> str:
        """In words; "" if that is not known."""
        if self.signal is not None:
            return f"killed by {signal_name(self.signal)}"
        return "" if self.exit_status is None else f"exit status {self.exit_status}"


def maybe_run_info(data: bytes) -> RunInfo | None:
    """What a file `run.json` says; None if there is none, or if it is damaged."""
    try:
        return msgspec.json.decode(data, type=RunInfo) if data else None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
