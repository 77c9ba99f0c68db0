"""Reads moments in a thread of its own, so that keys never wait for a source."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

from prom_probe.cli.top.reader import MomentReader
from prom_probe.cli.top.reading import MomentReading, MomentRequest, NoReading


class Asker:
    """One request at a time. `deliver` is called in that thread with its outcome, an exception if it is our own bug.

    The thread does not keep the program from ending: a source may take a minute to answer nothing.
    """

    def __init__(
        self, reader: MomentReader, deliver: Callable[[MomentReading | NoReading | Exception], object]
    ) -> None:
        self._reader = reader
        self._deliver = deliver
        self._requests: SimpleQueue[MomentRequest] = SimpleQueue()
        threading.Thread(target=self._serve, name="top-asker", daemon=True).start()

    def ask(self, request: MomentRequest) -> None:
        """Its outcome will be delivered."""
        self._requests.put(request)

    def _serve(self) -> None:
        while True:
            request = self._requests.get()
            try:
                self._deliver(self._reader.maybe_read(request))
            except Exception as error:
                self._deliver(error)
