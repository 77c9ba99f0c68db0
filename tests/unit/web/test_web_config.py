"""The file of `--web.config.file`: what is wrong in it is one line with the file, the line and the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from prom_probe.web.http.web_config import WebConfigError, read_web_config
from tests.support.tls import TLS


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (TLS.replace("server.crt", "absent.crt"), "line 2: tls_server_config.cert_file: "),
        (TLS + "  min_version: TLS11\n", "line 4: tls_server_config.min_version: TLS11 is no longer secure"),
        (TLS + "  cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]\n", "cipher_suites: unknown: 'TLS_RSA_WITH_RC4_128_SHA'"),
        (TLS + "  client_auth_type: RequireAnyClientCert\n", "accepts unverified certificates"),
        (TLS + "  client_auth_type: RequireAndVerifyClientCert\n", "needs a client_ca_file"),
        ("tls_server_config:\n  key_file: server.key\n", "missing cert_file"),
        ("tls_server_confg: {}\n", "line 1: tls_server_confg: unknown key"),
        ("basic_auth_users:\n  a: plain\n", "line 2: basic_auth_users.a: not a bcrypt hash"),
        ("http_server_config:\n  headers:\n    X-Foo: bar\n", "line 3: http_server_config.headers.X-Foo: not one of"),
        ("a: [", "line 1: "),
        ("[" * 1000, "lists and mappings are nested too deeply"),
        ("? [a]\n: b\n", "line 1: found unhashable key"),
        ("basic_auth_users: {a: 2001-13-40}\n", "month must be in 1..12"),
        ("basic_auth_users: {a: 0b_}\n", "invalid literal for int()"),
        ("basic_auth_users:\n  a: x\n  a: y\n", "line 3: basic_auth_users.a: given twice"),
        ("basic_auth_users: {}\nbasic_auth_users: {}\n", "line 2: basic_auth_users: given twice"),
        (TLS.replace("server.crt", '"a\\0"'), "line 2: tls_server_config.cert_file: "),
        ("- a\n", "not a mapping"),
    ],
)
def test_a_wrong_file_names_the_place(tmp_path: Path, text: str, error: str) -> None:
    """File, line, key, reason; never a secret."""
    for name in ("server.crt", "server.key"):
        (tmp_path / name).write_text("")
    file = tmp_path / "web.yml"
    file.write_text(text)
    with pytest.raises(WebConfigError) as raised:
        read_web_config(str(file))
    told = str(raised.value)
    assert str(file) in told and error in told and "plain" not in told and "\n" not in told
