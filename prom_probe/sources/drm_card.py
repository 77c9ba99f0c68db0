"""/sys/class/drm/cardN: which graphics cards there are, and whether they sleep (Documentation/power/runtime_pm.rst)."""

import os
from typing import NamedTuple

from prom_probe.sources.descriptors import read_once
from prom_probe.sources.errors import ParseError
from prom_probe.sources.gpu_detect import drm_driver, drm_vendor, is_card


class DrmCard(NamedTuple):
    number: str
    source: str  # see `gpu_detect.drm_vendor`
    path: str  # .../cardN
    device: str  # .../cardN/device
    driver: str
    address: str  # on PCI, "0000:03:00.0"; else the device's name


def list_cards(sysfs: str) -> list[DrmCard]:
    """The cards in the order of their numbers; none on a machine without DRM."""
    try:
        names = [name for name in os.listdir(f"{sysfs}/class/drm") if is_card(name)]
    except OSError:
        return []
    cards = []
    for name in sorted(names, key=lambda name: int(name[4:])):
        source = drm_vendor(sysfs, name)
        if source:
            path = f"{sysfs}/class/drm/{name}"
            device = f"{path}/device"
            cards.append(DrmCard(name[4:], source, path, device, drm_driver(device), _address(device)))
    return cards


def read_suspended(device: str) -> bool | None:
    """Whether runtime power management has suspended the device, or is about to; None where it is not known.

    Reading this does not wake it; reading a sensor may.
    """
    try:
        status = read_once(f"{device}/power/runtime_status").strip()
    except OSError:
        return None
    return None if status in (b"unsupported", b"error") else status in (b"suspended", b"suspending")


def read_text(path: str) -> str:
    """A file's only line; "" where it cannot be read."""
    try:
        return read_once(path).decode("utf-8", "backslashreplace").strip()
    except OSError:
        return ""


def read_number(path: str) -> int | None:
    """A file's only number, an integer; None where there is no such file or the device has no such reading now.

    Raises PermissionError and other OSErrors of readings that should exist, ParseError.
    """
    try:
        data = read_once(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno in _NO_READING:
            return None
        raise
    try:
        return int(data)
    except ValueError:
        raise ParseError(path, data) from None


# ENODATA, EOPNOTSUPP, EINVAL: this model has no such sensor; EBUSY: it is about to sleep.
_NO_READING = (61, 95, 22, 16)


def _address(device: str) -> str:
    for line in read_text(f"{device}/uevent").split("\n"):
        if line.startswith("PCI_SLOT_NAME="):
            return line[14:]
    return os.path.basename(os.path.realpath(device))
