"""What is kept of a process: when it lived, under which names, and what it used."""

from __future__ import annotations

import signal

import msgspec


class ProcessRecord(msgspec.Struct, array_like=True):
    """A process that has or had series. Its identity is (`tree`, `pid`, `start`). Times are unix seconds.

    `start` is the kernel's, `first` and `last` its first and last sample; `end` is None while it lives. `comm` has all
    its names, in order. Peak and CPU time are of its whole life. `exit_status` or `signal` is known of those that
    prom-probe reaps.
    """

    tree: str
    pid: int
    ppid: int
    comm: list[str]
    cmdline: str | None
    start: float
    first: float
    last: float
    end: float | None = None
    memory_peak_bytes: int = 0
    memory_peak_time: float | None = None
    cpu_seconds: float = 0.0
    exit_status: int | None = None
    signal: int | None = None

    @property
    def how_it_ended(self) -> str:
        """In words."""
        if self.signal is not None:
            return f"killed by {signal_name(self.signal)}"
        return "ended" if self.exit_status is None else f"exited with status {self.exit_status}"


def signal_name(number: int) -> str:
    """Such as SIGKILL."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
