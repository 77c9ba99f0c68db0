"""What befalls a soaking sidecar in the middle third: kills, reloads, a full disk; and clients all the time."""

from __future__ import annotations

import errno
import os
import random
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from tests.support.sidecar import Sidecar
from tests.support.soak.record import Event, Record
from tests.support.strangers import ATTACKS, Address, address_of, connect, send
from tests.support.waiting import DEADLINE_S

SLOW = 40  # Slowloris's connections to each listener

DISK_MB = 16

_CHUNK = bytes(1 << 16)


class Repeated(NamedTuple):
    """Something that is done `first_s` after the begin of each round."""

    first_s: float
    what: str
    worker: str = ""


# A round is two minutes. The aggregator is not killed while the disk is full: what is only in its memory would be lost.
ROUND_S = 120.0
ROUND = (
    Repeated(5, "kill", "process"),
    Repeated(12, "reload", "all"),
    Repeated(20, "disk full"),
    Repeated(25, "kill", "system"),
    Repeated(35, "kill", "scrape"),
    Repeated(50, "disk free"),
    Repeated(60, "reload", "all"),
    Repeated(75, "kill", "aggregator"),
    Repeated(90, "kill", "process"),
    Repeated(92, "reload", "all"),
    Repeated(105, "kill", "aggregator"),
)


def plan(duration_s: float) -> Iterator[tuple[float, Repeated]]:
    """(seconds since the begin, what to do) in the middle third, whole rounds alone; one round at least."""
    rounds = max(1, int(duration_s / 3 // ROUND_S))
    for number in range(rounds):
        for each in ROUND:
            yield duration_s / 3 + number * ROUND_S + each.first_s, each


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of its own; needs root."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


class Trouble:
    """Does to a sidecar what the plan says, and writes it down."""

    def __init__(self, record: Record, sidecar: Sidecar, disk: Path, settings: Path, settings_texts: list[str]) -> None:
        """`settings_texts`: what the settings file has in turn, from one reload to the next."""
        self._record, self._sidecar = record, sidecar
        self._ballast = disk / "ballast"
        self._settings, self._texts = settings, settings_texts
        self._reloads = 0
        self._deeds: dict[str, Callable[[str], bool]] = {
            "kill": self._kill,
            "reload": self._reload,
            "disk full": lambda _: self._fill(),
            "disk free": lambda _: self._free(),
        }

    def do(self, each: Repeated) -> None:
        begun_s = time.time()
        if self._deeds[each.what](each.worker):
            self._record.events.append(Event(begun_s, each.what, each.worker))

    def _kill(self, worker: str) -> bool:
        pid = self._sidecar.worker(worker)
        if pid:
            os.kill(pid, signal.SIGKILL)
        return pid > 0

    def _reload(self, _: str) -> bool:
        """By SIGHUP and by POST in turn."""
        self._reloads += 1
        self._settings.write_text(self._texts[self._reloads % len(self._texts)])
        if self._reloads % 2:
            self._sidecar.process.send_signal(signal.SIGHUP)
        else:
            request = urllib.request.Request(self._sidecar.api + "/-/reload", method="POST")
            urllib.request.urlopen(request, timeout=DEADLINE_S).close()
        return True

    def _fill(self) -> bool:
        with self._ballast.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(_CHUNK)
            except OSError as error:
                assert error.errno == errno.ENOSPC, error
        return True

    def _free(self) -> bool:
        self._ballast.unlink()
        return True


class Slowloris:
    """Connections whose requests never end, made anew as the server closes them."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._sockets: list[socket.socket] = []

    def drip(self) -> None:
        """One byte more on each."""
        for sock in self._sockets[:]:
            sock.setblocking(False)
            with suppress(OSError):
                if sock.recv(1) == b"":
                    self._drop(sock)
                    continue
            if not send(sock, b"G"):
                self._drop(sock)
        while len(self._sockets) < SLOW:
            self._sockets.append(connect(self._address))

    def _drop(self, sock: socket.socket) -> None:
        sock.close()
        self._sockets.remove(sock)

    def close(self) -> None:
        for sock in self._sockets:
            sock.close()


def drip_all(slow: Sequence[Slowloris]) -> None:
    for each in slow:
        each.drip()


def misbehave(sidecar: Sidecar) -> Callable[[], None]:
    """Each call is one attack on one listener, chosen by chance."""
    rng = random.Random(0)
    addresses = [address_of(sidecar.web), address_of(sidecar.api)]

    def attack() -> None:
        rng.choice(ATTACKS)(rng.choice(addresses), rng)

    return attack
