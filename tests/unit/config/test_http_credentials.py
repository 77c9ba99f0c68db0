"""What the settings of an HTTP client refer to: files of secrets and certificates."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from prom_probe.config.http_client import TlsConfig
from prom_probe.config.http_credentials import ClientTls, read_secret


def _read_certificates(path: str) -> object:
    return ClientTls(TlsConfig(ca_file=path)).get()


@pytest.mark.parametrize("read", [read_secret, _read_certificates])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_a_file_that_is_none_is_an_error(
    tmp_path: Path, read: Callable[[str], object], make: Callable[[str], None]
) -> None:
    """A pipe that nobody writes to would hold up its target without a word, a device without an end too."""
    path = str(tmp_path / "secret")
    make(path)
    with pytest.raises(OSError, match="no regular file"):
        read(path)


def test_a_secret_is_the_files_content_without_its_newline(tmp_path: Path) -> None:
    """A link to it too, as Kubernetes makes them; without a file there is none."""
    (tmp_path / "data").write_text("sesame\n")
    (tmp_path / "link").symlink_to("data")
    assert read_secret(str(tmp_path / "link")) == "sesame"
    assert read_secret("") == ""
