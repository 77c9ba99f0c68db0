"""/sys/class/hwmon, /sys/class/thermal: temperatures (Documentation/hwmon/sysfs-interface.rst, driver-api/thermal)."""

import os
from collections.abc import Iterator
from typing import NamedTuple

from prom_probe.sources.descriptors import read_once
from prom_probe.sources.errors import ParseError

SOURCE = "/sys/class/hwmon"


class Sensor(NamedTuple):
    name: str  # unique on the machine, such as "coretemp Package id 0"
    path: str  # of the file with its temperature


def list_sensors(sysfs: str) -> list[Sensor]:
    """The sensors of hwmon, then thermal zones that it does not show. Raises FileNotFoundError if there are none."""
    found: dict[str, str] = {}
    chips: set[str] = set()
    for chip in _entries(f"{sysfs}/class/hwmon", "hwmon"):
        kind = _word(f"{chip}/name") or os.path.basename(chip)
        chips.add(kind)
        for number in _temperatures(chip):
            label = _word(f"{chip}/temp{number}_label") or f"temp{number}"
            places = (_device(chip), f"{os.path.basename(chip)} temp{number}")
            _add(found, f"{kind} {label}", places, f"{chip}/temp{number}_input")
    for zone in _entries(f"{sysfs}/class/thermal", "thermal_zone"):
        kind = _word(f"{zone}/type") or os.path.basename(zone)
        if kind not in chips:
            _add(found, kind, (os.path.basename(zone),), f"{zone}/temp")
    if not found:
        raise FileNotFoundError(2, "no temperature is shown", f"{sysfs}/class/hwmon")
    return [Sensor(name, path) for name, path in found.items()]


def read_temperature(path: str) -> int:
    """Thousandths of a degree Celsius. Raises OSError (such as that of a sleeping disk), ParseError."""
    return parse_temperature(read_once(path))


def parse_temperature(data: bytes) -> int:
    """Raises ParseError."""
    try:
        return int(data)
    except ValueError:
        raise ParseError(SOURCE, data) from None


def _add(found: dict[str, str], name: str, places: tuple[str, ...], path: str) -> None:
    """Add a sensor; where its name is taken, with the first of its places that makes another one of it."""
    names = (name, *(f"{name} {place}" for place in places))
    found.setdefault(next((each for each in names if each not in found), name), path)


def _entries(directory: str, prefix: str) -> Iterator[str]:
    try:
        names = os.listdir(directory)
    except OSError:
        return
    for name in sorted(names, key=lambda name: (len(name), name)):
        if name.startswith(prefix):
            yield f"{directory}/{name}"


def _temperatures(chip: str) -> list[int]:
    try:
        names = os.listdir(chip)
    except OSError:
        return []
    numbers = (name[4:-6] for name in names if name.startswith("temp") and name.endswith("_input"))
    return sorted(int(number) for number in numbers if number.isdigit())


def _device(chip: str) -> str:
    """The name of the device that the chip belongs to, "nvme0"."""
    device = f"{chip}/device"
    return os.path.basename(os.path.realpath(device) if os.path.exists(device) else chip)


def _word(path: str) -> str:
    try:
        return read_once(path).strip().decode("utf-8", "backslashreplace")
    except OSError:
        return ""
