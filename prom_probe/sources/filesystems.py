"""/proc/PID/mountinfo: the filesystems that store files, each once (proc_pid_mountinfo(5))."""

import os
from typing import NamedTuple

from prom_probe.sources.errors import ParseError
from prom_probe.sources.mountinfo import SOURCE, unescape

# Types without space of their own: kernel interfaces, read-only images, views of other filesystems.
_PSEUDO = frozenset(
    b"autofs binder binfmt_misc bpf cgroup cgroup2 configfs cpuset debugfs devpts devtmpfs efivarfs erofs "
    b"fuse.gvfsd-fuse fuse.lxcfs fuse.portal fusectl hugetlbfs iso9660 mqueue nfsd nsfs proc pstore ramfs resctrl "
    b"rootfs rpc_pipefs securityfs selinuxfs smackfs squashfs sysfs tracefs".split()
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


def parse_filesystems(data: bytes) -> list[Mount]:
    """In mount order. Of several mounts of one filesystem, the nearest to its root is used. Raises ParseError."""
    best: dict[bytes, tuple[tuple[int, int], Mount]] = {}
    for line in data.splitlines():
        left, separator, right = line.partition(b" - ")
        try:
            if not separator:
                raise ParseError(SOURCE, line)
            fstype, device, options = right.split(b" ", 2)
            if fstype in _PSEUDO:
                continue
            _, _, number, root, point, rest = left.split(b" ", 5)
            path = os.fsdecode(unescape(point))
            if path in _NOT or path.startswith(_NOT_BELOW) or (fstype in _ROOT_ONLY and path != "/"):
                continue
            readonly = b"ro" in rest.split(b" ", 1)[0].split(b",") or b"ro" in options.split(b",")
            mount = Mount(_text(unescape(device)), _text(fstype), _text(unescape(point)), path, readonly)
        except ValueError:
            raise ParseError(SOURCE, line) from None
        rank = (len(root), len(point))
        if number not in best or rank < best[number][0]:
            best[number] = (rank, mount)
    # Of several mounts at one place only the last is visible.
    return list({mount.path: mount for _, mount in best.values()}.values())


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")
