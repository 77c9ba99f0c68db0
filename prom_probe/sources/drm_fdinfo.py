"""/proc/PID/fdinfo/FD of a DRM file: what its client uses (Documentation/gpu/drm-usage-stats.rst)."""

import os
from typing import NamedTuple

from prom_probe.sources.descriptors import read_once
from prom_probe.sources.errors import ParseError

SOURCE = "/proc/PID/fdinfo"
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


def read_drm_client(procfs: str, pid: int, fd: str) -> DrmClient | None:
    """Raises OSError, ParseError."""
    return parse_drm_client(read_once(f"{procfs}/{pid}/fdinfo/{fd}"))


def parse_drm_client(data: bytes) -> DrmClient | None:
    """None where the driver gives no usage. Raises ParseError."""
    fields = {}
    for line in data.decode("ascii", "replace").splitlines():
        key, colon, value = line.partition(":")
        if colon and key.startswith("drm-"):
            fields[key[4:]] = value.strip()
    if "client-id" not in fields:
        return None
    client = DrmClient(fields.get("pdev", ""), fields["client-id"], fields.get("driver", ""), {}, {}, {}, {}, {})
    try:
        for key, value in fields.items():
            _take(client, key, value)
    except (ValueError, KeyError):
        raise ParseError(SOURCE, data) from None
    return client


def _take(client: DrmClient, key: str, value: str) -> None:
    if key.startswith("engine-") and not key.startswith("engine-capacity-"):
        client.engine_ns[key[7:]] = int(value.removesuffix("ns"))
    elif key.startswith("cycles-"):
        client.cycles[key[7:]] = int(value)
    elif key.startswith("total-cycles-"):
        client.total_cycles[key[13:]] = int(value)
    elif key.startswith("resident-"):
        client.resident[key[9:]] = _bytes(value)
    elif key.startswith("total-"):
        client.total[key[6:]] = _bytes(value)
    elif key.startswith("memory-"):  # amdgpu's older name for resident
        client.resident.setdefault(key[7:], _bytes(value))


def _bytes(text: str) -> int:
    number, _, unit = text.partition(" ")
    return int(number) * _UNITS[unit.strip()]
