"""What the watched trees' processes use of DRM devices, by their open files."""

import errno
from collections.abc import Callable
from typing import TypeAlias

from prom_probe.collectors.gpu.source import GpuError, GpuProcess, Trees
from prom_probe.sources.drm_fdinfo import DrmClient, list_drm_fds, read_drm_client
from prom_probe.sources.text import Odd, ignore

# A process's descriptors are listed when it is new and then every 10th collection: that is when a DRM file that it has
# opened since is found.
_LIST_EVERY = 10
_GONE = (FileNotFoundError, ProcessLookupError)


# The last values of a client that is no longer seen are kept for this many collections.
_FORGET = 60

_Engine: TypeAlias = tuple[str, str, str]  # device, client, engine


class _Held:
    """What a process has used so far."""

    def __init__(self) -> None:
        self.fds: list[str] = []
        self.age = 0
        self.engine_ns: dict[tuple[str, str], int] = {}  # by device and engine
        self.cycles: dict[_Engine, tuple[int, int]] = {}


class DrmClients:
    """Call `read` once in each collection."""

    def __init__(self, procfs: str, odd: Odd = ignore) -> None:
        self._procfs = procfs
        self._odd = odd
        self._held: dict[int, _Held] = {}
        # Each client's highest reading, and the last collection that saw it. Only what exceeds it is an increase, even
        # when the client passes from one process to another.
        self._highest: dict[_Engine, tuple[int, int]] = {}
        self._number = 0
        self.denied: list[GpuError] = []

    def read(self, trees: Trees, wants: Callable[[str], bool]) -> dict[str, dict[int, GpuProcess]]:
        """By device and PID. A shared client counts for its first process. `wants` chooses the devices."""
        self.denied = []
        self._number += 1
        pids = [pid for members in trees.values() for pid in members]
        self._held = {pid: self._held.get(pid) or _Held() for pid in pids}
        seen: set[tuple[str, str]] = set()
        found: dict[str, dict[int, GpuProcess]] = {}
        for pid, held in self._held.items():
            for client in self._clients(pid, held):
                key = client.device, client.client
                if key in seen or not wants(client.device):
                    continue
                seen.add(key)
                process = found.setdefault(client.device, {}).setdefault(pid, GpuProcess(0.0, {}, {}))
                process.memory = (process.memory or 0.0) + device_memory(client)
                self._count_time(client, held)
                _count_cycles(client, held, process)
            for (device, engine), ns in held.engine_ns.items():
                process = found.setdefault(device, {}).setdefault(pid, GpuProcess(0.0, {}, {}))
                process.engine_seconds[engine] = ns / 1e9
        if self._number % _FORGET == 0:
            self._highest = {key: seen for key, seen in self._highest.items() if self._number - seen[1] < _FORGET}
        return found

    def _count_time(self, client: DrmClient, held: _Held) -> None:
        for engine, ns in client.engine_ns.items():
            key = client.device, client.client, engine
            highest, _ = self._highest.get(key, (0, 0))
            self._highest[key] = max(ns, highest), self._number
            place = client.device, engine
            held.engine_ns[place] = held.engine_ns.get(place, 0) + max(0, ns - highest)

    def _clients(self, pid: int, held: _Held) -> list[DrmClient]:
        clients = []
        try:
            if held.age % _LIST_EVERY == pid % _LIST_EVERY or not held.age:
                held.fds = list_drm_fds(self._procfs, pid)
            held.age += 1
            for fd in held.fds:
                try:
                    client = read_drm_client(self._procfs, pid, fd, self._odd)
                except _GONE:
                    continue
                if client is not None:
                    clients.append(client)
        except _GONE:
            pass
        except OSError as error:
            code = errno.errorcode.get(error.errno or 0, "READ")
            self.denied.append(GpuError("fdinfo", code, str(error)))
        return clients


def device_memory(client: DrmClient) -> int:
    """Resident bytes in the device's own memory; in all regions where the device has none of its own."""
    regions = client.resident or client.total
    own = [size for region, size in regions.items() if region.startswith(("vram", "local", "device"))]
    return sum(own) if own else sum(regions.values())


def _count_cycles(client: DrmClient, held: _Held, process: GpuProcess) -> None:
    for engine, cycles in client.cycles.items():
        total = client.total_cycles.get(engine)
        if total is None:
            continue
        key = client.device, client.client, engine
        before = held.cycles.get(key)
        held.cycles[key] = cycles, total
        if before is not None and total > before[1]:
            ratio = min(1.0, max(0.0, (cycles - before[0]) / (total - before[1])))
            process.utilization[engine] = process.utilization.get(engine, 0.0) + ratio
