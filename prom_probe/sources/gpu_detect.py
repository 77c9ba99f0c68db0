"""Which vendors' GPUs there are, from files alone: nothing of a driver is loaded or opened.

Not `/dev/nvidia*`: NVML makes `/dev/nvidiactl` without any driver when it is run as root.
"""

import os

VENDORS = {b"0x10de": "nvidia", b"0x1002": "amd", b"0x8086": "intel"}
# Drivers of others' GPUs whose fdinfo tells what processes use (Documentation/gpu/drm-usage-stats.rst). A server's
# management controller has a DRM card too, and is no GPU.
FDINFO_DRIVERS = frozenset({"etnaviv", "lima", "msm", "panfrost", "panthor", "v3d"})


def detect_gpus(procfs: str, sysfs: str) -> frozenset[str]:
    """Of "nvidia" (with NVIDIA's own driver), "amd", "intel" and "drm" (others), those that are there now."""
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
    """Whether the kernel module is in use. (Its version file stays away where procfs is another's.)"""
    return os.path.exists(f"{sysfs}/module/nvidia/initstate") or os.path.exists(f"{procfs}/driver/nvidia/version")


def is_card(name: str) -> bool:
    """card0, not its connector card0-DP-1."""
    return name.startswith("card") and name[4:].isdigit()


def drm_vendor(sysfs: str, card: str) -> str:
    """The source that reads a DRM card: "amd", "intel", "drm", or "" for none. NVIDIA's driver has NVML for that."""
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
