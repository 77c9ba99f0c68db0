"""Where the supervisor leaves the result of a reload for the aggregator."""

from __future__ import annotations

import time

import msgspec

from prom_probe.config.secret import conceal_hook, reveal_hook
from prom_probe.config.settings import Config
from prom_probe.ring.slot import Slot

# More than a Config takes that could be started with. Pages that are not written take no memory.
_RESULT_BYTES = 1 << 20


class ReloadResult(msgspec.Struct, frozen=True):
    """The newest reload: its number from 1, its error ("" for none), its time, and the settings in force since."""

    number: int
    error: str
    at_s: float  # Unix time
    config: Config


class ReloadSlot:
    """Shared memory: the supervisor publishes, the aggregator reads."""

    def __init__(self) -> None:
        self._slot = Slot(_RESULT_BYTES)
        self._number = 0

    def publish(self, config: Config, error: str = "") -> None:
        """Leave the result of one more reload."""
        self._number += 1
        self._slot.write(
            msgspec.msgpack.encode(ReloadResult(self._number, error, time.time(), config), enc_hook=reveal_hook)
        )

    def read(self) -> ReloadResult | None:
        """The newest result, None before the first reload."""
        value = self._slot.read()
        return msgspec.msgpack.decode(value, type=ReloadResult, dec_hook=conceal_hook) if value else None
