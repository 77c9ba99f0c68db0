"""Checks what serving and storing need: addresses, files, directories, shared memory, packages."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from importlib.util import find_spec

from prom_probe.cli.doctor.access import ACCESS, Access
from prom_probe.cli.doctor.finding import Finding
from prom_probe.config.address import Address
from prom_probe.config.error import ConfigError
from prom_probe.config.settings import Config
from prom_probe.config.units import format_size
from prom_probe.run.listening import ListeningSocket, close, listen
from prom_probe.run.preflight import REMOTE_PACKAGE, has_tls, remote_features
from prom_probe.tsdb.disk import folder
from prom_probe.tsdb.outcome import StorageError, UnusableStoreError

_TIMEOUT_S = 2.0
_HEALTHY = b"prom_probe is healthy"
_RUNNING = "in use by a running prom-probe"
_GUARDED = "in use by a TLS server that requires a certificate, perhaps a prom-probe with this --web.config.file"


def check_addresses(
    config: Config, listen: Callable[[Address, bool], ListeningSocket] = listen, timeout_s: float = _TIMEOUT_S
) -> Iterator[Finding]:
    """A finding for each address to listen on. `timeout_s`: for a server that has the address already."""
    for flag, addresses, api in (
        ("--web.listen-address", config.web_listen_address, False),
        ("--api.listen-address", config.api_listen_address, True),
    ):
        for address in addresses:
            try:
                close(listen(address, api))
            except ConfigError as error:
                guarded = config.web_config_file is not None
                yield _explain_address(flag, address, str(error), guarded, timeout_s)
            else:
                yield Finding("serving", f"{flag}={address}", "ok", "free")


def _explain_address(flag: str, address: Address, error: str, guarded: bool, timeout_s: float) -> Finding:
    """The finding for an address that cannot be had. `guarded`: our own server there may speak TLS."""
    source = f"{flag}={address}"
    if _HEALTHY in _ask(address, timeout_s) or (guarded and _HEALTHY in _ask(address, timeout_s, tls=True)):
        return Finding("serving", source, "ok", _RUNNING)
    if guarded and _speaks_tls(address, timeout_s):
        return Finding("serving", source, "ok", _GUARDED)
    change = f"end what listens there, or choose another address with {flag}"
    if not address.path and 0 < address.port < 1024:
        change += "; ports below 1024 need the capability NET_BIND_SERVICE"
    return Finding("serving", source, "missing", "", error, change, "prom-probe run does not start")


def _ask(address: Address, timeout_s: float, *, tls: bool = False) -> bytes:
    """The beginning of a server's answer about its health; nothing if there is no server."""
    try:
        with _connect(address, timeout_s, tls) as sock:
            sock.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = b""
            while len(answer) < 4096 and (part := sock.recv(4096)):
                answer += part
            return answer
    except OSError:
        return b""


def _speaks_tls(address: Address, timeout_s: float) -> bool:
    """Whether a TLS handshake with a server there begins; it may require a certificate afterwards."""
    try:
        _connect(address, timeout_s, tls=True).close()
    except OSError:
        return False
    return True


def _connect(address: Address, timeout_s: float, tls: bool) -> socket.socket:
    """Raises OSError."""
    if not address.path and not address.port:
        raise ConnectionRefusedError("any free port will do")
    host = address.host if address.host not in ("", "0.0.0.0", "::") else "localhost"
    if address.path:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(timeout_s)
        sock.connect(address.path)
    else:
        sock = socket.create_connection((host, address.port), timeout_s)
    if not tls:
        return sock
    import ssl  # rarely needed

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # nothing secret is sent, so the server's identity does not matter
    context.verify_mode = ssl.CERT_NONE
    try:
        return context.wrap_socket(sock)
    except OSError:
        sock.close()
        raise


def check_web_config(config: Config) -> Iterator[Finding]:
    """A finding for the web configuration file, if one is given."""
    if config.web_config_file is None:
        return
    source = f"--web.config.file={config.web_config_file}"
    try:
        tls = has_tls(config)
    except ConfigError as error:
        without = "prom-probe run does not start"
        yield Finding("serving", source, "missing", "", str(error), "correct the file, or its permissions", without)
        return
    yield Finding("serving", source, "ok", "TLS" if tls else "no TLS")


def check_storage(config: Config, access: Access = ACCESS) -> Iterator[Finding]:
    """A finding for the storage directory, if one is given. It is not created."""
    path = config.storage_tsdb_path
    if path is None:
        return
    source = f"--storage.tsdb.path={path}"
    without = "prom-probe run does not start; with a COMMAND, what is wrong with the disk keeps samples in memory alone"
    try:
        if os.path.lexists(path):
            folder.check(path)
        else:
            _check_parent(path, access)
    except StorageError as error:
        text = str(error)
        if "in use by" in text:
            yield Finding("storage", source, "ok", text)
            return
        volume = "a volume, with fsGroup in a pod's securityContext"
        change = f"give a directory that uid {os.geteuid()} may write to: {volume}"
        if isinstance(error, UnusableStoreError):
            change = "put that right, or give another directory"
        yield Finding("storage", source, "missing", "", text, change, without)
        return
    there = os.statvfs(path if os.path.isdir(path) else os.path.dirname(os.path.abspath(path)))
    free, wanted = there.f_bavail * there.f_frsize, config.storage_tsdb_retention_size
    if free < wanted:
        reason = f"{format_size(free >> 20 << 20)} are free, and --storage.tsdb.retention.size is {format_size(wanted)}"
        yield Finding(
            "storage", source, "missing", "", reason, "free some space, or keep less", "samples are lost at a full disk"
        )
    else:
        yield Finding("storage", source, "ok", f"writable, {format_size(free >> 20 << 20)} free")


def _check_parent(path: str, access: Access) -> None:
    parent = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(parent):
        raise StorageError(f"{path}: its parent does not exist")
    if os.statvfs(parent).f_flag & os.ST_RDONLY:
        raise StorageError(f"{path}: the file system is read-only")
    if not access.may(parent, os.W_OK | os.X_OK):
        raise StorageError(f"{path}: permission denied")


def check_shared_memory(path: str = "/dev/shm", access: Access = ACCESS) -> Finding:
    """Whether there is named shared memory. Our own rings do not need it."""
    without = "no other container can hand samples to us; our own workers do not need it"
    if not os.path.isdir(path):
        return Finding(
            "memory", path, "absent", "", f"there is no {path}", "mount an emptyDir of medium Memory there", without
        )
    if not access.may(path, os.W_OK | os.X_OK):
        return Finding("memory", path, "absent", "", f"{path} cannot be written", "mount it writable", without)
    size = os.statvfs(path)
    return Finding("memory", path, "ok", f"{format_size(size.f_blocks * size.f_frsize >> 20 << 20)}, writable")


def check_packages(config: Config, find_spec: Callable[[str], ModuleSpec | None] = find_spec) -> Iterator[Finding]:
    """A finding for each optional package that a setting needs."""
    for setting in remote_features(config):
        if find_spec(REMOTE_PACKAGE) is None:
            reason, change = f"the package {REMOTE_PACKAGE} is not installed", "pip install 'prom-probe[remote]'"
            yield Finding("packages", setting, "missing", "", reason, change, "prom-probe run does not start")
        else:
            yield Finding("packages", setting, "ok", REMOTE_PACKAGE)
