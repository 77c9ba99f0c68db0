"""What a collector is, and what it is given."""

import os
import time
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple, Protocol

import msgspec

from prom_probe.collectors.odd_rows import OddRows
from prom_probe.model.layout import Layout
from prom_probe.model.run_event import RunEvent
from prom_probe.model.watch import Watch
from prom_probe.sources.descriptors import Descriptors
from prom_probe.sources.patience import read_patiently


class WorkerState(NamedTuple):
    """One of our own processes; `pid` is 0 while it does not run. `probe`: it runs collectors, at `priority`."""

    name: str
    pid: int
    up: bool
    restarts: int
    probe: bool = False


def _no_pids() -> Collection[int]:
    return ()


def _no_workers() -> Sequence[WorkerState]:
    return ()


def _no_peak() -> tuple[str, int]:
    return "", 0


def _no_stuck() -> Sequence[tuple[str, str]]:
    return ()


def _no_members() -> bytes:
    return b""


def _not_published(members: bytes) -> None:
    pass


def _not_told(event: RunEvent) -> None:
    pass


def _no_wake() -> None:
    pass


def _no_log(level: str, message: str) -> None:
    pass


def _online_cpus() -> int:
    return os.sysconf("SC_NPROCESSORS_ONLN")


def _allowed_cpus() -> int:
    return len(os.sched_getaffinity(0))


def _boot_time() -> float:
    """Wall-clock second at which the kernel's start times begin."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    import psutil

    return float(psutil.boot_time())


class Context(msgspec.Struct):
    """What collectors are given: settings, and paths, clocks and units, so that a test can pass its own."""

    watches: tuple[Watch, ...] = ()
    procfs: str = "/proc"
    own_procfs: str = "/proc"  # where our own processes are found by our own PIDs
    priority: str = "normal"  # the priority that probe workers ask for
    sysfs: str = "/sys"
    cgroupfs: str = "/sys/fs/cgroup"
    # Our supervisor and workers: never part of a tree.
    own_pids: Callable[[], Collection[int]] = _no_pids
    read_workers: Callable[[], Sequence[WorkerState]] = _no_workers
    # The worker and the source of each file that is left out because it did not answer.
    read_stuck: Callable[[], Sequence[tuple[str, str]]] = _no_stuck
    # Whether system_* is exposed on /metrics: yes on a host; in a container every pod of the node would repeat it.
    expose_system: bool = True
    expose_per_process: bool = False
    # A process gets local series in this collection of its life, so that a fork storm does not fill the index.
    local_after: int = 3
    # The most processes that get local series; the others count in the trees' sums only.
    max_processes: int = 500
    # Whether command lines are labels of proctree_process_info.
    cmdline: bool = False
    # COMMAND's tree, and once it has ended its peak in bytes: the most that it or a process that it reaped had; else 0.
    command_peak: Callable[[], tuple[str, int]] = _no_peak
    # Whether each thread's files are read, for context switches.
    context_switches: bool = False
    # Seconds between two readings of a process's PSS (0: none), and the resident size above which it is not read.
    pss_interval_s: float = 0.0
    pss_max_rss_bytes: int = 512 << 20
    # Length of the rolling window of the maxima.
    max_window_s: float = 120.0
    # Seconds for which the final counters of a container that is gone are kept.
    hold_s: float = 120.0
    # Each live tree's oldest PID, which the process collector writes for the cgroup collector of the same worker.
    tree_pids: dict[str, int] = {}
    # Each tree's PIDs (`process/membership.py`): the process collector publishes changes, other workers read them.
    publish_members: Callable[[bytes], None] = _not_published
    read_members: Callable[[], bytes] = _no_members
    # Which GPUs are read: "auto", or a row of `gpu/sources.py`.
    gpu: str = "auto"
    # Seconds for which a collection waits for a GPU's driver; a later answer is used by the next collection.
    gpu_patience_s: float = 0.25
    started_s: float = 0.0  # monotonic time of the worker's start; 0 where it is not known
    # Tells the aggregator of an event; never waits.
    happened: Callable[[RunEvent], object] = _not_told
    # Asks for a collection before the next beat is due; any thread may call it.
    wake: Callable[[], None] = _no_wake
    log: Callable[[str, str], None] = _no_log  # level ("info", "warn", "error"), message
    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    # The CPU clock of a process by its PID, ns; None: the kernel's, where procfs has our own PID namespace.
    process_clock: Callable[[int], int] | None = None
    statvfs: Callable[[str], os.statvfs_result] = os.statvfs
    # Reads a file of a process that may never answer.
    read_locked: Callable[[str], bytes] = read_patiently
    supervisor_pid: Callable[[], int] = os.getppid
    online_cpus: Callable[[], int] = _online_cpus
    allowed_cpus: Callable[[], int] = _allowed_cpus
    # Seconds for which a collection waits for a reading that may hang; a later answer is used by a later collection.
    patience_s: float = 0.005
    boot_time: Callable[[], float] = _boot_time
    ticks_per_s: int = os.sysconf("SC_CLK_TCK")
    page_bytes: int = os.sysconf("SC_PAGE_SIZE")
    # The budget of descriptors that the collectors of a worker share.
    descriptors: Descriptors = msgspec.field(default_factory=Descriptors)
    # Counts the odd rows of all sources that the collectors of a process read.
    odd_rows: OddRows = msgspec.field(default_factory=OddRows)

    def __post_init__(self) -> None:
        self.odd_rows.log = lambda level, message: self.log(level, message)


class Collector(Protocol):
    """Reads one subject. Owned by one thread; `layout.row` holds the newest collection until the next."""

    name: str
    layout: Layout

    def collect(self) -> None:
        """Fill `layout.row`. What cannot be read is absent; raises only where nothing can be read."""

    def checkpoint(self) -> bytes:
        """What a successor in another process needs to continue; cheap enough for every beat."""

    def restore(self, state: bytes) -> None:
        """Continue from a predecessor's checkpoint, before the first collection; other bytes are ignored."""

    def close(self) -> None:
        """Close all descriptors."""
