"""Connecting to a host: its name server and its addresses may be dead, and the deadline holds."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from prom_probe.client_connection import HostConnector
from tests.support.waiting import DEADLINE_S, wait_for

SHORT_S = 0.3


def found(*ports: int) -> list[Any]:
    """As getaddrinfo answers."""
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]


class Names:
    """A name server that knows one host, and answers when `answers` is set."""

    def __init__(self, *ports: int) -> None:
        self.ports = ports
        self.asked: list[str] = []
        self.answers = threading.Event()
        self.answers.set()

    def __call__(self, host: str, port: int, **hints: object) -> list[Any]:
        self.asked.append(host)
        self.answers.wait(DEADLINE_S)
        if host != "receiver":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return found(*self.ports)


@contextmanager
def listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@contextmanager
def silent() -> Iterator[int]:
    """A port where connecting has no end, as at an address that is gone: its backlog is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        while True:
            client = stack.enter_context(socket.socket())
            client.settimeout(0.2)
            try:
                client.connect(listener.getsockname())
            except TimeoutError:
                break
        yield listener.getsockname()[1]


@contextmanager
def refusing() -> Iterator[int]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def connect(connector: HostConnector, seconds: float = DEADLINE_S, host: str = "receiver", **more: Any) -> int:
    """The port that it is connected to."""
    with connector.connect(host, 9090, time.monotonic() + seconds, **more) as sock:
        return int(sock.getpeername()[1])


def test_the_next_address_is_tried() -> None:
    """Where one refuses, or says nothing for its part of the time; what was good goes first next time."""
    with silent() as dead, refusing() as closed, listening() as good:
        connector = HostConnector(look_up=Names(dead, closed, good))
        assert connect(connector, 3 * SHORT_S) == good
        tried: list[str] = []
        assert connect(connector, admit=tried.append) == good
        assert tried == ["127.0.0.1"]


@pytest.mark.parametrize(("make", "error"), [(silent, TimeoutError), (refusing, ConnectionRefusedError)])
def test_no_address_is_good(make: Any, error: type[OSError]) -> None:
    """What the last one of them said."""
    with make() as port, pytest.raises(error):
        connect(HostConnector(look_up=Names(port, port)), SHORT_S)
    with pytest.raises(OSError, match="no address"):
        connect(HostConnector(look_up=Names()))


def test_a_name_server_that_does_not_answer() -> None:
    """The deadline holds, and only one lookup waits, however often it is tried; a late answer is used."""
    with listening() as port:
        names = Names(port)
        names.answers.clear()
        connector = HostConnector(look_up=names)
        for host in ("receiver", "receiver", "other"):
            with pytest.raises(TimeoutError):
                connect(connector, 0.05, host)
        assert names.asked == ["receiver"]
        names.answers.set()
        wait_for("the late answer", lambda: connect(connector, 1.0) == port)
        assert names.asked == ["receiver"]


def test_a_late_answer_is_not_used_for_another_host() -> None:
    """That one is looked up anew."""
    with listening() as port:
        names = Names(port)
        names.answers.clear()
        connector = HostConnector(look_up=names)
        with pytest.raises(TimeoutError):
            connect(connector, 0.05, "other")
        names.answers.set()
        assert connect(connector) == port
        assert names.asked == ["other", "receiver"]


def test_an_address_needs_no_name_server() -> None:
    """It is not asked."""
    names = Names()
    with listening() as port, HostConnector(look_up=names).connect("127.0.0.1", port, time.monotonic() + DEADLINE_S):
        assert names.asked == []


@pytest.mark.parametrize("host", ["a..b", "x" * 70, "nul\0", "unknown"])
def test_what_is_no_host(host: str) -> None:
    """Is an OSError, also where Python has another one."""
    with pytest.raises(OSError):
        connect(HostConnector(look_up=Names()), host=host)


def test_an_address_may_be_refused_by_the_caller() -> None:
    """Before anything is sent to it."""

    def refuse(address: str) -> None:
        raise PermissionError(address)

    with listening() as port, pytest.raises(PermissionError, match=r"127\.0\.0\.1"):
        connect(HostConnector(look_up=Names(port)), admit=refuse)


def test_time_is_up_before_it_begins() -> None:
    """A deadline that has passed."""
    with listening() as port, pytest.raises(TimeoutError):
        connect(HostConnector(look_up=Names(port)), -1.0)
