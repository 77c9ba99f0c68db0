"""A process as `top` lists it at one moment."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

# A PID can be used again: a process is its PID and its start, in hundredths of a second as the kernel tells it.
ProcessKey: TypeAlias = tuple[int, int]


class ProcessRow(NamedTuple):
    """None stands for what is not known. `start` is in Unix seconds, memory in bytes, `cpu` in CPUs, `read` and
    `write` in bytes a second, `age` in seconds. One that has ended has its end and its peak. `note`: what else there is
    to say of it."""

    pid: int
    start: float
    name: str
    ppid: int | None = None
    command_line: str | None = None
    memory: float | None = None
    cpu: float | None = None
    read: float | None = None
    write: float | None = None
    threads: float | None = None
    descriptors: float | None = None
    peak: float | None = None
    age: float | None = None
    end: float | None = None
    mark: Literal["", "started", "zombie", "ended"] = ""
    note: str = ""

    @property
    def key(self) -> ProcessKey:
        return process_key(self.pid, self.start)


def process_key(pid: int, start_s: float) -> ProcessKey:
    return pid, round(start_s * 100)
