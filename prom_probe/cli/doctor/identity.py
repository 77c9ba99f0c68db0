"""Our user and capabilities, what we see of the machine, and why the kernel denies us a process."""

from __future__ import annotations

import os
from typing import NamedTuple

from prom_probe.sources.container import in_container, in_shared_pid_namespace
from prom_probe.sources.descriptors import read_once
from prom_probe.sources.errors import ParseError
from prom_probe.sources.proc_mount import parse_proc_options
from prom_probe.sources.proc_pid_credentials import (
    Credentials,
    parse_proc_pid_credentials,
    read_proc_pid_credentials,
)

# In the kernel's order (include/uapi/linux/capability.h).
_CAPABILITIES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
    "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN "
    "SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE "
    "MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
)
# Root needs both to read all files of another user's process.
_NEEDED = ("SYS_PTRACE", "DAC_READ_SEARCH")


class Identity(NamedTuple):
    """What decides what we may read."""

    credentials: Credentials
    container: bool  # we are in one
    shared: bool  # and see other containers' processes
    hidepid: str  # procfs's mount option, "" without
    subset: str

    def __str__(self) -> str:
        capabilities = name_capabilities(self.credentials.effective)
        count = len(capabilities)
        held = "no capabilities" if not count else f"{count} capabilities" if count > 6 else ", ".join(capabilities)
        where = "in a container" if self.container else "on the machine itself"
        shared = ", in a PID namespace that containers share" if self.shared else ""
        return f"uid {self.credentials.uids[1]}, gid {self.credentials.gids[1]}, {held}, {where}{shared}"


class Denial(NamedTuple):
    """The reason, and what to change."""

    reason: str
    change: str


def read_identity(procfs: str) -> Identity:
    """Our identity. What cannot be read is assumed to be as usual."""
    try:
        credentials = parse_proc_pid_credentials(read_proc_pid_credentials(procfs, "self"))
    except (OSError, ParseError):
        uid, gid = os.geteuid(), os.getegid()
        credentials = Credentials((uid,) * 4, (gid,) * 4, 0, 0)
    try:
        options = parse_proc_options(read_once(f"{procfs}/self/mountinfo"), procfs)
    except (OSError, ParseError):
        options = {}
    hidepid = options.get("hidepid", "")
    return Identity(
        credentials,
        in_container(procfs),
        in_shared_pid_namespace(procfs),
        "" if hidepid in ("0", "off") else hidepid,
        options.get("subset", ""),
    )


def name_capabilities(mask: int) -> list[str]:
    """The names of a mask's capabilities; an unknown one has its number."""
    bits = [bit for bit in range(mask.bit_length()) if mask >> bit & 1]
    names = _CAPABILITIES.split()
    return [names[bit] if bit < len(names) else str(bit) for bit in bits]


def explain_denial(us: Identity, theirs: Credentials, dumpable: bool) -> Denial:
    """Why we may not read a process with these credentials (ptrace(2), "Ptrace access mode checking").

    `dumpable`: whether it owns its files in /proc; the kernel gives those of a protected process to root.
    """
    ours = us.credentials
    uid, gid = theirs.uids[1], theirs.gids[1]
    held = name_capabilities(ours.effective)
    lacking = [name for name in _NEEDED if name not in held]
    as_root = f"run as root with the capabilities {' and '.join(_NEEDED)} (they have no effect without root)"
    if ours.uids[1] == 0 and lacking:
        as_root = f"add the capabilities {' and '.join(lacking)} to ours, which runs as root"
    if len({*theirs.uids[:3]}) > 1 or len({*theirs.gids[:3]}) > 1:
        return Denial("its real, effective and saved IDs differ, as a setuid program's do", as_root)
    if not lacking:
        return Denial(
            "we have the capabilities; a security module (AppArmor, SELinux) or a user namespace denies it",
            "give both containers the same security profile, and the same user namespace",
        )
    if (uid, gid) != (ours.uids[1], ours.gids[1]):
        return Denial(
            f"it runs as uid {uid}, gid {gid}, and we as uid {ours.uids[1]}, gid {ours.gids[1]}",
            f"run prom-probe as the same: runAsUser: {uid} and runAsGroup: {gid} in the container's securityContext "
            f"(docker run --user={uid}:{gid}); or {as_root}",
        )
    more = name_capabilities(theirs.permitted & ~ours.permitted)
    if more:
        return Denial(
            f"it has capabilities that we do not have: {', '.join(more)}",
            f"drop them where it does not need them (capabilities: drop: [ALL]); or {as_root}",
        )
    if not dumpable:
        return Denial(
            "the kernel protects it: its user may not read its executable, or it asked for that (PR_SET_DUMPABLE)",
            f"make the executable readable for its user; or {as_root}",
        )
    return Denial(
        "a security module (AppArmor, SELinux) or a user namespace denies it",
        f"give both containers the same security profile, and the same user namespace; or {as_root}",
    )
