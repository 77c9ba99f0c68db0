"""/proc/PID/mountinfo: the filesystems that store files, each once (proc_pid_mountinfo(5))."""

import os
from typing import NamedTuple

from prom_probe.sources.mountinfo import parse_mounts, visible_mounts
from prom_probe.sources.text import Odd, ignore

# Types without space of their own: kernel interfaces, read-only images, views of other filesystems.
_PSEUDO = frozenset(
    b"autofs binder binfmt_misc bpf cgroup cgroup2 configfs cpuset debugfs devpts devtmpfs efivarfs erofs "
    b"fuse.gvfsd-fuse fuse.lxcfs fuse.portal fuse.snapfuse fuse.squashfuse fuse.squashfuse_ll fusectl hugetlbfs "
    b"iso9660 mqueue nfsd nsfs proc pstore ramfs resctrl rootfs rpc_pipefs securityfs selinuxfs smackfs squashfs "
    b"sysfs tracefs".split()
)
# A container's root is an overlay; a node has another one for each container.
_ROOT_ONLY = frozenset({b"overlay", b"fuse.fuse-overlayfs"})
# Below these are container runtimes' own mounts, and the masks over parts of /proc and /sys.
_NOT_BELOW = (
    "/proc/",
    "/sys/",
    "/run/containerd/",
    "/run/credentials/",
    "/run/docker/",
    "/run/netns/",
    "/var/lib/containerd/",
    "/var/lib/containers/",
    "/var/lib/docker/",
    "/var/lib/kubelet/",
)
# Single files that runtimes mount into each container, and its table of devices.
_NOT = frozenset({"/dev", "/dev/termination-log", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf"})


class Mount(NamedTuple):
    """A filesystem, and where it is mounted."""

    device: str
    fstype: str
    mountpoint: str  # for display: bytes that are not UTF-8 are written as \\xNN
    path: str  # for system calls, as os.fsdecode gives it
    readonly: bool  # this mount or the whole filesystem


def parse_filesystems(data: bytes, odd: Odd = ignore) -> list[Mount]:
    """Those that can be seen, in mount order. Of several mounts of one filesystem, the nearest to its root is used."""
    best: dict[bytes, tuple[tuple[int, int], Mount]] = {}
    mounts = parse_mounts(data, odd)
    for row in visible_mounts(mounts, [mount for mount in mounts if mount.fstype not in _PSEUDO]):
        path = os.fsdecode(row.point)
        if path in _NOT or path.startswith(_NOT_BELOW):
            continue
        if row.fstype in _ROOT_ONLY and path != "/":
            continue
        readonly = b"ro" in row.options.split(b",") or b"ro" in row.super_options.split(b",")
        mount = Mount(_text(row.source), _text(row.fstype), _text(row.point), path, readonly)
        rank = (len(row.root), len(row.point))
        if row.device not in best or rank < best[row.device][0]:
            best[row.device] = (rank, mount)
    return [mount for _, mount in best.values()]


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")
