"""Reading the settings anew while everything runs: all of them are taken, or none."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from prom_probe.config.error import ConfigError
from prom_probe.config.settings import OPTIONS, Config
from prom_probe.config.sources import SettingsSource
from prom_probe.ring.slot import Slot

T = TypeVar("T")

# How long reading may take: the file may be a pipe that nobody writes to.
READ_S = 5.0

# Settings of these sections are the probe workers', which are started again where one of them has changed.
_PROBES = ("watch", "interval", "expose", "collect", "gpu", "scrape", "log")

# More than a configuration can have that was taken at the start; what is not written takes no memory.
_OUTCOME_BYTES = 1 << 20


class Outcome(msgspec.Struct, frozen=True):
    """The newest reload: its number (0 for none), what was wrong ("" for nothing), and the settings in force since."""

    number: int
    error: str
    at_s: float  # wall clock
    config: Config


class Board:
    """Where the supervisor leaves the newest outcome for the aggregator; shared by fork."""

    def __init__(self) -> None:
        self._slot = Slot(_OUTCOME_BYTES)
        self._number = 0

    def publish(self, config: Config, error: str = "") -> None:
        """Say what became of a reload, in the supervisor."""
        self._number += 1
        self._slot.write(msgspec.msgpack.encode(Outcome(self._number, error, time.time(), config)))

    def read(self) -> Outcome | None:
        """The newest outcome, None before the first reload."""
        value = self._slot.read()
        return msgspec.msgpack.decode(value, type=Outcome) if value else None


def read_anew(source: SettingsSource) -> Config:
    """The settings as they are written now. ConfigError where they cannot be used, or take too long to read."""
    return in_child(source.read, Config)


def in_child(work: Callable[[], T], kind: type[T]) -> T:
    """What `work` gives, of a type that msgspec encodes; a ConfigError, or any ValueError of its as one.

    A child does it, so that what it imports is gone afterwards.
    """
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if pid == 0:
        _work_in_child(work, write_fd)
    os.close(write_fd)
    try:
        return _answer(read_fd, pid, kind)
    finally:
        os.close(read_fd)
        os.waitpid(pid, 0)


def _work_in_child(work: Callable[[], object], write_fd: int) -> None:
    """Never returns."""
    try:
        signal.set_wakeup_fd(-1)
        try:
            answer: tuple[object, str] = (work(), "")
        except ValueError as error:
            answer = (None, str(error))
        except Exception as error:
            answer = (None, f"reading the settings failed: {type(error).__name__}: {error}")
        with open(write_fd, "wb") as stream:
            stream.write(msgspec.msgpack.encode(answer))
    finally:
        os._exit(0)


def _answer(read_fd: int, pid: int, kind: type[T]) -> T:
    deadline_s = time.monotonic() + READ_S
    received = b""
    while True:
        ready, _, _ = select.select([read_fd], [], [], max(0.0, deadline_s - time.monotonic()))
        if not ready:
            os.kill(pid, signal.SIGKILL)
            raise ConfigError(f"reading the settings took longer than {READ_S:g} s")
        chunk = os.read(read_fd, 65536)
        if not chunk:
            break
        received += chunk
    try:
        raw, error = msgspec.msgpack.decode(received, type=tuple[msgspec.Raw, str])
        if error:
            raise ConfigError(error, 1)
        return msgspec.msgpack.decode(raw, type=kind)
    except msgspec.DecodeError:
        raise ConfigError("reading the settings ended without a result") from None


def merge(running: Config, wanted: Config) -> tuple[Config, list[str]]:
    """What can be in force now, and the keys whose change has to wait for a restart."""
    fixed = [option for option in OPTIONS if option.restart]
    waiting = [option.key for option in fixed if getattr(running, option.field) != getattr(wanted, option.field)]
    kept = {option.field: getattr(running, option.field) for option in fixed}
    return msgspec.structs.replace(wanted, **kept), waiting


def concerns_probes(before: Config, after: Config) -> bool:
    """Whether a probe worker would do something else."""
    changed: Sequence[str] = [o.key for o in OPTIONS if getattr(before, o.field) != getattr(after, o.field)]
    return any(key.partition(".")[0] in _PROBES for key in changed)
