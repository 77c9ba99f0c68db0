"""Listening sockets: their options, permissions, files and URLs."""

import errno
import os
import socket
import stat
from pathlib import Path

import pytest

from prom_probe.config.address import Address
from prom_probe.config.error import ConfigError
from prom_probe.log import Log
from prom_probe.run.listening import close, listen, listen_somehow

IN_USE = os.strerror(errno.EADDRINUSE)  # each libc has words of its own


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


def test_a_unix_socket_is_private_and_its_file_is_removed(tmp_path: Path) -> None:
    """It has mode 0600. The file of a process that is gone is replaced, that of a running one is not."""
    path = tmp_path / "api.sock"
    left = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    left.bind(str(path))
    left.close()
    listener = listen(Address("", 0, str(path)), api=True)
    assert listener.url == f"unix:{path}"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    with pytest.raises(ConfigError, match=f"cannot listen on unix:{path}: {IN_USE}"):
        listen(Address("", 0, str(path)), api=True)
    close(listener)
    assert not path.exists()


def test_a_file_that_is_not_a_socket_is_left_alone(tmp_path: Path) -> None:
    """The error is one line, and the file is still there."""
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(ConfigError, match=IN_USE):
        listen(Address("", 0, str(path)), api=True)
    assert path.read_text() == "data"


@pytest.mark.parametrize(
    ("address", "url"),
    [(Address("127.0.0.1", 0), "http://127.0.0.1:"), (Address("", 0), "http://localhost:")],
)
def test_the_url_is_one_that_a_local_client_can_use(address: Address, url: str) -> None:
    """It has the port that the kernel chose."""
    listener = listen(address, api=False)
    assert listener.url.startswith(url)
    assert not listener.url.endswith(":0")
    close(listener)


def test_a_default_address_that_is_taken_is_replaced(capfd: pytest.CaptureFixture[str]) -> None:
    """By a free port of the same host, which the log says; one that is free is used as it is."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = Address("127.0.0.1", taken.getsockname()[1], replaceable=True)
        (listener,) = listen_somehow(address, True, Log("warn"))
        assert listener.url in capfd.readouterr().err
        with pytest.raises(ConfigError, match=IN_USE):
            listen_somehow(address._replace(replaceable=False), True, Log("warn"))
    close(listener)
    (listener,) = listen_somehow(address, True, Log("warn"))
    assert listener.sock.getsockname()[1] == address.port
    close(listener)
    assert capfd.readouterr().err == ""


def test_without_any_port_nothing_is_served(capfd: pytest.CaptureFixture[str]) -> None:
    """Such as for a host that this machine is not: an error in the log, if nobody has asked for it."""
    assert listen_somehow(Address("192.0.2.1", 80, replaceable=True), False, Log("warn")) == []
    assert "cannot listen on 192.0.2.1:80: " in capfd.readouterr().err
