"""The web configuration in force: TLS, headers, users. Reread when one of its files changes."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from prom_probe.web.http.passwords import Passwords
from prom_probe.web.http.web_config import WebConfig, WebConfigError, read_web_config

if TYPE_CHECKING:
    import ssl

    from prom_probe.web.http.tls import TlsFault


class Security:
    """Owned by the loop's thread. Raises WebConfigError where the file, or what it refers to, cannot be used."""

    def __init__(self, path: str, log: Callable[[str, str], None]) -> None:
        self._path = path
        self._log = log
        first = _file_stamp(path)
        self.config = read_web_config(path)
        self._stamp = _stamps(first, self.config)
        self.context = _context(self.config)
        self._trusted = _trusted(self.config)
        self.passwords = Passwords(self.config.users) if self.config.users else None
        self.headers = _lines(self.config)
        for file in (path, self.config.key_file):
            if file and _world_readable(file):
                log("warn", f"{file} is readable by every user on this machine")

    def refresh(self) -> bool:
        """Apply changes of the files. A faulty change is logged once, and the old configuration stays in force.

        True if other client certificates count than before.
        """
        first = _file_stamp(self._path)
        stamp = _stamps(first, self.config)
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        try:
            config = read_web_config(self._path)
            stamp = _stamps(first, config)
            if bool(config.cert_file) != bool(self.config.cert_file):
                raise WebConfigError(f"{self._path}: TLS can only be switched on or off by a restart")
            context, trusted = _context(config), _trusted(config)
        except WebConfigError as error:
            self._log("error", f"web configuration not reloaded, the old one stays in force: {error}")
            return False
        if config.users != self.config.users:
            if self.passwords is not None:
                self.passwords.close()
            self.passwords = Passwords(config.users) if config.users else None
        self.config, self.context, self.headers = config, context, _lines(config)
        self._stamp = stamp
        self._log("info", "web configuration reloaded")
        changed, self._trusted = trusted != self._trusted, trusted
        return changed

    def maybe_fault(self, certificate: dict[str, object] | None, now_s: float) -> TlsFault | None:
        """Why a client with this certificate, as `ssl` gives it, may not be connected at that Unix time."""
        if self.config.client_auth_type == "NoClientCert":
            return None
        from prom_probe.web.http.tls import maybe_fault

        return maybe_fault(certificate, self.config.client_allowed_sans, now_s)


def asks_for_tls(path: str) -> bool:
    """Whether the file asks for TLS. Raises WebConfigError where it, or what it refers to, cannot be used."""
    return _context(read_web_config(path)) is not None


def _context(config: WebConfig) -> ssl.SSLContext | None:
    if not config.cert_file:
        return None
    from prom_probe.web.http.tls import make_context, shrink_buffers

    shrink_buffers()
    return make_context(config)


def _trusted(config: WebConfig) -> tuple[object, ...]:
    """What decides which client certificates count. Raises WebConfigError."""
    authorities = b""
    if config.client_ca_file:
        try:
            with open(config.client_ca_file, "rb") as file:
                authorities = file.read()
        except OSError as error:
            raise WebConfigError(f"{config.client_ca_file}: {error.strerror}") from None
    return config.client_auth_type, config.client_allowed_sans, authorities


def _lines(config: WebConfig) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in config.headers.items()).encode()


def _stamps(first: object, config: WebConfig) -> tuple[object, ...]:
    """Changes whenever one of the files does; taken before they are read, so that no change in between is missed."""
    return first, *map(_file_stamp, config.files)


def _file_stamp(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _world_readable(path: str) -> bool:
    try:
        return bool(os.stat(path).st_mode & 0o004)
    except OSError:
        return False
