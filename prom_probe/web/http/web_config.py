"""The file that `--web.config.file` names: TLS, headers and users, in the format of Prometheus's exporter-toolkit."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class WebConfigError(ValueError):
    """An unusable file; the text names the file, and the line and key of the fault."""


@dataclass(frozen=True)
class WebConfig:
    """The file's content, paths absolute. No TLS where `cert_file` is empty."""

    cert_file: str = ""
    key_file: str = ""
    client_ca_file: str = ""
    client_auth_type: str = "NoClientCert"
    client_allowed_sans: tuple[str, ...] = ()
    min_version: str = "TLS12"
    max_version: str = "TLS13"
    cipher_suites: tuple[str, ...] = ()
    curve_preferences: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    users: Mapping[str, str] = field(default_factory=dict)  # name -> bcrypt hash

    @property
    def files(self) -> tuple[str, ...]:
        """The files that it refers to."""
        return tuple(path for path in (self.cert_file, self.key_file, self.client_ca_file) if path)


VERSIONS = ("TLS12", "TLS13")
_OLD_VERSIONS = ("TLS10", "TLS11")

# Types that ask for a certificate without verifying it; Python's ssl cannot do that.
CLIENT_AUTH = ("NoClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert")
_UNVERIFIED = ("RequestClientCert", "RequireAnyClientCert")

# Go's names, as the toolkit has them, to OpenSSL's. The suites of TLS 1.3 cannot be chosen, neither there nor here.
CIPHERS: dict[str, str] = {
    f"TLS_{key}{auth}WITH_{cipher}": f"{openssl}{ours}"
    for key, auth, openssl in (
        ("ECDHE_", "ECDSA_", "ECDHE-ECDSA-"),
        ("ECDHE_", "RSA_", "ECDHE-RSA-"),
    )
    for cipher, ours in (
        ("AES_128_GCM_SHA256", "AES128-GCM-SHA256"),
        ("AES_256_GCM_SHA384", "AES256-GCM-SHA384"),
        ("CHACHA20_POLY1305_SHA256", "CHACHA20-POLY1305"),
        ("CHACHA20_POLY1305", "CHACHA20-POLY1305"),
        ("AES_128_CBC_SHA", "AES128-SHA"),
        ("AES_256_CBC_SHA", "AES256-SHA"),
    )
}
_TLS13_CIPHERS = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")

CURVES = {"CurveP256": "prime256v1", "CurveP384": "secp384r1", "CurveP521": "secp521r1", "X25519": "X25519"}

# The headers that the toolkit allows.
_HEADERS = (
    "Content-Security-Policy",
    "Strict-Transport-Security",
    "X-Content-Type-Options",
    "X-Frame-Options",
    "X-XSS-Protection",
)

_BCRYPT = re.compile(r"\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53}")

_TLS_KEYS = (
    *("cert_file", "key_file", "client_auth_type", "client_ca_file", "client_allowed_sans", "min_version"),
    *("max_version", "cipher_suites", "prefer_server_cipher_suites", "curve_preferences"),
)
_KEYS: dict[str, tuple[str, ...] | None] = {
    "tls_server_config": _TLS_KEYS,
    "http_server_config": ("http2", "headers"),
    "basic_auth_users": None,  # any name
}


def read_web_config(path: str) -> WebConfig:
    """The file's content. Raises WebConfigError."""
    document = _Document(path)
    tls = document.section("tls_server_config")
    http = document.section("http_server_config")
    users = document.section("basic_auth_users")
    folder = os.path.dirname(os.path.abspath(path))
    tls_settings = _TlsSettings(document, tls, folder)
    config = WebConfig(
        cert_file=tls_settings.file("cert_file"),
        key_file=tls_settings.file("key_file"),
        client_ca_file=tls_settings.file("client_ca_file"),
        client_auth_type=tls_settings.client_auth(),
        client_allowed_sans=tls_settings.strings("client_allowed_sans"),
        min_version=tls_settings.version("min_version", "TLS12"),
        max_version=tls_settings.version("max_version", "TLS13"),
        cipher_suites=tls_settings.known("cipher_suites", (*CIPHERS, *_TLS13_CIPHERS)),
        curve_preferences=tls_settings.known("curve_preferences", tuple(CURVES)),
        headers=_headers(document, http),
        users=_users(document, users),
    )
    if tls and not config.cert_file:
        document.fail("tls_server_config", "missing cert_file")
    if tls and not config.key_file:
        document.fail("tls_server_config", "missing key_file")
    if config.client_auth_type != "NoClientCert" and not config.client_ca_file:
        document.fail("tls_server_config.client_auth_type", "needs a client_ca_file")
    if config.client_auth_type == "NoClientCert" and (config.client_ca_file or config.client_allowed_sans):
        document.fail("tls_server_config", "settings for client certificates, but client_auth_type asks for none")
    if config.min_version > config.max_version:
        document.fail("tls_server_config.min_version", "is above max_version")
    return config


class _Document:
    """The YAML file as plain values, and the lines of its keys (joined by dots)."""

    def __init__(self, path: str) -> None:
        import yaml

        self._path = path
        self._lines: dict[str, int] = {}
        try:
            with open(path, encoding="utf-8") as stream:
                loader = yaml.SafeLoader(stream)
                try:
                    node = loader.get_single_node()
                    self._note(node, "")
                    found: Any = loader.construct_document(node) if node is not None else {}
                finally:
                    loader.dispose()
        except (OSError, UnicodeDecodeError) as error:
            raise WebConfigError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = f" line {mark.line + 1}:" if mark else ""
            raise WebConfigError(f"{path}:{line} {getattr(error, 'problem', None) or error}") from None
        except WebConfigError:
            raise
        except RecursionError:
            raise WebConfigError(f"{path}: lists and mappings are nested too deeply") from None
        except ValueError as error:  # what looks like a date or a number, and is none
            raise WebConfigError(f"{path}: {error}") from None
        if not isinstance(found, dict):
            raise WebConfigError(f"{path}: not a mapping of keys to values")
        self._found = found
        for key in found:
            if key not in _KEYS:
                self.fail(str(key), "unknown key")

    def _note(self, node: Any, prefix: str, depth: int = 0) -> None:
        from yaml import MappingNode

        if isinstance(node, MappingNode) and depth < 4:
            for key, value in node.value:
                name = f"{prefix}{key.value}"
                if name in self._lines:
                    raise WebConfigError(f"{self._path}: line {key.start_mark.line + 1}: {name}: given twice")
                self._lines[name] = key.start_mark.line + 1
                self._note(value, f"{name}.", depth + 1)

    def section(self, name: str) -> dict[Any, Any]:
        """A top-level mapping, empty where there is none."""
        found = self._found.get(name) or {}
        known = _KEYS[name]
        if not isinstance(found, dict):
            self.fail(name, "not a mapping of keys to values")
        for key in found:
            if known is not None and key not in known:
                self.fail(f"{name}.{key}", "unknown key")
        return found

    def fail(self, key: str, text: str) -> Any:
        line = f" line {self._lines[key]}:" if key in self._lines else ""
        raise WebConfigError(f"{self._path}:{line} {key}: {text}")


class _TlsSettings:
    """Reads the values of `tls_server_config`."""

    def __init__(self, document: _Document, values: dict[Any, Any], folder: str) -> None:
        self._document = document
        self._values = values
        self._folder = folder

    def string(self, key: str) -> str:
        value = self._values.get(key)
        if value is not None and not isinstance(value, str):
            self._fail(key, f"not a string: {value!r}")
        return value or ""

    def strings(self, key: str) -> tuple[str, ...]:
        value = self._values.get(key) or []
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            self._fail(key, "not a list of strings")
        return tuple(value)

    def file(self, key: str) -> str:
        """The absolute path of a file that can be read; relative ones start at the configuration file's folder."""
        text = self.string(key)
        if not text:
            return ""
        path = os.path.join(self._folder, text)
        try:
            with open(path, "rb") as stream:
                stream.read(1)
        except (OSError, ValueError) as error:
            self._fail(key, f"{path}: {getattr(error, 'strerror', None) or error}")
        return path

    def version(self, key: str, default: str) -> str:
        text = self.string(key) or default
        if text in _OLD_VERSIONS:
            self._fail(key, f"{text} is no longer secure; at least TLS12")
        if text not in VERSIONS:
            self._fail(key, f"not one of {', '.join(VERSIONS)}: {text!r}")
        return text

    def client_auth(self) -> str:
        key = "client_auth_type"
        text = self.string(key) or "NoClientCert"
        if text in _UNVERIFIED:
            self._fail(
                key,
                f"{text} accepts unverified certificates; only supported: {' or '.join(CLIENT_AUTH[1:])}",
            )
        if text not in CLIENT_AUTH:
            self._fail(key, f"not one of {', '.join(CLIENT_AUTH)}: {text!r}")
        return text

    def known(self, key: str, names: tuple[str, ...]) -> tuple[str, ...]:
        texts = self.strings(key)
        for text in texts:
            if text not in names:
                self._fail(key, f"unknown: {text!r}")
        return texts

    def _fail(self, key: str, text: str) -> None:
        self._document.fail(f"tls_server_config.{key}", text)


def _headers(document: _Document, http: dict[Any, Any]) -> dict[str, str]:
    found = http.get("headers") or {}
    place = "http_server_config.headers"
    if not isinstance(found, dict):
        document.fail(place, "not a mapping of names to values")
    for name, value in found.items():
        if name not in _HEADERS:
            document.fail(f"{place}.{name}", f"not one of {', '.join(_HEADERS)}")
        if not isinstance(value, str) or not value.isprintable() or not value.isascii():
            document.fail(f"{place}.{name}", "not a string of printable ASCII")
    return dict(found)


def _users(document: _Document, users: dict[Any, Any]) -> dict[str, str]:
    for name, hashed in users.items():
        place = f"basic_auth_users.{name}"
        if not isinstance(name, str) or ":" in name or not name:
            document.fail(place, "not a user name")
        if not isinstance(hashed, str) or not _BCRYPT.fullmatch(hashed):
            document.fail(place, "not a bcrypt hash")  # never shown: it may be a password
    return dict(users)
