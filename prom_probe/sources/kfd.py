"""/sys/class/kfd/kfd: what ROCm processes use, by the machine's PIDs (drivers/gpu/drm/amd/amdkfd).

`sdma_*` is not read: reading it stops the queues for a moment.
"""

import os

from prom_probe.sources.descriptors import read_once
from prom_probe.sources.drm_card import read_number
from prom_probe.sources.text import number, rows


def read_kfd_addresses(sysfs: str) -> dict[str, str]:
    """PCI addresses by gpu_id."""
    nodes = f"{sysfs}/class/kfd/kfd/topology/nodes"
    addresses = {}
    try:
        names = os.listdir(nodes)
    except OSError:
        return {}
    for name in names:
        try:
            gpu_id = read_number(f"{nodes}/{name}/gpu_id")
            fields = parse_kfd_properties(read_once(f"{nodes}/{name}/properties"))
        except (OSError, ValueError):
            continue
        location = fields.get("location_id", 0)
        if gpu_id:
            addresses[str(gpu_id)] = (
                f"{fields.get('domain', 0):04x}:{location >> 8 & 0xFF:02x}:{location >> 3 & 0x1F:02x}.{location & 7}"
            )
    return addresses


def parse_kfd_properties(data: bytes) -> dict[str, int]:
    """Rows of a name and a number; other rows are skipped."""
    fields: dict[str, int] = {}
    for row in rows(data):
        name, _, value = row.partition(b" ")
        try:
            fields.setdefault(name.decode("ascii", "replace"), number(value.strip(b" ")))
        except ValueError:
            continue
    return fields


def read_kfd_memory(sysfs: str) -> dict[str, dict[int, int]]:
    """Bytes of device memory by gpu_id and host PID; empty on a machine without KFD. Raises OSError."""
    root = f"{sysfs}/class/kfd/kfd/proc"
    used: dict[str, dict[int, int]] = {}
    try:
        pids = os.listdir(root)
    except FileNotFoundError:
        return {}
    for pid in pids:
        try:
            names = os.listdir(f"{root}/{pid}")
        except OSError:
            continue  # it has just ended
        for name in names:
            if pid.isdigit() and name.startswith("vram_"):
                value = read_number(f"{root}/{pid}/{name}")
                if value is not None:
                    used.setdefault(name[5:], {})[int(pid)] = value
    return used
