"""/proc/PID/fdinfo/FD of a DRM file: what its client uses (Documentation/gpu/drm-usage-stats.rst)."""

import os
from typing import NamedTuple

from prom_probe.sources.descriptors import read_once
from prom_probe.sources.text import Odd, ignore, number, rows

SOURCE = "/proc/PID/fdinfo"
_TEXTS = frozenset({"pdev", "client-id", "driver"})
_UNITS = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


class DrmClient(NamedTuple):
    device: str  # PCI address, "" where it has none
    client: str  # several descriptors, even of different processes, can belong to one client
    driver: str
    engine_ns: dict[str, int]
    cycles: dict[str, int]
    total_cycles: dict[str, int]
    # Bytes by memory region.
    resident: dict[str, int]
    total: dict[str, int]
    older: dict[str, int]  # resident by an older name, where `resident` does not have it


def list_drm_fds(procfs: str, pid: int) -> list[str]:
    """The descriptors of DRM files. Raises PermissionError; FileNotFoundError or ProcessLookupError if it is gone."""
    directory = f"{procfs}/{pid}/fd"
    found = []
    for fd in os.listdir(directory):
        try:
            if os.readlink(f"{directory}/{fd}").startswith("/dev/dri/"):
                found.append(fd)
        except FileNotFoundError:
            continue  # closed just now
    return found


def read_drm_client(procfs: str, pid: int, fd: str, odd: Odd = ignore) -> DrmClient | None:
    """Raises OSError."""
    return parse_drm_client(read_once(f"{procfs}/{pid}/fdinfo/{fd}"), odd)


def parse_drm_client(data: bytes, odd: Odd = ignore) -> DrmClient | None:
    """None where the driver gives no usage."""
    texts: dict[str, str] = {}
    client = DrmClient("", "", "", {}, {}, {}, {}, {}, {})
    for row in rows(data):
        name, colon, rest = row.partition(b":")
        if not colon or not name.startswith(b"drm-"):
            continue
        key, value = name[4:].decode("ascii", "replace"), rest.strip(b" \t").decode("ascii", "replace")
        if key in _TEXTS:
            texts.setdefault(key, value)
            continue
        try:
            _take(client, key, value)
        except (ValueError, KeyError):
            odd(row)
    if "client-id" not in texts:
        return None
    for region, size in client.older.items():
        client.resident.setdefault(region, size)
    return client._replace(device=texts.get("pdev", ""), client=texts["client-id"], driver=texts.get("driver", ""))


def _take(client: DrmClient, key: str, value: str) -> None:
    if key.startswith("engine-") and not key.startswith("engine-capacity-"):
        client.engine_ns.setdefault(key[7:], _number(value.removesuffix("ns").strip()))
    elif key.startswith("cycles-"):
        client.cycles.setdefault(key[7:], _number(value))
    elif key.startswith("total-cycles-"):
        client.total_cycles.setdefault(key[13:], _number(value))
    elif key.startswith("resident-"):
        client.resident.setdefault(key[9:], _bytes(value))
    elif key.startswith("total-"):
        client.total.setdefault(key[6:], _bytes(value))
    elif key.startswith("memory-"):  # amdgpu's older name for resident
        client.older.setdefault(key[7:], _bytes(value))


def _number(text: str) -> int:
    return number(text.encode("ascii", "replace"))


def _bytes(text: str) -> int:
    value, _, unit = text.partition(" ")
    return _number(value) * _UNITS[unit.strip()]
