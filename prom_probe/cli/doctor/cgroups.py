"""Checks whether a tree's cgroup can be read, and which controllers it has."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from prom_probe.cli.doctor.access import ACCESS, Access
from prom_probe.cli.doctor.finding import Finding, Status
from prom_probe.cli.doctor.identity import Identity
from prom_probe.cli.doctor.processes import Member, deny
from prom_probe.collectors.base import Context
from prom_probe.sources.cgroup_path import CgroupLocator, Directories, locate_named_cgroup
from prom_probe.sources.errors import ParseError
from prom_probe.sources.mountinfo import parse_mountinfo
from prom_probe.sources.proc_pid_cgroup import parse_proc_pid_cgroup, read_proc_pid_cgroup


class _Controller(NamedTuple):
    """A controller, a file that each cgroup version has with it, and the metrics that need it."""

    name: str
    v2: str
    v1: tuple[str, str]  # hierarchy, file; none without the controller
    without: str
    optional: bool = False  # many machines do not have it


_CONTROLLERS = (
    _Controller("cpu", "cpu.max", ("cpu", "cpu.stat"), "no CPU quota, throttling and weight"),
    _Controller("CPU time", "cpu.stat", ("cpuacct", "cpuacct.usage"), "no cgroup_cpu_*_seconds_total"),
    _Controller("memory", "memory.current", ("memory", "memory.usage_in_bytes"), "no cgroup_memory_* and OOM kills"),
    _Controller("pids", "pids.current", ("pids", "pids.current"), "no cgroup_pids", True),
    _Controller("io", "io.stat", ("blkio", "blkio.throttle.io_service_bytes_recursive"), "no cgroup_io_*", True),
    _Controller("pressure", "cpu.pressure", ("", ""), "no cgroup_pressure_*", True),
)
_NONE = "no cgroup_* metrics"
_ROOT = "start it in a cgroup of its own: a container, a systemd service, systemd-run --scope COMMAND"


def check_cgroup(
    context: Context, us: Identity, tree: str, members: list[Member], access: Access = ACCESS
) -> Iterator[Finding]:
    """The findings for a tree's cgroup: the one that is watched, or that of its oldest process."""
    subject = f"tree {tree}"
    watched = next((watch.value for watch in context.watches if watch.name == tree and watch.kind == "cgroup"), None)
    pid = members[0].pid
    try:
        if watched is not None:
            directories = locate_named_cgroup(context.cgroupfs, watched)
        else:
            directories = CgroupLocator(context.procfs, context.cgroupfs, access.stat).locate(pid)
        if not directories:
            yield _explain_nowhere(context, subject, pid, access)
            return
        for controller in _CONTROLLERS:
            yield _check_controller(controller, directories, subject, access)
    except PermissionError:
        try:
            denial = deny(context.procfs, us, pid, access)
        except OSError:
            return  # gone
        yield Finding(subject, "cgroup", "missing", "it is below a /proc/PID/root that is denied", *denial, _NONE)
    except (ProcessLookupError, FileNotFoundError):
        return
    except (OSError, ParseError) as error:
        yield Finding(subject, "cgroup", "missing", reason=str(error), without=_NONE)


def _explain_nowhere(context: Context, subject: str, pid: int, access: Access) -> Finding:
    memberships = parse_proc_pid_cgroup(read_proc_pid_cgroup(context.procfs, pid))
    if not parse_mountinfo(access.read(f"{context.procfs}/self/mountinfo")):
        reason = f"no cgroup file system is mounted at {context.cgroupfs}"
        change = f"mount it there, read-only, or give its place with --path.cgroupfs (now {context.cgroupfs})"
        return Finding(subject, "cgroup", "missing", "", reason, change, _NONE)
    if all(membership.path == "/" for membership in memberships):
        reason = "it is in the root of every hierarchy, which is the whole machine"
        return Finding(subject, "cgroup", "absent", "", reason, _ROOT, _NONE)
    where = next(membership.path for membership in memberships if membership.path != "/")
    reason = f"its cgroup {where} is outside our cgroup namespace, and its own mounts do not show it"
    change = "have the runtime mount /sys/fs/cgroup into its container (read-only), or mount the machine's into ours"
    return Finding(subject, "cgroup", "missing", "", reason, f"{change} and use --path.cgroupfs", _NONE)


def _check_controller(controller: _Controller, directories: Directories, subject: str, access: Access) -> Finding:
    source = f"cgroup {controller.name}"
    unified, (hierarchy, file) = directories.get(""), controller.v1
    for directory, name in ((unified, controller.v2), (directories.get(hierarchy) if hierarchy else None, file)):
        if directory is not None and os.path.exists(f"{directory}/{name}"):
            access.read(f"{directory}/{name}")
            return Finding(subject, source, "ok", f"{directory}/{name}")
    status: Status = "absent" if controller.optional else "missing"
    if controller.name == "pressure":
        reason = "version 1 does not have it" if directories.keys() - {""} else "the kernel does not account it"
        change = "use a kernel with version 2 and CONFIG_PSI, started with psi=1"
    elif unified is None or any(directories.keys()):  # version 1, with or without version 2's tree beside
        status = "absent"
        reason = f"it is in the root of version 1's {hierarchy}, which is the whole machine, or that is not mounted"
        change = _ROOT
    else:
        reason = f"the controller is not enabled for {unified}"
        change = (
            f"echo +{controller.name} into cgroup.subtree_control of the cgroups above it; for systemd: Delegate=yes, "
            "or CPUAccounting=, MemoryAccounting=, IOAccounting=, TasksAccounting="
        )
        if controller.name == "memory":
            change += "; where no cgroup has it, start the kernel with cgroup_enable=memory"
    return Finding(subject, source, status, "", reason, change, controller.without)
