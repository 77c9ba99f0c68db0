"""TLS contexts from the web configuration. Imports `ssl`, 4 MB: only to be imported where TLS is configured."""

from __future__ import annotations

import ssl

from prom_probe.web.http.web_config import CIPHERS, CURVES, WebConfig, WebConfigError

# The buffer that asyncio keeps for each connection; its default of 256 KiB would be 64 MB for 256 connections.
_BUFFER_BYTES = 16 * 1024

_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_VERIFY = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}


def make_context(config: WebConfig) -> ssl.SSLContext:
    """The server's context. Raises WebConfigError where a file is not a certificate, or the key does not fit."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[config.min_version]
    context.maximum_version = _VERSIONS[config.max_version]
    context.verify_mode = _VERIFY[config.client_auth_type]
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    chosen = [CIPHERS[name] for name in config.cipher_suites if name in CIPHERS]
    try:
        context.load_cert_chain(config.cert_file, config.key_file, password=_no_password)
        if config.client_ca_file:
            context.load_verify_locations(config.client_ca_file)
        if chosen:
            context.set_ciphers(":".join(chosen))
        if len(config.curve_preferences) == 1:
            context.set_ecdh_curve(CURVES[config.curve_preferences[0]])
    except (ssl.SSLError, OSError, ValueError) as error:
        files = ", ".join(config.files)
        raise WebConfigError(f"{files}: {getattr(error, 'reason', None) or error}") from None
    return context


def shrink_buffers() -> None:
    """Give asyncio's TLS connections small buffers."""
    from asyncio import sslproto

    sslproto.SSLProtocol.max_size = _BUFFER_BYTES


def has_name(certificate: dict[str, object] | None, names: tuple[str, ...]) -> bool:
    """Whether a client's certificate (as `getpeercert` gives it) has one of `names` as an alternative name."""
    given = (certificate or {}).get("subjectAltName", ())
    return any(value in names for _, value in given)  # type: ignore[attr-defined]


def _no_password() -> str:
    """An encrypted key is an error: OpenSSL would prompt at the terminal."""
    raise ValueError("the key has a password")
