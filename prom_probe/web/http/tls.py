"""TLS contexts from the web configuration. Imports `ssl`, 4 MB: only to be imported where TLS is configured."""

from __future__ import annotations

import ssl
from typing import Any, NamedTuple

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


class TlsFault(NamedTuple):
    """Why a client is refused."""

    reason: str  # the label's value in our metrics
    text: str


_NAME = TlsFault("name_not_allowed", "none of the names in its certificate is allowed")
_EXPIRED = TlsFault("expired", "its certificate has expired")
_UNKNOWN_CA = TlsFault("unknown_ca", "its certificate is from an authority that is not in client_ca_file")
_NOT_TLS = TlsFault("not_tls", "it does not speak TLS")
_NOTHING_IN_COMMON = TlsFault("nothing_in_common", "it supports no version, cipher or curve of ours")
_CLOSED = TlsFault("closed", "it left before the end")

# By the error of X509_verify_cert; others are `bad_certificate`.
_BY_VERIFICATION = {
    **dict.fromkeys((2, 7, 18, 19, 20, 21, 24, 30), _UNKNOWN_CA),
    9: TlsFault("not_yet_valid", "its certificate is not valid yet"),
    10: _EXPIRED,
}

# By OpenSSL's reason; the client's own alerts have "ALERT" in theirs.
_BY_REASON = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": TlsFault("no_certificate", "it has no certificate"),
    **dict.fromkeys(("HTTP_REQUEST", "HTTPS_PROXY_REQUEST", "WRONG_VERSION_NUMBER", "UNEXPECTED_MESSAGE"), _NOT_TLS),
    **dict.fromkeys(("BAD_RECORD_TYPE", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"), _NOT_TLS),
    **dict.fromkeys(("UNSUPPORTED_PROTOCOL", "VERSION_TOO_LOW", "NO_SHARED_CIPHER"), _NOTHING_IN_COMMON),
    **dict.fromkeys(("NO_SUITABLE_KEY_SHARE", "NO_SUITABLE_SIGNATURE_ALGORITHM"), _NOTHING_IN_COMMON),
    **dict.fromkeys(("NO_SHARED_GROUP", "INAPPROPRIATE_FALLBACK"), _NOTHING_IN_COMMON),
    "UNEXPECTED_EOF_WHILE_READING": _CLOSED,
}


def why_it_failed(error: BaseException) -> TlsFault:
    """Why a handshake with a client failed, by the error that asyncio gives."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _BY_VERIFICATION.get(
            error.verify_code, TlsFault("bad_certificate", f"its certificate is refused: {error.verify_message}")
        )
    if isinstance(error, ssl.SSLError):
        reason = error.reason or ""
        if "ALERT" in reason:
            return TlsFault("refused_by_client", f"it refuses our certificate or settings ({reason})")
        return _BY_REASON.get(reason, TlsFault("other", reason or type(error).__name__))
    if isinstance(error, ConnectionAbortedError):  # asyncio's own, at the end of its timeout
        return TlsFault("timeout", "it took too long")
    return _CLOSED if isinstance(error, ConnectionError) else TlsFault("other", f"{type(error).__name__}: {error}")


def maybe_fault(certificate: dict[str, Any] | None, names: tuple[str, ...], now_s: float) -> TlsFault | None:
    """Why a client may not be connected whose certificate (as `getpeercert` gives it) has passed the handshake.

    `names`: it needs one of them as an alternative name, if there are any. OpenSSL does not look at dates again where a
    session is resumed, or goes on for long.
    """
    if names and not any(value in names for _, value in (certificate or {}).get("subjectAltName", ())):
        return _NAME
    if certificate and ssl.cert_time_to_seconds(certificate["notAfter"]) < now_s:
        return _EXPIRED
    return None


def _no_password() -> str:
    """An encrypted key is an error: OpenSSL would prompt at the terminal."""
    raise ValueError("the key has a password")
