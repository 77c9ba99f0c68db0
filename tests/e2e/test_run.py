"""`prom-probe run`: the command's life, its signals and status, the workers' deaths, and what is left behind."""

from __future__ import annotations

import json
import os
import pty
import re
import resource
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.sidecar import FREE, Sidecar, alive, children, read_comm
from tests.support.waiting import DEADLINE_S, wait_for

BUSY = "import time\nwhile True: sum(range(1000))"
COUNT_SIGNALS = """
import os, signal, sys, time
log = open(sys.argv[1], "a", buffering=1)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT,
               signal.SIGWINCH, signal.SIGALRM, signal.SIGRTMIN + 3):
    signal.signal(number, lambda number, frame: log.write(f"{int(number)}\\n"))
log.write("ready\\n")
while True:
    time.sleep(0.05)
    if os.path.exists(sys.argv[1] + ".end"): sys.exit(7)
"""
WORKERS = ("process", "system", "aggregator")


def python(code: str, *args: str) -> tuple[str, ...]:
    return ("--", sys.executable, "-c", code, *args)


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (("--", "true"), 0),
        (("--", "sh", "-c", "exit 3"), 3),
        (("--", "sh", "-c", "kill -9 $$"), 137),
        (("--", "sh", "-c", "kill -TERM $$"), 143),
        (("--", "/nonexistent/program"), 127),
        (("--", "/etc/passwd"), 126),
    ],
)
def test_the_exit_status_is_the_commands(command: tuple[str, ...], status: int) -> None:
    """128 + N for a signal; 127 and 126 as a shell has them."""
    sidecar = Sidecar(*command)
    assert sidecar.wait() == status


def test_the_end_is_summed_up_on_stderr() -> None:
    """Duration, exit, peak memory, CPU seconds, children."""
    code = """
import subprocess, time
block = bytearray(80 << 20); block[::4096] = b"x" * len(block[::4096])
end = time.process_time() + 0.5
while time.process_time() < end: pass
kids = [subprocess.Popen(["sleep", "2.5"]) for _ in range(3)]
[kid.wait() for kid in kids]
raise SystemExit(5)
"""
    with Sidecar(*python(code)) as sidecar:
        assert sidecar.wait() == 5
        line = sidecar.stderr.splitlines()[-1]
    match = re.search(
        r": exit status 5, ran (\S+), CPU ([\d.]+) s, peak memory ([\d.]+) MiB, (\d+) children seen", line
    )
    assert match, line
    assert float(match[2]) == pytest.approx(0.55, abs=0.3)
    assert float(match[3]) > 80
    assert int(match[4]) == 3


def test_a_peak_between_two_collections_is_in_the_summary() -> None:
    """The kernel remembers the memory of a process that lived for less than an interval."""
    # What we start counts the peak of this process before it is another program: the block must be larger.
    size = (200 << 20) + resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    code = f"import time; time.sleep(1.3); block = bytearray({size}); block[::4096] = b'x' * len(block[::4096])"
    with Sidecar(*python(code)) as sidecar:
        assert sidecar.wait() == 0
        match = re.search(r"peak memory ([\d.]+) (MiB|GiB)", sidecar.stderr)
    assert match, sidecar.stderr
    assert float(match[1]) * (1 << 20 if match[2] == "MiB" else 1 << 30) > 0.99 * size


@pytest.mark.parametrize("to_group", [False, True], ids=["to us", "to our group"])
def test_every_signal_reaches_the_command_once(tmp_path: Path, to_group: bool) -> None:
    """Whether it was sent to prom-probe or to its process group."""
    log = tmp_path / "signals"
    with Sidecar(*python(COUNT_SIGNALS, str(log))) as sidecar:
        wait_for("the command is ready", lambda: log.exists() and "ready" in log.read_text())
        send = os.killpg if to_group else os.kill
        sent = [signal.SIGUSR1, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2, signal.SIGQUIT]
        sent += [signal.SIGWINCH, signal.SIGALRM, signal.SIGRTMIN + 3]  # type: ignore[list-item]
        for count, number in enumerate(sent, 2):
            send(sidecar.process.pid, number)
            wait_for(f"signal {number}", lambda count=count: len(log.read_text().splitlines()) >= count)  # type: ignore[misc]
        Path(f"{log}.end").touch()
        assert sidecar.wait() == 7
    assert [int(line) for line in log.read_text().splitlines()[1:]] == [int(number) for number in sent]


@pytest.mark.parametrize("output", ["terminal", "file"])
def test_ctrl_c_at_a_terminal_reaches_the_command_once(tmp_path: Path, output: str) -> None:
    """The command has the terminal's foreground or has not; it sees one SIGINT all the same."""
    log = tmp_path / "signals"
    listen = [f"--web.listen-address={FREE}", "--api.listen-address="]
    argv = [sys.executable, "-m", "prom_probe", "run", *listen, *python(COUNT_SIGNALS, str(log))]
    pid, terminal = pty.fork()
    if pid == 0:
        if output == "file":
            os.dup2(os.open(tmp_path / "out", os.O_CREAT | os.O_WRONLY), 1)
        os.execv(argv[0], argv)
    try:
        wait_for("the command is ready", lambda: log.exists() and "ready" in log.read_text())
        os.write(terminal, b"\x03")
        wait_for("SIGINT", lambda: len(log.read_text().splitlines()) >= 2)
        Path(f"{log}.end").touch()
        drain_until_end(pid, terminal)
    finally:
        os.close(terminal)
    assert log.read_text().splitlines()[1:] == [str(int(signal.SIGINT))]


def drain_until_end(pid: int, terminal: int) -> None:
    """Read what the program prints until it has ended."""
    os.set_blocking(terminal, False)

    def ended() -> bool:
        try:
            os.read(terminal, 65536)
        except OSError:
            pass
        return os.waitpid(pid, os.WNOHANG)[0] == pid

    wait_for("the end", ended)


def test_a_command_that_reads_the_terminal_gets_it(tmp_path: Path) -> None:
    """Its output goes to a file, so it starts in the background; its first read brings it to the foreground."""
    out = tmp_path / "out"
    listen = [f"--web.listen-address={FREE}", "--api.listen-address="]
    code = "print('got', input(), flush=True)"
    argv = [sys.executable, "-m", "prom_probe", "run", *listen, *python(code)]
    pid, terminal = pty.fork()
    if pid == 0:
        os.dup2(os.open(out, os.O_CREAT | os.O_WRONLY), 1)
        os.execv(argv[0], argv)
    os.write(terminal, b"hello\n")
    drain_until_end(pid, terminal)
    os.close(terminal)
    assert out.read_text() == "got hello\n"


def test_metrics_and_queries_tell_of_the_command() -> None:
    """A busy loop shows on /metrics and in the query API, process by process."""
    with Sidecar(*python(BUSY)) as sidecar:
        name = os.path.basename(sys.executable)
        wait_for(
            "CPU on /metrics", lambda: (sidecar.metric("proctree_cpu_seconds_total", tree=name, mode="user") or 0) > 1
        )
        assert sidecar.metric("proctree_processes", tree=name) == 1
        assert (sidecar.metric("proctree_resident_memory_bytes", tree=name) or 0) > 4 << 20
        assert sidecar.get("/-/healthy", sidecar.web)[0] == 200
        assert sidecar.get("/-/ready", sidecar.web)[0] == 200
        wait_for("local series", lambda: sidecar.query(f'proctree_process_resident_memory_bytes{{tree="{name}"}}'))
        assert not any(name.startswith("proctree_process_") for name, _ in sidecar.metrics())
        assert sidecar.value("count(system_cpu_seconds_total)") or 0 > 4
        end = time.time()
        (series,) = sidecar.query(f'proctree_processes{{tree="{name}"}}', start=end - 2, end=end, step=1)
        assert {value for _, value in series["values"]} == {"1"}


@pytest.mark.parametrize("worker", WORKERS)
def test_a_killed_worker_is_back_within_a_second(worker: str) -> None:
    """Its series continue, the restart is counted, and no counter goes backwards."""
    with Sidecar(*python(BUSY)) as sidecar:
        wait_for("first samples", lambda: sidecar.value("sum(proctree_cpu_seconds_total)"))
        wait_for("system samples", lambda: sidecar.value("system_load1"))
        first = sidecar.worker(worker)
        before = sidecar.value("sum(proctree_cpu_seconds_total)") or 0
        os.kill(first, signal.SIGKILL)
        killed = time.monotonic()
        wait_for("a new worker", lambda: sidecar.worker(worker) not in (0, first), 1.0)
        wait_for("restart counted", lambda: sidecar.metric("prom_probe_worker_restarts_total", worker=worker) == 1)
        wait_for("CPU goes on", lambda: (sidecar.value("sum(proctree_cpu_seconds_total)") or 0) > before + 0.5)
        assert time.monotonic() - killed < 10
        assert sidecar.metric("prom_probe_worker_up", worker=worker) == 1
        wait_for("all collectors run", lambda: sidecar.value("min(prom_probe_collector_success)") == 1)
        assert sidecar.value("sum(prom_probe_ring_corrupt_frames_total)") == 0
        assert not sidecar.query("resets(proctree_cpu_seconds_total[5m]) > 0")


def test_probes_go_on_while_the_aggregator_is_away() -> None:
    """What they sampled while it was dead is there afterwards: no gap in the timestamps."""
    with Sidecar("--", "sleep", "60", flags=["--interval=100ms"]) as sidecar:
        wait_for("first samples", lambda: sidecar.value("proctree_processes"))
        first = sidecar.worker("aggregator")
        os.kill(first, signal.SIGSTOP)
        stopped = time.time()
        time.sleep(1.0)  # the time without an aggregator is what is tested
        os.kill(first, signal.SIGKILL)
        wait_for("a new aggregator", lambda: sidecar.worker("aggregator") not in (0, first))
        wait_for("samples", lambda: sidecar.value(f"timestamp(proctree_processes) > {stopped + 2}"))
        times = [t for t, _ in sidecar.query("proctree_processes[1m]")[0]["values"] if t > stopped]
        assert times
        assert times[0] < stopped + 0.5
        assert max(b - a for a, b in pairwise(times)) < 0.5


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    """After the end no process, no socket file, nothing in /dev/shm or the temporary folder."""
    before = set(os.listdir("/dev/shm"))
    socket = tmp_path / "api.sock"
    flags = [f"--api.listen-address=unix:{socket}"]
    with Sidecar("--", "sleep", "1.5", flags=flags, env={"TMPDIR": str(tmp_path)}) as sidecar:
        assert socket.exists()
        pids = wait_for(
            "all workers", lambda: all(map(sidecar.worker, WORKERS)) and list(children(sidecar.process.pid))
        )
        assert sidecar.wait() == 0
    assert not [pid for pid in pids if alive(pid)]
    assert os.listdir(tmp_path) == []
    assert set(os.listdir("/dev/shm")) == before


def test_after_the_supervisors_sigkill_no_worker_lives_on() -> None:
    """Nor is anything left in /dev/shm."""
    before = set(os.listdir("/dev/shm"))
    with Sidecar("--", "sleep", "30") as sidecar:
        workers = wait_for("workers", lambda: all(map(sidecar.worker, WORKERS)) and [*map(sidecar.worker, WORKERS)])
        (command,) = (pid for pid in children(sidecar.process.pid) if read_comm(pid) == "sleep")
        sidecar.process.kill()
        sidecar.process.wait()
        wait_for("no worker lives", lambda: not any(map(alive, workers)), 5.0)
        assert alive(command)
        os.kill(command, signal.SIGKILL)
    assert set(os.listdir("/dev/shm")) == before


def test_lingering_serves_the_last_samples() -> None:
    """With --run.linger a scrape after the command's end still finds everything."""
    code = "import time\nend = time.process_time() + 1.2\nwhile time.process_time() < end: pass"
    with Sidecar(*python(code), flags=["--run.linger=30s"]) as sidecar:
        name = os.path.basename(sys.executable)
        wait_for(
            "the command's end", lambda: not [p for p in children(sidecar.process.pid) if read_comm(p) == name[:15]]
        )
        cpu = sum(value for (metric, _), value in sidecar.metrics().items() if metric == "proctree_cpu_seconds_total")
        assert cpu == pytest.approx(1.25, abs=0.15)
        sidecar.process.send_signal(signal.SIGTERM)
        assert sidecar.wait() == 0


def test_watching_by_command_name_follows_restarts() -> None:
    """A watched tree's counters survive the restart of its processes."""
    name = f"w{os.getpid() % 100000}"
    code = "import time\nend = time.process_time() + 1.3\nwhile time.process_time() < end: pass\ntime.sleep(30)"
    burn = f"exec -a {name} {sys.executable} -c '{code}'"
    with Sidecar(flags=[f"--watch=job=cmdline:{name} .*"]) as sidecar:
        cpu = 'sum(proctree_cpu_seconds_total{tree="job"})'
        first = subprocess.Popen(["bash", "-c", burn])
        wait_for("the first one's CPU", lambda: (sidecar.value(cpu) or 0) > 1.2)
        first.kill()
        first.wait()
        second = subprocess.Popen(["bash", "-c", burn])
        wait_for("both CPUs", lambda: (sidecar.value(cpu) or 0) > 2.5)
        second.kill()
        second.wait()


@pytest.mark.parametrize(
    ("args", "status", "text"),
    [
        (["run", "--no-such-flag"], 2, "No such option"),
        (["run", "--interval=fast", "--", "true"], 2, "--interval: not a duration such as 500ms, 1s or 1m30s: 'fast'"),
        (["run", "--watch=x", "--", "true"], 2, "--watch: not NAME=pid:NUMBER"),
        (["run", "--web.listen-address=nowhere", "--", "true"], 2, "--web.listen-address: not HOST:PORT"),
        (["run", "--path.procfs=/nonexistent", "--", "true"], 1, "cannot read /nonexistent/stat: No such file"),
        (["run", "--config.file=/nonexistent.yml"], 2, "/nonexistent.yml: No such file"),
        (["query", "up", "--url=http://127.0.0.1:1"], 1, "no answer from http://127.0.0.1:1: Connection refused"),
        (["query", "up", "--url=nowhere"], 2, "--url: not http://HOST:PORT"),
        (["query", "up", "--start=yesterday"], 2, "--start: not Unix seconds"),
        (["frobnicate"], 2, "No such command"),
        (["once", "--interval=0"], 2, "--interval: an interval must be at least 10ms"),
    ],
)
def test_errors_are_one_clear_line(args: list[str], status: int, text: str) -> None:
    """On stderr, with exit status 2 for usage and 1 otherwise."""
    done = subprocess.run(
        [sys.executable, "-m", "prom_probe", *args], capture_output=True, text=True, timeout=DEADLINE_S
    )
    assert done.returncode == status, done
    assert text in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_a_port_in_use_is_one_clear_line() -> None:
    """And exit status 1."""
    with Sidecar("--", "sleep", "30") as sidecar:
        address = sidecar.web.removeprefix("http://")
        args = ["run", f"--web.listen-address={address}", "--", "true"]
        done = subprocess.run(
            [sys.executable, "-m", "prom_probe", *args], capture_output=True, text=True, timeout=DEADLINE_S
        )
    assert (done.returncode, done.stderr) == (1, f"prom-probe: cannot listen on {address}: Address already in use\n")


def test_once_prints_a_table_and_json() -> None:
    """Both know the watched tree and the system."""
    args = [sys.executable, "-m", "prom_probe", "once", "--interval=100ms", f"--watch=me=pid:{os.getpid()}"]
    table = subprocess.run(args, capture_output=True, text=True, timeout=DEADLINE_S, check=True).stdout
    assert re.search(r'^proctree_processes\{tree="me"\} +\d+', table, re.M)
    assert re.search(r"^system_load1 ", table, re.M)
    rows = json.loads(
        subprocess.run([*args, "--json"], capture_output=True, text=True, timeout=DEADLINE_S, check=True).stdout
    )
    by_name = {row["name"]: row for row in rows}
    assert by_name["proctree_threads"]["labels"] == {"tree": "me"}
    assert by_name["proctree_cpu_seconds_total"]["per_second"] >= 0


def test_the_query_command_prints_a_table_and_json() -> None:
    """Instant and range, over TCP and a Unix socket."""
    with Sidecar("--", "sleep", "30") as sidecar:
        wait_for("samples", lambda: sidecar.value("proctree_processes") == 1)
        query = [sys.executable, "-m", "prom_probe", "query", "proctree_processes", f"--url={sidecar.api}"]
        instant = subprocess.run(query, capture_output=True, text=True, timeout=DEADLINE_S, check=True).stdout
        assert instant == 'proctree_processes{tree="sleep"}  1\n'
        ranged = subprocess.run(
            [*query, "--start=-2s"], capture_output=True, text=True, timeout=DEADLINE_S, check=True
        ).stdout
        assert re.fullmatch(r'proctree_processes\{tree="sleep"\}\n(  \S+ \S+Z  1\n)+', ranged)
        raw = subprocess.run([*query, "--json"], capture_output=True, text=True, timeout=DEADLINE_S, check=True).stdout
        assert json.loads(raw)["status"] == "success"
        bad = subprocess.run([*query[:4], "up{", query[-1]], capture_output=True, text=True, timeout=DEADLINE_S)
        assert bad.returncode == 1
        assert bad.stderr.startswith("prom-probe: bad_data: ")


STORM = """
import os, sys, time
end = time.monotonic() + 10
forks = 0
while time.monotonic() < end:
    kids = []
    for _ in range(20):
        pid = os.fork()
        if pid == 0:
            stop = time.thread_time() + 0.002
            while time.thread_time() < stop: pass
            os._exit(0)
        kids.append(pid)
    for pid in kids: os.waitpid(pid, 0)
    forks += len(kids)
usage = os.times()
print(forks, usage.user + usage.system + usage.children_user + usage.children_system, flush=True)
time.sleep(60)
"""


def test_a_fork_storm_is_counted_and_fills_nothing(tmp_path: Path) -> None:
    """10 s of children that live for milliseconds: their CPU is in the tree's counter, and no series remain of them."""
    out = tmp_path / "out"
    script = f"exec {sys.executable} -c '{STORM}' > {out}"
    with Sidecar("--", "sh", "-c", script) as sidecar:
        wait_for("the storm's end", lambda: out.exists() and out.read_text())
        forks, cpu_seconds = (float(field) for field in out.read_text().split())
        assert forks > 500
        cpu = 'sum(proctree_cpu_seconds_total{tree="sh"})'
        wait_for("all CPU", lambda: (sidecar.value(cpu) or 0) > cpu_seconds * 0.98 - 0.1)
        assert sidecar.value(cpu) == pytest.approx(cpu_seconds, rel=0.02, abs=0.1)
        assert (sidecar.value("count(count by (pid) (proctree_process_threads))") or 0) < 5
        assert sidecar.metric("prom_probe_collector_success", collector="process") == 1
        assert sidecar.value("sum(prom_probe_ring_dropped_frames_total)") == 0
        assert not sidecar.query("resets(proctree_cpu_seconds_total[5m]) > 0")
