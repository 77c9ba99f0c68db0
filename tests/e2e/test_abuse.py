"""Clients that mean no good, all at once, while a scraper beside them loses no scrape."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.sidecar import Sidecar
from tests.support.strangers import ATTACKS, Attack, address_of, connect, send
from tests.support.tls import TLS, Authority, context, get, write
from tests.support.waiting import DEADLINE_S, wait_for


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _aggregator(sidecar: Sidecar) -> int:
    return int(wait_for("the aggregator", lambda: sidecar.worker("aggregator")))


class Scraper(threading.Thread):
    """Scrapes over new and over kept connections until it is told to stop; notes what went wrong."""

    def __init__(self, scrape: Callable[[], int]) -> None:
        super().__init__()
        self._scrape = scrape
        self._ended = threading.Event()
        self.done = 0
        self.failed: list[object] = []

    def run(self) -> None:
        while not self._ended.wait(0.02):
            try:
                status = self._scrape()
                if status != 200:
                    self.failed.append(status)
            except OSError as error:
                self.failed.append(error)
            self.done += 1

    def __enter__(self) -> Scraper:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join(DEADLINE_S)


_LONG_POST = b"POST /api/v1/query HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"


@pytest.mark.parametrize(
    "sent", [b"", b"GET /metrics HTTP/1.1\r\nHo", _LONG_POST + bytes(900_000)], ids=["idle", "header", "body"]
)
def test_a_thousand_connections_cost_little(sent: bytes) -> None:
    """Idle or begun, they take less than 10 MB, and scrapes are answered meanwhile."""
    with Sidecar() as sidecar, ExitStack() as stack:
        pid, address = _aggregator(sidecar), address_of(sidecar.api)
        for _ in range(20):
            assert sidecar.get("/metrics", sidecar.web)[0] == 200
        before = _resident(pid)
        with Scraper(lambda: sidecar.get("/metrics", sidecar.web)[0]) as scraper:
            for _ in range(1000):
                send(stack.enter_context(connect(address)), sent)
            wait_for("scrapes", lambda: scraper.done >= 30)
            grown = _resident(pid) - before
        assert not scraper.failed
        assert grown < 10e6, f"grew by {grown / 1e6:.1f} MB"


def test_a_scraper_beside_all_of_them_loses_nothing() -> None:
    """Each attack gets what is promised; drippers and slow readers stay connected meanwhile."""
    with Sidecar() as sidecar, ExitStack() as stack:
        address = address_of(sidecar.web)
        pid = _aggregator(sidecar)
        drippers = [stack.enter_context(connect(address)) for _ in range(50)]
        readers = [stack.enter_context(connect(address)) for _ in range(50)]
        for reader in readers:
            send(reader, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
        with Scraper(lambda: sidecar.get("/metrics", sidecar.web)[0]) as scraper:
            for seed in range(3):
                rng = random.Random(seed)
                for dripper in drippers:
                    send(dripper, b"G")
                failed: list[BaseException] = []

                def attempt(attack: Attack, rng: random.Random = rng) -> None:
                    try:
                        attack(address, rng)
                    except BaseException as error:
                        failed.append(error)  # noqa: B023 - the threads end within this turn

                threads = [threading.Thread(target=attempt, args=(attack,)) for attack in ATTACKS * 2]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join(DEADLINE_S)
                assert not failed, failed
            wait_for("scrapes", lambda: scraper.done >= 20)
        assert not scraper.failed
        assert sidecar.worker("aggregator") == pid and "Traceback" not in sidecar.stderr
        for ring in ("process", "system"):
            assert sidecar.metric("prom_probe_ring_dropped_frames_total", ring=ring) == 0


def test_garbage_on_a_tls_port(authority: Authority, tmp_path: Path) -> None:
    """Handshakes that never come or make no sense harm no scrape and leave no line that is not ours."""
    for file in authority.folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    with Sidecar(flags=[f"--web.config.file={write(tmp_path, TLS)}"]) as sidecar, ExitStack() as stack:
        address, trusted = address_of(sidecar.web), context(tmp_path)
        pid = _aggregator(sidecar)
        assert get(sidecar.web + "/metrics", trusted)[0] == 200
        before = _resident(pid)
        with Scraper(lambda: get(sidecar.web + "/metrics", trusted)[0]) as scraper:
            rng = random.Random(1)
            for i in range(200):
                sock = stack.enter_context(connect(address))
                send(sock, [b"", b"GET / HTTP/1.1\r\n\r\n", rng.randbytes(500), b"\x16\x03\x01"][i % 4])
            wait_for("scrapes", lambda: scraper.done >= 20)
        assert not scraper.failed
        assert sidecar.worker("aggregator") == pid
        assert "Traceback" not in sidecar.stderr, sidecar.stderr[-2000:]
        assert _resident(pid) - before < 30e6
