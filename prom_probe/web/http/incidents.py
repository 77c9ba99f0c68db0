"""What goes wrong before a request is there: counted, and a line for each kind once a minute."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable

from prom_probe.log import describe_error
from prom_probe.model.meter import Meter
from prom_probe.web import families

_OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_QUIET_S = 60.0


class Incidents:
    """Of all listeners. `now_s` is the monotonic clock."""

    def __init__(
        self, meter: Meter, log: Callable[[str, str], None], now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._meter = meter
        self._log = log
        self._now_s = now_s
        self._quiet_until_s: dict[str, float] = {}
        self._failed = meter.cell(families.ACCEPT_FAILURES.family)
        self._pauses = meter.cell(families.ACCEPT_PAUSES.family)
        self._evicted = meter.cell(families.EVICTED_CONNECTIONS.family)

    def accept_failed(self, error: OSError) -> bool:
        """accept(2) has failed. Whether that was for want of descriptors or memory."""
        self._failed.add()
        self._tell("accept", f"no connection can be accepted for the moment: {error.strerror}")
        return error.errno in _OUT_OF_RESOURCES

    def paused(self, connections: int) -> None:
        """All connections are busy, and no further one is accepted for the moment."""
        self._pauses.add()
        self._tell("pause", f"all {connections} connections of a listener are busy: further clients have to wait")

    def evicted(self) -> None:
        """A connection has been cut off to make room."""
        self._evicted.add()

    def handshake_failed(self, error: BaseException, peer: str) -> None:
        """The TLS handshake with the client `peer` has failed."""
        from prom_probe.web.http.tls import why_it_failed

        self.refused(*why_it_failed(error), peer)

    def refused(self, reason: str, text: str, peer: str) -> None:
        """A client was refused in or right after the TLS handshake; `reason`: the label's value, `text`: in words."""
        self._meter.cell(families.HANDSHAKE_FAILURES.family, reason=reason).add()
        self._tell(reason, f"a TLS handshake with {peer} failed: {text}; further ones are only counted")

    def broke(self, error: BaseException) -> None:
        """A connection could not be set up, for whatever other reason."""
        self._failed.add()
        self._tell("setup", f"a connection could not be set up: {describe_error(error)}")

    def _tell(self, kind: str, message: str) -> None:
        now_s = self._now_s()
        if now_s >= self._quiet_until_s.get(kind, now_s):
            self._quiet_until_s[kind] = now_s + _QUIET_S
            self._log("warn", message)
