"""The remote write worker: a thread for each destination, so that none waits for another."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence

from prom_probe.config.remote_write import V2, Destination
from prom_probe.config.settings import Config
from prom_probe.log import Log
from prom_probe.model.labels import make_labels
from prom_probe.remote.batch import SentLabels, WriteMessage
from prom_probe.remote.feed_client import FeedClient
from prom_probe.remote.message import Message1
from prom_probe.remote.sender import POLL_S, Sender
from prom_probe.remote.sender_state import StateKeeper
from prom_probe.ring.doorbell import Doorbell
from prom_probe.ring.slot import Slot
from prom_probe.worker_threads import WorkerThreads

JOB = "prom_probe"

_STACK_BYTES = 512 << 10


class Sending:
    """Runs the senders until `stop` and their flush, or until the end of the supervisor."""

    def __init__(self, senders: Sequence[Sender], flush_s: float, *, lifeline: int) -> None:
        self._senders = senders
        self._flush_s = flush_s
        self._lifeline = lifeline
        self._wake = Doorbell()
        self._stopping = False

    def stop(self) -> None:
        """Send what is left, and end; may be called from a signal handler."""
        self._stopping = True
        self._wake.ring()

    def run(self) -> None:
        """Raises the error that has ended one of the threads."""
        threads = WorkerThreads([sender.run for sender in self._senders], _STACK_BYTES, self._wake, self._lifeline)
        while not self._stopping:
            if not threads.wait():
                return
        end_s = time.monotonic() + self._flush_s
        for sender in self._senders:
            sender.stop(end_s)
        threads.join(end_s)


def make_senders(config: Config, sock: socket.socket, slot: Slot, start_ms: int, log: Log) -> list[Sender]:
    """A sender for each destination. `start_ms`: when this run began."""
    keeper = StateKeeper(slot, config.storage_tsdb_path, log)
    client = FeedClient(sock)
    own = make_labels("", {"job": JOB, "instance": instance()})
    return [
        Sender(
            number,
            destination,
            SentLabels(destination, own, config.external_label, make_message(destination)),
            client,
            keeper,
            start_ms=start_ms,
            poll_s=min(POLL_S, config.remote_write_interval),
            retention_s=config.storage_tsdb_retention_time,
            log=log,
        )
        for number, destination in enumerate(config.destinations)
    ]


def make_message(destination: Destination) -> WriteMessage:
    """The message that the destination asks for."""
    if destination.protobuf_message == V2:
        from prom_probe.remote.message_v2 import Message2  # rarely asked for

        return Message2()
    return Message1()


def instance() -> str:
    """The `instance` label: the host's name, which in a pod is the pod's."""
    return socket.gethostname()
