"""Sources on the real kernel and beside a TLS server: kept files, priorities, GPU detection, pages by HTTPS."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from prom_probe.sources.descriptors import Descriptors
from prom_probe.sources.http_page import HttpPage, PageError, parse_endpoint
from prom_probe.sources.priority import has_priority, set_priority
from prom_probe.sources.proc_pid_stat import parse_proc_pid_stat
from prom_probe.sources.process_files import ProcessFiles, fd_size_counts
from tests.support.priorities import PRIORITIES
from tests.support.tls import Authority

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


@pytest.fixture
def child() -> Iterator[int]:
    """A process that sleeps."""
    pid = os.fork()
    if pid == 0:
        signal.pause()
        os._exit(0)
    yield pid
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        pass


@linux
@pytest.mark.parametrize("limit", [0, 100])
def test_a_process_is_read(child: int, limit: int) -> None:
    """The four files, kept or not; its end is a ProcessLookupError or FileNotFoundError, and closing frees all."""
    descriptors = Descriptors(limit)
    files = ProcessFiles("/proc", child, descriptors, fd_size=fd_size_counts("/proc"))
    listed = len(os.listdir(f"/proc/{child}/fd"))
    for _ in range(2):
        assert parse_proc_pid_stat(files.stat()).ppid == os.getpid()
        assert files.statm().count(b" ") == 6
        assert files.io().startswith(b"rchar: ")
        assert files.open_fds() == listed
    assert descriptors.used <= min(limit, 4)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    for read in (files.stat, files.statm, files.io, files.open_fds):
        with pytest.raises((ProcessLookupError, FileNotFoundError)):
            read()
    files.close()
    assert descriptors.used == 0


def in_child(check: Callable[[], None]) -> bool:
    """Whether `check` passes in a process of its own, whose priority nobody else has."""
    pid = os.fork()
    if pid == 0:
        try:
            check()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    return os.waitpid(pid, 0)[1] == 0


def may_raise() -> bool:
    return in_child(lambda: os.setpriority(os.PRIO_PROCESS, 0, -10))


@pytest.mark.parametrize("priority", PRIORITIES)
def test_a_granted_priority_is_read_back(priority: str, tmp_path: Path) -> None:
    """By another process or by itself; the kernel's own file shows it."""
    if not may_raise():
        pytest.skip("may not raise priorities here")

    def check() -> None:
        assert not has_priority(os.getpid(), priority)
        set_priority(priority, str(tmp_path / "no autogroup"))
        assert has_priority(os.getpid(), priority)
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        assert int(fields[15]) == {"high": 10, "realtime": -2}[priority]  # priority, see proc_pid_stat(5)

    assert in_child(check)


@pytest.mark.parametrize("priority", PRIORITIES)
def test_a_denied_priority_is_an_error_and_changes_nothing(priority: str, tmp_path: Path) -> None:
    """Another uid without the capability and without the limits."""

    def check() -> None:
        import resource

        for limit in (resource.RLIMIT_NICE, resource.RLIMIT_RTPRIO):
            resource.setrlimit(limit, (0, 0))
        if os.getuid() == 0:
            os.setuid(65534)
        try:
            set_priority(priority, str(tmp_path / "no autogroup"))
        except PermissionError:
            assert not has_priority(os.getpid(), priority)
            return
        raise AssertionError("was granted")

    assert in_child(check)


def test_detection_loads_nothing() -> None:
    """Neither NVML's binding nor ctypes, on which it rests."""
    code = (
        "import sys; from prom_probe.sources.gpu_detect import detect_gpus; detect_gpus('/proc', '/sys');"
        "print(*{'pynvml', 'ctypes', 'threading'} & set(sys.modules))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert loaded == []


def test_https(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that is trusted is taken, over one connection; another one is no connection."""
    Authority(tmp_path).issue("server")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for _ in range(2):
                raw, _ = listener.accept()
                try:
                    with server.wrap_socket(raw, server_side=True) as sock:
                        while sock.recv(65536):
                            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc")
                except OSError:
                    pass

        threading.Thread(target=serve, daemon=True).start()
        endpoint = parse_endpoint(f"https://127.0.0.1:{listener.getsockname()[1]}")
        with closing(HttpPage(endpoint, {}, 1000)) as page:
            with pytest.raises(PageError, match="certificate is not trusted") as error:
                page.read(10)
            assert error.value.reason == "tls"
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.crt"))
        with closing(HttpPage(endpoint, {}, 1000)) as page:
            assert [page.read(10).body for _ in range(2)] == [b"abc", b"abc"]
