"""Standard streams that cannot be written: an error status, as `cat` has it, and never a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from prom_probe.cli.error import fail
from prom_probe.run.inheritance import fill_standard_streams


@contextmanager
def checked_streams() -> Iterator[None]:
    """What is printed within is written at its end; if it cannot be, this exits with 1 and says why."""
    fill_standard_streams()
    if sys.stdout is None:  # it was closed: writing to it fails, and that is told as for any other
        sys.stdout = open(os.open(os.devnull, os.O_RDONLY), "w")  # noqa: SIM115
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        sys.exit(1)  # who has closed it knows
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}" if error.filename else f"cannot write: {error.strerror}", 1)
    finally:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and not _flushed(stream):
                _discard(stream)


def _flushed(stream: TextIO) -> bool:
    """Whether all that was printed to it is written."""
    try:
        stream.flush()
    except OSError:
        return False
    return True


def _discard(stream: TextIO) -> None:
    """Write what is left of it to /dev/null: the interpreter's end would fail over it."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
