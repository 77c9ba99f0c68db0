"""What the supervisor makes before it forks, and every process inherits: rings, slots, doorbells, the settings."""

from __future__ import annotations

import mmap
import os
import time

from prom_probe.aggregate.reload_slot import ReloadSlot
from prom_probe.config.settings import Config
from prom_probe.config.sources import SettingsSource
from prom_probe.log import Log
from prom_probe.model.watch import Watch
from prom_probe.remote.feed_protocol import FeedSockets
from prom_probe.remote.sender_state import SLOT_BYTES as SENDER_SLOT_BYTES
from prom_probe.ring.doorbell import Doorbell
from prom_probe.ring.layout import BEATS, begin_ring, create_ring, reserve_ring, ring_cells
from prom_probe.ring.slot import Slot
from prom_probe.run.board import WorkerBoard
from prom_probe.run.listening import ListeningSocket
from prom_probe.run.probes import PROBES, enabled_probes
from prom_probe.run.watchdog import Roots, Watchdog
from prom_probe.sources.reading import NOTE_BYTES

AGGREGATOR = "aggregator"
SENDER = "remote_write"

_SLOT_BYTES = 256 << 10
_STUCK_BYTES = 64 << 10
_MEMBERS_BYTES = 256 << 10  # 50,000 members
_SUPERVISOR_RING_BYTES = 64 << 10


class Shared:
    """Made by the supervisor; a worker changes only the memory that is its own."""

    def __init__(self, config: Config, log: Log, source: SettingsSource | None = None) -> None:
        self.config = config
        self.source = source or SettingsSource({})  # where a reload reads the settings
        self.log = log
        self.started_s = time.monotonic()
        self.started_at = time.time()
        self.argv: tuple[str, ...] = ()  # COMMAND's
        self.supervisor_pid = os.getpid()
        self.board = WorkerBoard([*PROBES, SENDER, AGGREGATOR])
        log.count_drops(self.board.dropped_cell())
        self.bell = Doorbell()  # the aggregator's: there is something in a ring
        self.reload_bell = Doorbell()  # the supervisor's: a client asks for a reload
        self.reload_slot = ReloadSlot()
        self.rings = {name: reserve_ring(kind.ring_bytes(config)) for name, kind in PROBES.items()}
        self.supervisor_ring = create_ring(_SUPERVISOR_RING_BYTES)  # what it tells the aggregator
        self.slots: dict[str, Slot] = {}  # by probe: what the worker leaves for its successor
        self.wakes: dict[str, Doorbell] = {}  # by probe: collect now
        self.notes: dict[str, memoryview] = {}  # by probe: which file it reads
        self.stuck = Slot(_STUCK_BYTES)  # files that are left out
        self.watchdog = Watchdog(
            Roots(config.path_procfs, config.path_sysfs, config.path_cgroupfs),
            self.notes,
            beats=lambda name: ring_cells(self.rings[name])[BEATS],
            interval_s=lambda name: PROBES[name].interval(self.config),
            told=self.stuck,
        )
        # The sender's: how it asks the aggregator, and where it leaves its cursors and counts.
        self.feed = FeedSockets() if config.destinations else None
        self.sent = Slot(SENDER_SLOT_BYTES)
        self.members = Slot(_MEMBERS_BYTES)  # which process belongs to which tree, for the GPU worker
        self.listeners: list[ListeningSocket] = []
        self.watches: tuple[Watch, ...] = config.watch
        self.exposed_system = True
        self.shows_cmdline = False
        self.tls = False
        self.kept_run: str | None = None  # the directory of this run's samples, if it is kept unasked
        self.unkept_run: str | None = None  # the same, if they are stored for the report alone
        self.make_probe_memory(config)

    @property
    def storage_path(self) -> str | None:
        """The directory of the samples; None for memory alone."""
        return self.config.storage_tsdb_path or self.kept_run or self.unkept_run

    def url(self, listener: ListeningSocket) -> str:
        """How a client on this machine reaches it."""
        return listener.url.replace("http://", "https://", 1) if self.tls else listener.url

    def make_probe_memory(self, config: Config) -> None:
        """Make what the probes that `config` enables need and do not have yet.

        All rings are reserved from the start, because the aggregator has to inherit them; until this makes one, it
        takes no memory.
        """
        for name in enabled_probes(config):
            if name not in self.wakes:
                slot, wake = Slot(_SLOT_BYTES), Doorbell()
                begin_ring(self.rings[name])
                self.notes[name] = memoryview(mmap.mmap(-1, NOTE_BYTES))
                self.slots[name], self.wakes[name] = slot, wake
