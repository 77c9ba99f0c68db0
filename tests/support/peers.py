"""Real peers on loopback for side-by-side figures: Prometheus, VictoriaMetrics, and us, each with its query API."""

from __future__ import annotations

import http.client
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import cramjam
import numpy as np
import numpy.typing as npt

from prom_probe.model.labels import Labels
from tests.support.waiting import DEADLINE_S

T = TypeVar("T")

_FIRST_GIVEN = 32_768  # net.ipv4.ip_local_port_range


def free_port() -> int:
    """A loopback port that nobody has.

    Below those that the kernel gives to whoever names none: one of them may be a client's before the server binds it.
    """
    while True:
        port = random.randrange(10_000, _FIRST_GIVEN)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


class Peer:
    """A server process of ours, mostly with a Prometheus API; ended, its folder removed, at the end of the `with`.

    What fails within the `with` is told what the server said, and whether it has ended.
    """

    write_path = "/api/v1/write"
    ready_path = "/-/ready"
    query_prefix = "/api/v1"

    def __init__(self, name: str, argv: Sequence[str], port: int, folder: Path) -> None:
        self.name = name
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._folder = folder
        self._log = (folder / "log").open("wb")
        self._process = subprocess.Popen(argv, stdout=self._log, stderr=self._log, cwd=folder)
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)

    def __enter__(self) -> Peer:
        end = time.monotonic() + DEADLINE_S
        while self._process.poll() is None and time.monotonic() < end:
            try:
                if self.get(self.ready_path)[0] == 200:
                    return self
            except OSError:
                self._connection.close()
            time.sleep(0.05)
        said = self._said("is not ready")
        self.__exit__(None, None, None)
        raise RuntimeError(said)

    def unless_ended(self, condition: Callable[[], T]) -> Callable[[], T]:
        """The condition, and an error once the server has ended: whoever waits for what it does waits in vain."""

        def check() -> T:
            if self._process.poll() is not None:
                raise RuntimeError(self._said("has ended"))
            return condition()

        return check

    def _said(self, state: str) -> str:
        return f"{self.name} {state} ({self._process.poll()}): {(self._folder / 'log').read_text()[-2000:]}"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note(self._said("said"))
        self._connection.close()
        self._process.terminate()
        try:
            self._process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def pid(self) -> int:
        return self._process.pid

    def renew(self) -> None:
        """Take another connection: a peer closes one that has been idle for a minute."""
        self._connection.close()

    def get(self, path: str) -> tuple[int, bytes]:
        """(status, body) over one kept connection."""
        self._connection.request("GET", path)
        response = self._connection.getresponse()
        return response.status, response.read()

    def post(self, path: str, form: str) -> tuple[int, bytes]:
        """(status, body) of a form."""
        self._connection.request("POST", path, form, {"Content-Type": "application/x-www-form-urlencoded"})
        response = self._connection.getresponse()
        return response.status, response.read()

    def write(self, body: bytes) -> None:
        """One remote write request."""
        headers = {
            "Content-Type": "application/x-protobuf",
            "Content-Encoding": "snappy",
            "X-Prometheus-Remote-Write-Version": "0.1.0",
        }
        self._connection.request("POST", self.write_path, body, headers)
        response = self._connection.getresponse()
        answer = response.read()
        if response.status not in (200, 204):
            raise RuntimeError(f"{self.name} answered {response.status}: {answer[:500]!r}")


def prometheus(config: str = "global: {}\n", *more: str, port: int | None = None, data: Path | None = None) -> Peer:
    """Debian's prometheus, its remote write receiver on, with this configuration and further flags."""
    folder, port = Path(tempfile.mkdtemp()), port or free_port()
    (folder / "prometheus.yml").write_text(config)
    flags = [f"--config.file={folder}/prometheus.yml", f"--web.listen-address=127.0.0.1:{port}"]
    flags += [f"--storage.tsdb.path={data or folder / 'data'}", "--web.enable-remote-write-receiver", *more]
    return Peer("Prometheus", ["prometheus", *flags], port, folder)


class ExporterPeer(Peer):
    """It is ready when it serves its first page; a scrape would already cost it."""

    ready_path = "/"


def node_exporter() -> Peer:
    """Debian's prometheus-node-exporter."""
    port = free_port()
    flags = [f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]
    return ExporterPeer("node_exporter", ["prometheus-node-exporter", *flags], port, Path(tempfile.mkdtemp()))


class VictoriaMetrics(Peer):
    """Its health has another path."""

    ready_path = "/health"


def victoria_metrics(*more: str) -> Peer:
    """Debian's victoria-metrics without its result cache, with further flags."""
    folder, port = Path(tempfile.mkdtemp()), free_port()
    flags = [f"-storageDataPath={folder}/data", f"-httpListenAddr=127.0.0.1:{port}", "-search.disableCache"]
    flags += ["-search.latencyOffset=0s", "-retentionPeriod=100y", *more]
    return VictoriaMetrics("VictoriaMetrics", ["victoria-metrics", *flags], port, folder)


def prom_probe(cache: bool) -> Peer:
    """Ourselves, watching nothing, with the remote write receiver; without the decode cache where asked."""
    port = free_port()
    flags = ["--web.listen-address=", f"--api.listen-address=127.0.0.1:{port}", "--web.enable-remote-write-receiver"]
    flags += [
        "--storage.tsdb.max-series=30000",
        "--storage.tsdb.retention.size=512MB",
        "--storage.tsdb.retention.time=1d",
        "--interval.system=1h",
    ]
    if not cache:
        flags.append("--storage.tsdb.decode-cache-size=0B")
    argv = [sys.executable, "-m", "prom_probe", "run", *flags]
    return Peer("prom_probe" if cache else "prom_probe, cold", argv, port, Path(tempfile.mkdtemp()))


def encode_write(series: Iterable[tuple[Labels, Sequence[int], Sequence[float]]]) -> bytes:
    """A remote write 1.0 request: snappy over a protobuf WriteRequest of (labels, timestamps in ms, values)."""
    out = bytearray()
    for labels, times, values in series:
        body = bytearray()
        for name, value in labels:
            pair = _field(1, name.encode()) + _field(2, value.encode())
            body += _field(1, pair)
        body += _samples(np.asarray(times, np.int64), np.asarray(values, "<f8"))
        out += _field(1, bytes(body))
    return bytes(cramjam.snappy.compress_raw(bytes(out)))


def _samples(times: npt.NDArray[np.int64], values: npt.NDArray[np.float64]) -> bytes:
    """Field 2 of a TimeSeries for each sample; every timestamp as a varint of the same length."""
    width = len(_varint(int(times.max())))
    rows = np.empty((len(times), 12 + width), np.uint8)
    rows[:, :3] = 0x12, 10 + width, 0x09
    rows[:, 3:11] = values.view(np.uint8).reshape(-1, 8)
    rows[:, 11] = 0x10
    for i in range(width):
        rows[:, 12 + i] = times >> 7 * i & 0x7F | (0x80 if i + 1 < width else 0)
    return rows.tobytes()


def _field(number: int, data: bytes) -> bytes:
    return bytes((number << 3 | 2,)) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
