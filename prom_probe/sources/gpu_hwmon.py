"""A graphics card's hwmon directory: temperatures, power, energy, clocks, fan (hwmon/sysfs-interface.rst)."""

import os
from typing import NamedTuple

from prom_probe.sources.drm_card import read_number, read_text


class GpuSensor(NamedTuple):
    kind: str  # "temp", "freq"
    label: str
    path: str  # of the file with its value, in thousandths of a degree or in hertz


def find_hwmon(device: str) -> str | None:
    """The device's first hwmon directory."""
    try:
        names = sorted(os.listdir(f"{device}/hwmon"))
    except OSError:
        return None
    return f"{device}/hwmon/{names[0]}" if names else None


def list_gpu_sensors(hwmon: str) -> list[GpuSensor]:
    """The sensors of temperatures and frequencies."""
    sensors = []
    for name in sorted(os.listdir(hwmon)):
        kind = name[:4]
        if kind in ("temp", "freq") and name.endswith("_input"):
            label = read_text(f"{hwmon}/{name[:-6]}_label") or name[:-6]
            sensors.append(GpuSensor(kind, label, f"{hwmon}/{name}"))
    return sensors


def read_first(hwmon: str, *names: str) -> int | None:
    """The first of these files' readings that exists. Raises as `read_number` does."""
    for name in names:
        value = read_number(f"{hwmon}/{name}")
        if value is not None:
            return value
    return None
