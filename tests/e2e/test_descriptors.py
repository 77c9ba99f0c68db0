"""More clients than descriptors, and clients that never finish: scrapes go on, the log stays short."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest

from tests.support.sidecar import Sidecar
from tests.support.waiting import DEADLINE_S, wait_for

_SCRAPES = 20

_SENT = {
    "idle": b"",
    "slowloris": b"GET /metrics HTTP/1.1\r\nHo",
    "HTTP/2 begun": b"PRI * HTT",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
    "pipelined": b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20,
    "body": b"POST /api/v1/query HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900000\r\n\r\n" + bytes(5000),
}


def _connect(url: str) -> socket.socket:
    host, _, port = url.partition("://")[2].rpartition(":")
    return socket.create_connection((host, int(port)), DEADLINE_S)


@pytest.mark.parametrize("limit", [32, 64])
@pytest.mark.parametrize("sent", _SENT.values(), ids=_SENT)
def test_clients_on_both_listeners(sent: bytes, limit: int) -> None:
    """120 connections on both listeners at once: each scrape and health check over a new one has an answer."""
    prefix = ["sh", "-c", f'ulimit -n {limit} && exec "$@"', "sh"]
    with Sidecar(prefix=prefix) as sidecar, ExitStack() as stack:
        wait_for("an answer", lambda: sidecar.get("/-/ready", sidecar.web)[0] == 200)
        before = len(sidecar.stderr.splitlines())
        for _ in range(60):
            for url in (sidecar.web, sidecar.api):
                sock = stack.enter_context(_connect(url))
                try:
                    sock.sendall(sent)
                except OSError:
                    pass  # turned away
        pid = sidecar.worker("aggregator")
        for base in (sidecar.web, sidecar.api):
            for _ in range(_SCRAPES):
                assert sidecar.get("/metrics", base)[0] == 200
                assert sidecar.get("/-/healthy", base)[0] == 200
        assert sidecar.worker("aggregator") == pid
        assert len(sidecar.stderr.splitlines()) - before <= 2, sidecar.stderr
        wait_for("counted", lambda: sidecar.metric("prom_probe_http_evicted_connections_total"))
        assert sidecar.metric("prom_probe_http_accept_failures_total") == 0
