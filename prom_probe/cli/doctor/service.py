"""Whether what we serve and keep can be had: addresses, directories, shared memory, packages."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from importlib.util import find_spec

from prom_probe.cli.doctor.finding import Finding
from prom_probe.config.address import Address
from prom_probe.config.error import ConfigError
from prom_probe.config.settings import Config
from prom_probe.config.units import format_size
from prom_probe.run.listening import close, listen
from prom_probe.run.preflight import has_tls
from prom_probe.tsdb.disk import folder
from prom_probe.tsdb.outcome import StorageError

_TIMEOUT_S = 2.0
_HEALTHY = b"prom_probe is healthy"
_RUNNING = "a prom-probe that runs already has it"
_GUARDED = "a server with TLS that wants a certificate has it already, perhaps a prom-probe with this --web.config.file"


def check_addresses(config: Config) -> Iterator[Finding]:
    """A finding for each address to listen on."""
    for flag, addresses, api in (
        ("--web.listen-address", config.web_listen_address, False),
        ("--api.listen-address", config.api_listen_address, True),
    ):
        for address in addresses:
            yield _check_address(flag, address, api, guarded=config.web_config_file is not None)


def _check_address(flag: str, address: Address, api: bool, guarded: bool) -> Finding:
    source = f"{flag}={address}"
    try:
        close(listen(address, api))
    except ConfigError as error:
        if _HEALTHY in _ask(address) or (guarded and _HEALTHY in _ask(address, tls=True)):
            return Finding("serving", source, "ok", _RUNNING)
        if guarded and _speaks_tls(address):
            return Finding("serving", source, "ok", _GUARDED)
        change = f"end what listens there, or choose another address by {flag}"
        if not address.path and 0 < address.port < 1024:
            change += "; ports below 1024 need the capability NET_BIND_SERVICE"
        return Finding("serving", source, "missing", "", str(error), change, "prom-probe run does not start")
    return Finding("serving", source, "ok", "free")


def _ask(address: Address, *, tls: bool = False) -> bytes:
    """The beginning of what a server there says of its health; nothing where there is none."""
    try:
        with _connect(address, tls) as sock:
            sock.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = b""
            while len(answer) < 4096 and (part := sock.recv(4096)):
                answer += part
            return answer
    except OSError:
        return b""


def _speaks_tls(address: Address) -> bool:
    """Whether a server there shakes hands; it may want a certificate afterwards."""
    try:
        _connect(address, tls=True).close()
    except OSError:
        return False
    return True


def _connect(address: Address, tls: bool) -> socket.socket:
    """Raises OSError."""
    if not address.path and not address.port:
        raise ConnectionRefusedError("any port is free somewhere")
    host = address.host if address.host not in ("", "0.0.0.0", "::") else "localhost"
    if address.path:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(_TIMEOUT_S)
        sock.connect(address.path)
    else:
        sock = socket.create_connection((host, address.port), _TIMEOUT_S)
    if not tls:
        return sock
    import ssl  # most never need it

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # nothing is told it, and who it is does not matter here
    context.verify_mode = ssl.CERT_NONE
    try:
        return context.wrap_socket(sock)
    except OSError:
        sock.close()
        raise


def check_web_config(config: Config) -> Iterator[Finding]:
    """A finding for the file with TLS and passwords, if there is to be one."""
    if config.web_config_file is None:
        return
    source = f"--web.config.file={config.web_config_file}"
    try:
        tls = has_tls(config)
    except ConfigError as error:
        without = "prom-probe run does not start"
        yield Finding("serving", source, "missing", "", str(error), "mend the file, or its permissions", without)
        return
    yield Finding("serving", source, "ok", "TLS" if tls else "no TLS")


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
