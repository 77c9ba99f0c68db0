"""Listening sockets: what they pass on to connections, whom they let in, what they leave behind."""

import os
import socket
import stat
from pathlib import Path

import pytest

from prom_probe.config.address import Address
from prom_probe.config.error import ConfigError
from prom_probe.run.listening import close, listen


@pytest.mark.parametrize("host", ["127.0.0.1", "", "::1"])
def test_a_connection_sends_small_pieces_at_once(host: str) -> None:
    """An accepted socket has Nagle's algorithm off."""
    try:
        listener = listen(Address(host, 0), api=False)
    except ConfigError as error:
        assert host == "::1", error
        pytest.skip("no IPv6 here")
    with socket.create_connection((host or "127.0.0.1", listener.sock.getsockname()[1])):
        listener.sock.setblocking(True)
        accepted, _ = listener.sock.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    close(listener)


def test_a_unix_socket_is_ours_alone_and_goes_with_us(tmp_path: Path) -> None:
    """Mode 0600; the file of a dead process is replaced, a living one's is not."""
    path = tmp_path / "api.sock"
    left = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    left.bind(str(path))
    left.close()
    listener = listen(Address("", 0, str(path)), api=True)
    assert listener.url == f"unix:{path}"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    with pytest.raises(ConfigError, match=f"cannot listen on unix:{path}: Address already in use"):
        listen(Address("", 0, str(path)), api=True)
    close(listener)
    assert not path.exists()


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    """One clear line, and the file is still there."""
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(ConfigError, match="Address already in use"):
        listen(Address("", 0, str(path)), api=True)
    assert path.read_text() == "data"


@pytest.mark.parametrize(
    ("address", "url"),
    [(Address("127.0.0.1", 0), "http://127.0.0.1:"), (Address("", 0), "http://localhost:")],
)
def test_the_url_is_what_a_client_here_uses(address: Address, url: str) -> None:
    """With the port that was given."""
    listener = listen(address, api=False)
    assert listener.url.startswith(url)
    assert not listener.url.endswith(":0")
    close(listener)
