"""Whether what we serve and keep can be had: addresses, directories, shared memory, packages."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from importlib.util import find_spec

from prom_probe.config import Address, Config, ConfigError, format_size
from prom_probe.doctor.finding import Finding
from prom_probe.listen import close, listen
from prom_probe.tsdb.disk import folder
from prom_probe.tsdb.outcome import StorageError

_TIMEOUT_S = 2.0
_RUNNING = "a prom-probe that runs already has it"


def check_addresses(config: Config) -> Iterator[Finding]:
    """A finding for each address to listen on."""
    for flag, addresses, api in (
        ("--web.listen-address", config.web_listen_address, False),
        ("--api.listen-address", config.api_listen_address, True),
    ):
        for address in addresses:
            yield _check_address(flag, address, api)


def _check_address(flag: str, address: Address, api: bool) -> Finding:
    source = f"{flag}={address}"
    try:
        close(listen(address, api))
    except ConfigError as error:
        if _is_ours(address):
            return Finding("serving", source, "ok", _RUNNING)
        change = f"end what listens there, or choose another address by {flag}"
        if not address.path and 0 < address.port < 1024:
            change += "; ports below 1024 need the capability NET_BIND_SERVICE"
        return Finding("serving", source, "missing", "", str(error), change, "prom-probe run does not start")
    return Finding("serving", source, "ok", "free")


def _is_ours(address: Address) -> bool:
    """Whether a prom-probe answers there."""
    if not address.path and not address.port:
        return False
    host = address.host if address.host not in ("", "0.0.0.0", "::") else "localhost"
    try:
        if address.path:
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(_TIMEOUT_S)
            sock.connect(address.path)
        else:
            sock = socket.create_connection((host, address.port), _TIMEOUT_S)
        with sock:
            sock.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = b""
            while len(answer) < 4096 and (part := sock.recv(4096)):
                answer += part
            return b"prom_probe is healthy" in answer
    except OSError:
        return False


def check_storage(config: Config) -> Iterator[Finding]:
    """A finding for the directory that samples are to be kept in, if there is to be one. An absent one is not made."""
    path = config.storage_tsdb_path
    if path is None:
        return
    source = f"--storage.tsdb.path={path}"
    without = "prom-probe run does not start"
    try:
        if os.path.lexists(path):
            folder.check(path)
        else:
            _check_parent(path)
    except StorageError as error:
        text = str(error)
        if "in use by" in text:
            yield Finding("storage", source, "ok", text)
            return
        change = (
            f"give a directory that uid {os.geteuid()} may write: a volume, with fsGroup in a pod's securityContext"
        )
        yield Finding("storage", source, "missing", "", text, change, without)
        return
    there = os.statvfs(path if os.path.isdir(path) else os.path.dirname(os.path.abspath(path)))
    free, wanted = there.f_bavail * there.f_frsize, config.storage_tsdb_retention_size
    if free < wanted:
        reason = f"{format_size(free >> 20 << 20)} are free, and --storage.tsdb.retention.size is {format_size(wanted)}"
        yield Finding(
            "storage", source, "missing", "", reason, "free some, or keep less", "samples are lost at a full disk"
        )
    else:
        yield Finding("storage", source, "ok", f"writable, {format_size(free >> 20 << 20)} free")


def _check_parent(path: str) -> None:
    parent = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(parent):
        raise StorageError(f"{path}: its parent does not exist")
    if os.statvfs(parent).f_flag & os.ST_RDONLY:
        raise StorageError(f"{path}: the file system is read-only")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise StorageError(f"{path}: permission denied")


def check_shared_memory(path: str = "/dev/shm") -> Finding:
    """Whether there is shared memory by name. Our own rings have none."""
    without = "no other container can hand us its samples; our own workers do not need it"
    if not os.path.isdir(path):
        return Finding(
            "memory", path, "absent", "", f"there is no {path}", "mount an emptyDir of medium Memory there", without
        )
    if not os.access(path, os.W_OK | os.X_OK):
        return Finding("memory", path, "absent", "", f"{path} cannot be written", "mount it writable", without)
    size = os.statvfs(path)
    return Finding("memory", path, "ok", f"{format_size(size.f_blocks * size.f_frsize >> 20 << 20)}, writable")


def check_packages(config: Config) -> Iterator[Finding]:
    """A finding for each package that a setting asks for beside the usual ones."""
    if config.web_enable_remote_write_receiver:
        source = "--web.enable-remote-write-receiver"
        if find_spec("cramjam") is None:
            reason, change = "the package cramjam is not installed", "pip install 'prom-probe[remote]'"
            yield Finding("packages", source, "missing", "", reason, change, "prom-probe run does not start")
        else:
            yield Finding("packages", source, "ok", "cramjam")
