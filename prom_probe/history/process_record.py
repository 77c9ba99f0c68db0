"""What is kept of a process: when it lived, under which names, and what it used."""

from __future__ import annotations

import signal

import msgspec

# Names that are kept of a process, some of which take another one with each task.
MOST_NAMES = 16


class ProcessRecord(msgspec.Struct, array_like=True):
    """A process that has or had series. Its identity is (`tree`, `pid`, `start`). Times are unix seconds.

    `start` is the kernel's, `first` and `last` its first and last sample; `end` is None while it lives. `comm` has its
    first name and the others in the order in which it had them last, at most MOST_NAMES; `cmdline` is its last command
    line. Peak and CPU time are of its whole life. `exit_status` or `signal` is known of those that prom-probe reaps.

    `memory_peak_comm` and `memory_peak_cmdline` are its name and command line at the peak where another name or program
    followed, `first_cmdline` its first command line where it is not the last; else they are None.
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
    memory_peak_comm: str | None = None
    memory_peak_cmdline: str | None = None
    first_cmdline: str | None = None

    def note_peak(self, size: int, t: float) -> None:
        """It has more memory than ever, under its last name."""
        self.memory_peak_bytes, self.memory_peak_time = size, t
        self.memory_peak_comm = self.memory_peak_cmdline = None

    def rename(self, comm: str) -> None:
        """From now on it has this name."""
        if comm != self.comm[-1]:
            self._keep_names_at_peak()
            first, *others = self.comm
            others = [name for name in others if name not in (first, comm)]
            self.comm = [first, *others[2 - MOST_NAMES :], comm]

    def change_cmdline(self, cmdline: str) -> None:
        """From now on it has this command line."""
        if self.cmdline is not None and cmdline != self.cmdline:
            self._keep_names_at_peak()
            self.first_cmdline = self.first_cmdline or self.cmdline
        self.cmdline = cmdline

    def _keep_names_at_peak(self) -> None:
        if self.memory_peak_comm is None and self.memory_peak_bytes:
            self.memory_peak_comm, self.memory_peak_cmdline = self.comm[-1], self.cmdline

    @property
    def names_at_peak(self) -> tuple[str, str | None]:
        """Its name and command line when it had the most memory."""
        if self.memory_peak_comm is not None:
            return self.memory_peak_comm, self.memory_peak_cmdline
        return (self.comm[-1] if self.comm else ""), self.cmdline

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
