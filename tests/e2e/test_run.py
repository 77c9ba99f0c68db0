"""`prom-probe run`: the command's life, its signals and status, the workers' deaths, and what is left behind."""

from __future__ import annotations

import errno
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from tests.support.sidecar import FREE, Sidecar, alive, children, command, read_comm
from tests.support.waiting import wait_for

BUSY = "import time\nwhile True: sum(range(100_000)); time.sleep(0.002)"
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
# Executes the rest with a /dev/shm of its own: others use the machine's too.
OWN_SHM = ("unshare", "--mount", *(() if os.getuid() == 0 else ("--map-root-user",)))
OWN_SHM += ("sh", "-c", 'mount -t tmpfs shm /dev/shm && exec "$@"', "sh")
needs_own_shm = pytest.mark.skipif(
    subprocess.run([*OWN_SHM, "true"], capture_output=True).returncode != 0, reason="no right to mount a /dev/shm"
)
FAST = ("--interval=100ms",)


def python(code: str, *args: str) -> tuple[str, ...]:
    return ("--", sys.executable, "-c", code, *args)


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (("--", "true"), 0),
        (("--", "sh", "-c", "exit 3"), 3),
        (("--", "sh", "-c", "kill -9 $$"), -9),
        (("--", "sh", "-c", "kill -TERM $$"), -15),
        (("--", "/nonexistent/program"), 127),
        (("--", "/etc/passwd"), 126),
    ],
)
def test_the_exit_status_is_the_commands(command: tuple[str, ...], status: int) -> None:
    """It dies of the signal that COMMAND has died of; 127 and 126 as a shell has them."""
    sidecar = Sidecar(*command)
    assert sidecar.wait() == status


def test_the_end_is_summed_up_on_stderr(tmp_path: Path) -> None:
    """Duration, exit, peak memory, CPU seconds, children."""
    code = """
import os, subprocess, sys, time
block = bytearray(80 << 20); block[::4096] = b"x" * len(block[::4096])
kids = [subprocess.Popen(["sleep", "1.5"]) for _ in range(3)]
end = time.process_time() + 0.5
while time.process_time() < end: pass
[kid.wait() for kid in kids]
open(sys.argv[1], "w").write(str(sum(os.times()[:4])))
raise SystemExit(5)
"""
    with Sidecar(*python(code, str(tmp_path / "cpu")), flags=["--interval=100ms"]) as sidecar:
        assert sidecar.wait() == 5
        line = sidecar.stderr.splitlines()[-1]
    match = re.search(
        r": exit status 5, ran (\S+), CPU ([\d.]+) s, peak memory ([\d.]+) MiB, (\d+) children seen", line
    )
    assert match, line
    assert float(match[2]) == pytest.approx(float((tmp_path / "cpu").read_text()), abs=0.1)
    assert float(match[3]) > 80
    assert int(match[4]) == 3


def test_a_peak_between_two_collections_is_in_the_summary() -> None:
    """The kernel remembers the memory of a process that lived for less than an interval."""
    size = 100 << 20
    code = f"block = bytearray({size}); block[::4096] = b'x' * len(block[::4096])"
    with Sidecar(*python(code), flags=["--interval=1m"]) as sidecar:
        assert sidecar.wait() == 0
        match = re.search(r"peak memory ([\d.]+) MiB", sidecar.stderr)
    assert match and float(match[1]) > 99, sidecar.stderr


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
    with Sidecar(*python(BUSY), flags=FAST) as sidecar:
        name = os.path.basename(sys.executable)
        wait_for("CPU", lambda: (sidecar.metric("proctree_cpu_seconds_total", tree=name, mode="user") or 0) > 0.2)
        assert sidecar.metric("proctree_processes", tree=name) == 1
        assert (sidecar.metric("proctree_resident_memory_bytes", tree=name) or 0) > 4 << 20
        assert sidecar.get("/-/healthy", sidecar.web)[0] == 200
        assert sidecar.get("/-/ready", sidecar.web)[0] == 200
        wait_for("local series", lambda: sidecar.query(f'proctree_process_resident_memory_bytes{{tree="{name}"}}'))
        assert not any(name.startswith("proctree_process_") for name, _ in sidecar.metrics())
        assert (sidecar.value("count(system_cpu_seconds_total)") or 0) > 4
        (raw,) = sidecar.query(f'proctree_processes{{tree="{name}"}}[1h]')
        end = raw["values"][-1][0]
        (series,) = sidecar.query(f'proctree_processes{{tree="{name}"}}', start=end - 0.4, end=end, step=0.2)
        assert {value for _, value in series["values"]} == {"1"}


def test_a_killed_worker_is_back() -> None:
    """Its series continue, the restart is counted, and no counter goes backwards."""
    cpu = "sum(proctree_cpu_seconds_total)"
    with Sidecar(*python(BUSY), flags=FAST) as sidecar:
        for worker in WORKERS:
            wait_for("samples", lambda: sidecar.value(cpu) and sidecar.value("system_load1"))
            first, before = sidecar.worker(worker), sidecar.value(cpu) or 0
            os.kill(first, signal.SIGKILL)
            wait_for("a new worker", partial(has_other_worker, sidecar, worker, first))
            restarts = partial(sidecar.metric, "prom_probe_worker_restarts_total", worker=worker)
            wait_for("the restart is counted", lambda restarts=restarts: restarts() == 1)  # type: ignore[misc]
            wait_for("CPU goes on", lambda before=before: (sidecar.value(cpu) or 0) > before)  # type: ignore[misc]
            up = partial(sidecar.metric, "prom_probe_worker_up", worker=worker)
            wait_for("it is up", lambda up=up: up() == 1)  # type: ignore[misc]
            wait_for("all collectors run", lambda: sidecar.value("min(prom_probe_collector_success)") == 1)
        assert sidecar.value("sum(prom_probe_ring_corrupt_frames_total)") == 0
        assert not sidecar.query("resets(proctree_cpu_seconds_total[1h]) > 0")


def has_other_worker(sidecar: Sidecar, name: str, pid: int) -> bool:
    return sidecar.worker(name) not in (0, pid)


def test_probes_go_on_while_the_aggregator_is_away() -> None:
    """What they sampled while it was dead is there afterwards: no gap but for beats that are counted as overruns."""
    with Sidecar("--", "sleep", "1000", flags=["--interval=100ms"]) as sidecar:
        wait_for("first samples", lambda: sidecar.value("proctree_processes"))
        first = sidecar.worker("aggregator")
        os.kill(first, signal.SIGSTOP)
        stopped = time.time()
        time.sleep(1.0)  # the time without an aggregator is what is tested
        killed = time.time()
        os.kill(first, signal.SIGKILL)
        wait_for("a new aggregator", partial(has_other_worker, sidecar, "aggregator", first))
        wait_for("samples", lambda: sidecar.value(f"timestamp(proctree_processes) > {killed + 0.5}"))
        (series,) = sidecar.query("proctree_processes[1h]")
        overruns = sidecar.metric("prom_probe_collector_overruns_total", collector="process") or 0
    times = [t for t, _ in series["values"]]
    assert [t for t in times if stopped < t < killed]
    skipped = (times[-1] - times[0]) / 0.1 - (len(times) - 1)
    assert -0.5 < skipped < overruns + 1.5


def shm_of(sidecar: Sidecar) -> int:
    """A descriptor of the /dev/shm that it has."""
    return os.open(f"/proc/{sidecar.process.pid}/root/dev/shm", os.O_RDONLY)


@needs_own_shm
def test_nothing_is_left_behind(tmp_path: Path) -> None:
    """After the end no process, no socket file, nothing in /dev/shm or the temporary folder."""
    socket = tmp_path / "api.sock"
    flags = [f"--api.listen-address=unix:{socket}"]
    with Sidecar("--", "sleep", "1.5", flags=flags, env={"TMPDIR": str(tmp_path)}, prefix=OWN_SHM) as sidecar:
        assert socket.exists()
        shm = shm_of(sidecar)
        pids = wait_for(
            "all workers", lambda: all(map(sidecar.worker, WORKERS)) and list(children(sidecar.process.pid))
        )
        assert sidecar.wait() == 0
        assert not [pid for pid in pids if alive(pid)]
        assert os.listdir(tmp_path) == []
        assert os.listdir(shm) == []
        os.close(shm)


@needs_own_shm
def test_after_the_supervisors_sigkill_nothing_lives_on() -> None:
    """Neither a worker nor COMMAND, which SIGKILL would have ended without us; nor is anything left in /dev/shm."""
    with Sidecar("--", "sleep", "1000", prefix=OWN_SHM) as sidecar:
        shm = shm_of(sidecar)
        workers = wait_for("workers", lambda: all(map(sidecar.worker, WORKERS)) and [*map(sidecar.worker, WORKERS)])
        (command,) = (pid for pid in children(sidecar.process.pid) if read_comm(pid) == "sleep")
        sidecar.process.kill()
        sidecar.process.wait()
        wait_for("no worker lives", lambda: not any(map(alive, workers)))
        wait_for("COMMAND is gone", lambda: not alive(command))
    assert os.listdir(shm) == []
    os.close(shm)


def test_lingering_serves_the_last_samples(tmp_path: Path) -> None:
    """With --run.linger a scrape after the command's end still finds everything."""
    code = """
import os, sys, time
while time.process_time() < 0.5: pass
open(sys.argv[1], "w").write(str(sum(os.times()[:2])))
"""
    truth = tmp_path / "cpu"
    with Sidecar(*python(code, str(truth)), flags=["--run.linger=10m", *FAST]) as sidecar:
        name = os.path.basename(sys.executable)
        wait_for(
            "the command's end", lambda: not [p for p in children(sidecar.process.pid) if read_comm(p) == name[:15]]
        )
        cpu = sum(value for (metric, _), value in sidecar.metrics().items() if metric == "proctree_cpu_seconds_total")
        assert cpu == pytest.approx(float(truth.read_text()), abs=0.1)
        sidecar.process.send_signal(signal.SIGTERM)
        assert sidecar.wait() == 0


def test_watching_by_command_name_follows_restarts() -> None:
    """A watched tree's counters survive the restart of its processes."""
    name = f"w{os.getpid() % 100000}"
    code = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass\ntime.sleep(1000)"
    burn = f"exec -a {name} {sys.executable} -c '{code}'"
    with Sidecar(flags=[f"--watch=job=cmdline:{name} .*", *FAST]) as sidecar:
        for enough in (0.28, 0.58):
            process = subprocess.Popen(["bash", "-c", burn])
            try:
                wait_for("its CPU", partial(has_used, sidecar, enough))
            finally:
                process.kill()
                process.wait()


def has_used(sidecar: Sidecar, cpu_s: float) -> bool:
    return (sidecar.value('sum(proctree_cpu_seconds_total{tree="job"})') or 0) > cpu_s


def test_a_machine_that_cannot_be_read_is_one_clear_line() -> None:
    """And exit status 1; what is wrong in a command line is a table of the unit tests."""
    done = command("run", "--path.procfs=/nonexistent", "--", "true")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done
    assert "cannot read /nonexistent/stat: No such file" in done.stderr


def test_a_port_in_use_is_one_clear_line() -> None:
    """And exit status 1."""
    with Sidecar("--", "sleep", "1000") as sidecar:
        address = sidecar.web.removeprefix("http://")
        done = command("run", f"--web.listen-address={address}", "--", "true")
    said = f"prom-probe: cannot listen on {address}: {os.strerror(errno.EADDRINUSE)}\n"
    assert (done.returncode, done.stderr) == (1, said)


def test_the_query_command_prints_a_table_and_json() -> None:
    """Instant and range, over TCP and a Unix socket."""
    with Sidecar("--", "sleep", "1000", flags=FAST) as sidecar:
        wait_for("samples", lambda: sidecar.value("proctree_processes") == 1)
        query, url = ("query", "proctree_processes"), f"--url={sidecar.api}"
        assert command(*query, url).stdout == 'proctree_processes{tree="sleep"}  1\n'
        ranged = command(*query, url, "--start=-1m").stdout
        assert re.fullmatch(r'proctree_processes\{tree="sleep"\}\n(  \S+ \S+[+-]\d\d:\d\d  1\n)+', ranged)
        assert json.loads(command(*query, url, "--json").stdout)["status"] == "success"
        bad = command("query", "up{", url)
        assert bad.returncode == 1
        assert bad.stderr.startswith("prom-probe: bad_data: ")


TICK_S = 1 / os.sysconf("SC_CLK_TCK")
STORM = """
import os, time
for _ in range(15):
    kids = []
    for _ in range(20):
        pid = os.fork()
        if pid == 0:
            stop = time.thread_time() + 0.002
            while time.thread_time() < stop: pass
            os._exit(0)
        kids.append(pid)
    for pid in kids: os.waitpid(pid, 0)
usage = os.times()
print(usage.user + usage.system + usage.children_user + usage.children_system, flush=True)
time.sleep(1000)
"""


def test_a_fork_storm_is_counted_and_fills_nothing(tmp_path: Path) -> None:
    """300 children that live for milliseconds: their CPU is in the tree's counter, and no series remain of them."""
    out = tmp_path / "out"
    script = f"exec {sys.executable} -c '{STORM}' > {out}"
    with Sidecar("--", "sh", "-c", script, flags=FAST) as sidecar:
        cpu_seconds = float(wait_for("the storm's end", lambda: out.exists() and out.read_text()))
        cpu = 'sum(proctree_cpu_seconds_total{tree="sh"})'
        wait_for("all CPU", lambda: (sidecar.value(cpu) or 0) > cpu_seconds - 0.5 * TICK_S)
        assert sidecar.value(cpu) == pytest.approx(cpu_seconds, abs=5 * TICK_S)  # it has printed that number since
        assert (sidecar.value("count(count by (pid) (proctree_process_threads))") or 0) < 5
        success = "prom_probe_collector_success"
        wait_for("its success", lambda: sidecar.metric(success, collector="process") is not None)
        assert sidecar.metric(success, collector="process") == 1
        assert sidecar.value("sum(prom_probe_ring_dropped_frames_total)") == 0
        assert not sidecar.query("resets(proctree_cpu_seconds_total[5m]) > 0")
