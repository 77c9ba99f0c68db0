"""Which vendors' GPUs a machine has, from files alone: no driver is loaded or opened.

`/dev/nvidia*` is not evidence: run as root, NVML makes `/dev/nvidiactl` even without a driver.
"""

import os

VENDORS = {b"0x10de": "nvidia", b"0x1002": "amd", b"0x8086": "intel"}
# Drivers of other vendors' GPUs whose fdinfo shows what processes use (Documentation/gpu/drm-usage-stats.rst). Others,
# such as a server's management controller, have a DRM card without being a GPU.
FDINFO_DRIVERS = frozenset({"etnaviv", "lima", "msm", "panfrost", "panthor", "v3d"})


def detect_gpus(procfs: str, sysfs: str) -> frozenset[str]:
    """Those of "nvidia" (with NVIDIA's own driver), "amd", "intel" and "drm" (others) that are present."""
    found = set()
    if has_nvidia_driver(procfs, sysfs):
        found.add("nvidia")
    try:
        names = os.listdir(f"{sysfs}/class/drm")
    except OSError:
        return frozenset(found)
    for name in names:
        if is_card(name):
            vendor = drm_vendor(sysfs, name)
            if vendor:
                found.add(vendor)
    return frozenset(found)


def has_nvidia_driver(procfs: str, sysfs: str) -> bool:
    """Whether the kernel module is in use. (procfs may be another's, and without the driver's file.)"""
    return os.path.exists(f"{sysfs}/module/nvidia/initstate") or os.path.exists(f"{procfs}/driver/nvidia/version")


def is_card(name: str) -> bool:
    """Whether it is a card (card0) and not a connector (card0-DP-1)."""
    return name.startswith("card") and name[4:].isdigit()


def drm_vendor(sysfs: str, card: str) -> str:
    """The source of a DRM card's readings: "amd", "intel", "drm", or "" for none (NVIDIA's are read through NVML)."""
    device = f"{sysfs}/class/drm/{card}/device"
    vendor = VENDORS.get(_read(f"{device}/vendor"), "")
    if vendor in ("amd", "intel"):
        return vendor
    return "drm" if drm_driver(device) in FDINFO_DRIVERS else ""


def drm_driver(device: str) -> str:
    """The name of the device's kernel driver, "" for none."""
    try:
        return os.path.basename(os.readlink(f"{device}/driver"))
    except OSError:
        return ""


def _read(path: str) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError:
        return b""
    try:
        return os.read(fd, 64).strip()
    except OSError:
        return b""
    finally:
        os.close(fd)
