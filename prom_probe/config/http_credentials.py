"""Reads what the settings of an HTTP client refer to: credentials and certificates, anew as their files change."""

from __future__ import annotations

import errno
import os
import stat
from base64 import b64encode
from typing import TYPE_CHECKING

from prom_probe.config.http_client import Authorization, BasicAuth, TlsConfig

if TYPE_CHECKING:
    import ssl


def authorization_header(basic: BasicAuth | None, other: Authorization | None) -> str | None:
    """The Authorization header that the settings ask for; their files are read.

    Raises OSError or UnicodeDecodeError for a file that cannot be read.
    """
    if basic is not None:
        user = basic.username or read_secret(basic.username_file)
        password = basic.password.reveal() if basic.password is not None else read_secret(basic.password_file)
        return basic_header(user, password)
    if other is not None:
        credentials = other.credentials
        text = credentials.reveal() if credentials is not None else read_secret(other.credentials_file)
        return f"{other.type} {text}"
    return None


def basic_header(user: str, password: str) -> str:
    """The Authorization header of a user and a password."""
    return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"


class ClientTls:
    """The TLS context that the settings describe. Not thread-safe."""

    def __init__(self, config: TlsConfig) -> None:
        self._config = config
        self._made: tuple[list[tuple[int, int]], ssl.SSLContext] | None = None

    def get(self) -> ssl.SSLContext:
        """The context; made anew when one of its files has changed. Raises OSError, of which SSLError is one."""
        config = self._config
        state = [_state(path) for path in (config.ca_file, config.cert_file, config.key_file)]
        if self._made is None or self._made[0] != state:
            self._made = state, _make_context(config)
        return self._made[1]


def _make_context(tls: TlsConfig) -> ssl.SSLContext:
    import ssl  # 2.5 MB

    context = ssl.create_default_context(cafile=tls.ca_file or None)
    if tls.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.cert_file:
        context.load_cert_chain(tls.cert_file, tls.key_file)
    return context


def _state(path: str) -> tuple[int, int]:
    if not path:
        return 0, 0
    there = _stat_file(path)
    return there.st_mtime_ns, there.st_ino


def read_secret(path: str) -> str:
    """What a file has, "" without one. Raises OSError or UnicodeDecodeError."""
    if not path:
        return ""
    _stat_file(path)
    with open(path, encoding="utf-8") as stream:
        return stream.read().strip()


def _stat_file(path: str) -> os.stat_result:
    """Raises OSError for what cannot be read again and again, and may never answer: a pipe, a device."""
    there = os.stat(path)
    if not stat.S_ISREG(there.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file", path)
    return there
