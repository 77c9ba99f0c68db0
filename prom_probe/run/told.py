"""What the supervisor tells the aggregator, through a ring of its own: whom it reaped, which worker it restarts."""

from __future__ import annotations

import os
import time

from prom_probe.model.run_event import RunEvent
from prom_probe.ring.codec import Frame, Happened, Reaped, encode
from prom_probe.ring.doorbell import Doorbell
from prom_probe.ring.producer import Producer
from prom_probe.run.command import CommandExit


class ToldAggregator:
    """Never waits: what finds the ring full is dropped, and counted there."""

    def __init__(self, ring: memoryview, bell: Doorbell) -> None:
        self._producer = Producer(ring, bell)

    def reaped(self, pid: int, status: int) -> None:
        """A process that is no worker of ours ended with this wait status."""
        if os.WIFSIGNALED(status):
            self._push(Reaped(pid, time.time(), None, os.WTERMSIG(status)))
        else:
            self._push(Reaped(pid, time.time(), os.WEXITSTATUS(status), None))

    def command_ended(self, pid: int, ended: CommandExit) -> None:
        """COMMAND ended."""
        status, signal = None if ended.killed_by else ended.status, ended.killed_by or None
        self._push(Reaped(pid, time.time(), status, signal, True, ended.duration_s, ended.cpu_seconds))

    def worker_restarts(self, worker: str, how: str) -> None:
        """A worker has ended that was not to end."""
        self._push(Happened(RunEvent(time.time(), "worker_restart", text=f"{worker} worker ended: {how}")))

    def _push(self, frame: Frame) -> None:
        self._producer.push(encode(frame))
