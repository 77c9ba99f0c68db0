"""Each process by name, with its true peak: against the kernel's own account, as the programs themselves report it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from prom_probe.collectors.base import Context
from prom_probe.collectors.process.collector import ProcessCollector
from prom_probe.model.watch import Watch
from tests.support.collector_harness import values
from tests.support.sidecar import Sidecar
from tests.support.waiting import wait_for

MIB = 1 << 20
NO_LISTENERS = ["--web.listen-address=", "--api.listen-address="]
PEAK = "import re\ndef peak(): return int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]) << 10\n"

# Its child has its memory for five seconds, as between a vfork and a slow exec. clone(2): VM, VFORK, SIGCHLD.
VFORKED = """
import ctypes, mmap
libc = ctypes.CDLL(None)
ours = bytearray(b"x") * (100 << 20)
stack = mmap.mmap(-1, 1 << 16)
top = ctypes.addressof(ctypes.c_char.from_buffer(stack)) + (1 << 16)
print("ready", flush=True)
libc.clone(ctypes.cast(libc.sleep, ctypes.c_void_p), ctypes.c_void_p(top), 0x100 | 0x4000 | 17, ctypes.c_void_p(60))
"""
# Each is the other's child, and all do the same.
FORKED = """
import os, signal
for _ in range(7):
    if os.fork():
        signal.pause()
print("ready", flush=True)
signal.pause()
"""
# Its main thread ends; another one has the memory.
LEADERLESS = """
import ctypes, os, threading, time
def work():
    ours = bytearray(b"x") * (100 << 20)
    while open("/proc/self/stat").read().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.01)
    print("ready", flush=True)
    while True:
        time.sleep(0.01)
threading.Thread(target=work).start()
ctypes.CDLL(None).pthread_exit(None)
"""
PEAK_BETWEEN = f"""{PEAK}
import sys, time
for line in sys.stdin:
    spike = bytearray(b"x") * (300 << 20)
    del spike
    print(peak(), flush=True)
"""


@contextmanager
def program(source: str) -> Iterator[subprocess.Popen[str]]:
    """A Python program, once it has said that it is ready where it says so."""
    argv = [sys.executable, "-S", "-c", source]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        if "ready" in source:
            assert process.stdout.readline() == "ready\n"
        try:
            yield process
        finally:
            process.kill()


def collector_of(pid: int) -> ProcessCollector:
    return ProcessCollector(Context(watches=(Watch("job", "pid", str(pid)),), cmdline=True))


def child_of(pid: int) -> int:
    """The PID of its only child."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else 0


def test_memory_that_a_vforked_child_has_of_its_parent_counts_once() -> None:
    """The authority is the kernel: the parent's own VmRSS, as the child's until its exec."""
    with program(VFORKED) as process:
        child = wait_for("the child", lambda: child_of(process.pid))
        collector = collector_of(process.pid)
        for _ in range(3):
            collector.collect()
            row = values(collector)
            resident = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            assert row['proctree_processes{tree="job"}'] == 2
            assert row['proctree_resident_memory_bytes{tree="job"}'] == pytest.approx(resident, rel=0.01)
            assert row['proctree_resident_memory_max_bytes{tree="job"}'] == pytest.approx(resident, rel=0.05)
        resident_of = [series for series in row if series.startswith("proctree_process_resident_memory_bytes")]
        assert len(resident_of) == 1 and f'pid="{process.pid}"' in resident_of[0]
        collector.close()
        os.kill(child, 9)


def test_copies_by_fork_have_memory_of_their_own() -> None:
    """The authority is the kernel: statm of each, though some have the same sizes."""
    with program(FORKED) as process:
        tree = [process.pid]
        for pid in tree:
            tree += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        try:
            collector = collector_of(process.pid)
            collector.collect()
            texts = [Path(f"/proc/{pid}/statm").read_text() for pid in tree]
            collector.close()
        finally:
            for pid in tree[1:]:
                os.kill(pid, 9)
    assert len(tree) == 8
    assert any(child == parent for parent, child in pairwise(texts))
    resident = sum(int(text.split()[1]) for text in texts) * os.sysconf("SC_PAGE_SIZE")
    assert values(collector)['proctree_resident_memory_bytes{tree="job"}'] == resident


def test_a_process_whose_main_thread_has_ended_has_its_memory_and_descriptors() -> None:
    """The authority is the live thread's statm and fd in /proc/PID/task; it is no zombie."""
    with program(LEADERLESS) as process:
        collector = collector_of(process.pid)
        collector.collect()
        before = values(collector)['proctree_cpu_seconds_total{mode="user", tree="job"}']
        wait_for("CPU time", lambda: _cpu(collector) > before)
        row = values(collector)
        task = next(path for path in Path(f"/proc/{process.pid}/task").iterdir() if path.name != str(process.pid))
        resident = int((task / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        assert resident > 100 * MIB
        assert row['proctree_resident_memory_bytes{tree="job"}'] == pytest.approx(resident, rel=0.01)
        assert row['proctree_open_fds{tree="job"}'] >= 3
        assert row['proctree_processes_state{state="zombie", tree="job"}'] == 0
        assert row['proctree_largest_process_memory_peak_bytes{tree="job"}'] > 100 * MIB
        assert any(series.startswith("proctree_process_info{cmdline=") for series in row)
        collector.close()


def _cpu(collector: ProcessCollector) -> float:
    collector.collect()
    return values(collector)['proctree_cpu_seconds_total{mode="user", tree="job"}']


def test_a_peak_between_two_collections_is_in_the_maximum() -> None:
    """The authority is VmHWM as the program itself reads it after the spike."""
    with program(PEAK_BETWEEN) as process:
        assert process.stdin is not None and process.stdout is not None
        collector = collector_of(process.pid)
        collector.collect()
        process.stdin.write("\n")
        process.stdin.flush()
        peak = int(process.stdout.readline())
        collector.collect()
        row = values(collector)
        assert peak > 300 * MIB
        assert row['proctree_resident_memory_bytes{tree="job"}'] < 100 * MIB
        assert row['proctree_resident_memory_max_bytes{tree="job"}'] == pytest.approx(peak, rel=0.01)
        assert row['proctree_largest_process_memory_peak_bytes{tree="job"}'] == pytest.approx(peak, rel=0.01)
        collector.close()


def test_what_a_child_that_no_collection_sees_uses_as_it_executes_is_not_counted_twice() -> None:
    """A parent of 200 MiB that runs one short program after another: the authority is its own peak."""
    loop = f"""{PEAK}
import subprocess, time
ours = bytearray(b"x") * (200 << 20)
end = time.monotonic() + 2.5
while time.monotonic() < end: subprocess.run(["/bin/true"])
print(peak(), flush=True)
time.sleep(600)
"""
    with program(loop) as process, Sidecar(flags=[f"--watch=job=pid:{process.pid}", "--interval=20ms"]) as sidecar:
        assert process.stdout is not None
        peak = int(process.stdout.readline())
        wait_for("the tree alone", lambda: sidecar.value("proctree_processes") == 1)
        maximum = sidecar.value("max_over_time(proctree_resident_memory_bytes[1m])")
        assert maximum is not None and peak * 0.95 < maximum < peak * 1.1
        rolling = sidecar.value("proctree_resident_memory_max_bytes")
        assert rolling is not None and peak * 0.95 < rolling < peak * 1.1


def asleep(pid: int) -> str:
    """What /proc/PID/status says of a `sleep` that has come so far; "" before."""
    status = Path(f"/proc/{pid}/status").read_text()
    return status if "Name:\tsleep\n" in status and "State:\tS " in status else ""


def test_our_own_image_is_not_the_commands() -> None:
    """The authority is a `sleep` that was started bare: its VmHWM."""
    with subprocess.Popen(["sleep", "600"]) as bare:
        status = wait_for("sleep", partial(asleep, bare.pid))
        bare.kill()
    peak = int(status.partition("VmHWM:")[2].split()[0]) << 10
    with Sidecar("--", "sleep", "600", flags=["--interval=50ms"]) as sidecar:
        wait_for("sleep", lambda: sidecar.value('proctree_process_info{comm="sleep", cmdline="sleep 600"}'))
        for name in (
            "proctree_largest_process_memory_peak_bytes",
            "proctree_resident_memory_max_bytes",
            "max(max_over_time(proctree_resident_memory_bytes[1m]))",
            "max(max_over_time(proctree_process_memory_peak_bytes[1m]))",
        ):
            value = sidecar.value(name)
            assert value is not None and 0 < value < 2 * peak, name
        assert len(sidecar.query("count by (comm) (last_over_time(proctree_process_threads[1m]))")) == 1


def test_an_orphan_of_the_command_is_in_its_tree(tmp_path: Path) -> None:
    """A daemon by double fork, with 100 MiB; the authority is what the daemon says of itself."""
    daemon, said = tmp_path / "daemon.py", tmp_path / "said"
    memory = "ours = bytearray(b'x') * (100 << 20)"
    daemon.write_text(f"{PEAK}\nimport os, time\n{memory}\nprint(os.getpid(), peak(), flush=True)\ntime.sleep(600)\n")
    script = f"(setsid {sys.executable} -S {daemon} > {said} &); exec sleep 600"
    with Sidecar("--", "sh", "-c", script, flags=["--interval=100ms"]) as sidecar:
        pid, peak = wait_for("the daemon", lambda: [int(number) for number in said.read_text().split()])
        try:
            expr = f'proctree_process_memory_peak_bytes{{pid="{pid}"}}'
            wait_for("its peak", lambda: sidecar.value(expr) == pytest.approx(peak, rel=0.05))
        finally:
            os.kill(pid, signal.SIGKILL)


# Prints ru_maxrss of a command. It is a small process, since ru_maxrss has the image of the parent too.
_BARE_PEAK = "import os, sys; print(os.wait4(os.spawnv(os.P_NOWAIT, sys.argv[1], sys.argv[1:]), 0)[2].ru_maxrss)"


@pytest.mark.parametrize(
    "source",
    [
        "import time; time.sleep(0.5)\nx = bytearray(b'x') * (300 << 20)",
        "import os, time; time.sleep(0.5)\nif os.fork() == 0: x = bytearray(b'x') * (300 << 20)\nelse: os.wait()",
    ],
    ids=["its own", "a child's"],
)
def test_a_peak_at_the_commands_end_is_in_the_store(tmp_path: Path, source: str) -> None:
    """Nobody sees it but wait4(2), whose ru_maxrss of a bare run is the authority."""
    argv = [sys.executable, "-S", "-c", source]
    peak = int(subprocess.check_output([sys.executable, "-S", "-c", _BARE_PEAK, *argv])) << 10
    store = f"--storage.tsdb.path={tmp_path / 'store'}"
    with Sidecar("--", *argv, flags=[store, "--interval=200ms", "--run.linger=60s"]) as sidecar:
        for name in ("proctree_largest_process_memory_peak_bytes", "proctree_resident_memory_max_bytes"):
            expr = f"{name} > 300 * 1024 * 1024"
            assert wait_for(name, lambda expr=expr: sidecar.value(expr)) == pytest.approx(peak, rel=0.05)  # type: ignore[misc]


def test_a_peak_at_the_commands_end_is_known_to_a_large_process_too() -> None:
    """One larger than COMMAND starts us, so that its image is in our own ru_maxrss."""
    source = "import time; time.sleep(0.5)\nx = bytearray(b'x') * (100 << 20)"
    run = [sys.executable, "-m", "prom_probe", "run", *NO_LISTENERS, "--", sys.executable, "-S", "-c", source]
    start = "import subprocess, sys; x = bytearray(b'x') * (300 << 20); sys.exit(subprocess.call(sys.argv[1:]))"
    done = subprocess.run([sys.executable, "-S", "-c", start, *run], capture_output=True, text=True, check=True)
    shown = re.search(r"peak memory ([\d.]+) MiB", done.stderr)
    assert shown and 100 < float(shown[1]) < 150, done.stderr
