"""What identifies a process to a person: its parent and its command line, as labels of proctree_process_info."""

from __future__ import annotations

from collections.abc import Callable

from prom_probe.collectors.process.process import Process
from prom_probe.model.printable import shorten
from prom_probe.sources.proc_pid_cmdline import parse_proc_pid_cmdline

# Characters of a command line that a label holds.
CMDLINE_MOST = 256


def cmdline_label(data: bytes) -> str:
    """/proc/PID/cmdline as a label: arguments separated by spaces, without control characters, of a limited length."""
    text = " ".join(parse_proc_pid_cmdline(data))
    return shorten("".join(char if char.isprintable() else _escape(char) for char in text), CMDLINE_MOST)


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode()


def read_cmdline(process: Process, say: Callable[[str], None]) -> None:
    """Read the command line of a process; one that is gone, denied or hangs keeps what it had. `say` logs a hang."""
    process.cmdline_due = False
    try:
        data = process.files.cmdline()
    except TimeoutError as error:
        process.cmdline_due = True
        say(str(error))
        return
    except OSError:
        return
    if data:  # a zombie has none any more
        process.cmdline = cmdline_label(data)
