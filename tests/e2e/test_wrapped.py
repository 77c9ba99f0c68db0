"""What of ours could keep COMMAND from running, or be seen by it, and does not."""

from __future__ import annotations

import errno
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from prom_probe.run.canary import read_state
from tests.support.sidecar import FREE, Sidecar, alive, children, command, read_comm
from tests.support.waiting import wait_for

QUIET = ("--log.level=error", "--web.listen-address=", "--api.listen-address=")
RUN = (sys.executable, "-m", "prom_probe", "run")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount a procfs")
def test_a_procfs_of_processes_alone(tmp_path: Path) -> None:
    """COMMAND and its tree are watched; what cannot be read is no series, and logged."""
    mount = 'mount -t proc -o subset=pid proc /proc && exec "$@"'
    prefix = ["unshare", "--mount", "sh", "-c", mount, "sh"]
    with Sidecar("--", "sleep", "60", prefix=prefix) as sidecar:
        wait_for("COMMAND's memory", lambda: sidecar.value('proctree_resident_memory_bytes{tree="sleep"}'))
        assert "cannot read /proc/stat" in sidecar.stderr
        assert not sidecar.query("system_memory_total_bytes")
        assert not sidecar.query("system_cpu_seconds_total")


def test_default_ports_that_are_taken_are_replaced() -> None:
    """The log says by which; an address that was given is an error."""
    with Sidecar("--", "sleep", "60"):
        held = [_taken("", 19990), _taken("127.0.0.1", 19991)]
        try:
            done = command("run", "--", "sh", "-c", "exit 7")
        finally:
            for each in held:
                each.close()
    assert done.returncode == 7
    for address in (":19990", "127.0.0.1:19991"):
        assert re.search(
            rf"cannot listen on {re.escape(address)}: .*a free port is used\" url=http://\S+:\d+", done.stderr
        )


def _taken(host: str, port: int) -> socket.socket:
    """Somebody listens there, perhaps another run on this machine."""
    sock = socket.socket()
    try:
        sock.bind((host, port))
        sock.listen()
    except OSError:
        pass
    return sock


def test_a_given_port_that_is_taken_is_an_error() -> None:
    """Even if it is the default one."""
    held = _taken("", 19990)
    done = command("run", "--web.listen-address=:19990", "--", "true")
    held.close()
    said = f"prom-probe: cannot listen on :19990: {os.strerror(errno.EADDRINUSE)}\n"
    assert (done.returncode, done.stderr) == (1, said)


def test_names_in_any_bytes(tmp_path: Path) -> None:
    """COMMAND, its arguments, a watch and a process: bytes that are not UTF-8 are passed on, and shown as \\xNN."""
    name = os.path.join(os.fsencode(tmp_path), b"caf\xe9")
    program = shutil.which("sleep")
    assert program is not None
    shutil.copy(os.fsencode(program), name)
    watch = os.fsdecode(b"--watch=th\xe9=comm:caf\xe9")
    with Sidecar("--", "sh", "-c", '"$0" 60; exit 3', os.fsdecode(name), flags=[watch]) as sidecar:
        shown = sidecar.query
        wait_for("the process", lambda: shown('proctree_process_threads{comm="caf\\\\xe9"}'))
        assert {each["metric"]["tree"] for each in shown("proctree_processes")} == {"sh", "th\\xe9"}
    with Sidecar("--", os.fsdecode(name), "60") as sidecar:
        wait_for("the tree", lambda: sidecar.query('proctree_processes{tree="caf\\\\xe9"}'))
        sidecar.process.send_signal(signal.SIGTERM)
        assert sidecar.wait() == -signal.SIGTERM
        assert "prom-probe: caf\\xe9: killed by SIGTERM" in sidecar.stderr
    argument = os.fsdecode(b"a\xff\xc3\xa9")
    done = subprocess.run([*RUN, *QUIET, "--", "printf", "%s", argument], capture_output=True, check=True)
    assert done.stdout == b"a\xff\xc3\xa9"


def test_what_cannot_be_run_is_said() -> None:
    """An empty name too; an option behind a command without -- before it has its remedy."""
    done = command("run", *QUIET, "--", "")
    assert (done.returncode, done.stderr) == (127, "prom-probe: cannot run '': No such file or directory\n")
    done = command("run", "python", "x.py", "--secs", "1")
    assert done.returncode == 2
    assert "put -- before the command" in done.stderr
    assert "put --" not in command("run", "--secs", "1", "--", "true").stderr


def test_the_summary_tells_what_the_tree_used_and_what_lives_on(tmp_path: Path) -> None:
    """A child that is not waited for, too."""
    busy = f"exec -a busy-loop {sys.executable} -c 'import time\nwhile time.process_time() < 1.5: pass\n"
    busy += 'print(file=open("done", "w"), flush=True)\ntime.sleep(600)\''
    script = f"mkfifo done; ({busy}) & read line <done; sleep 1"
    sidecar = Sidecar("--", "bash", "-c", f"cd {tmp_path}; {script}", flags=["--interval=100ms"])
    assert sidecar.wait() == 0
    line = sidecar.stderr.splitlines()[-1]
    match = re.search(r"CPU ([\d.]+) s,.* 1 process lives on: \S+ \(PID (\d+)\)$", line)
    assert match, line
    os.kill(int(match[2]), signal.SIGKILL)
    assert float(match[1]) == pytest.approx(1.6, abs=0.3)


def test_demo_gpus_are_called_so_in_the_summary() -> None:
    """Nobody takes them for real ones."""
    with Sidecar("--", "sleep", "1000", flags=["--gpu=demo", "--interval=100ms"]) as sidecar:
        wait_for("their memory", lambda: sidecar.query('proctree_gpu_memory_bytes{tree="sleep"} > 0'))
        sidecar.process.send_signal(signal.SIGTERM)
        assert sidecar.wait() == -signal.SIGTERM
        assert re.search(r"peak GPU memory \S+ \S+ \(demo\)", sidecar.stderr), sidecar.stderr


def test_a_canary_that_is_killed_or_stopped_is_replaced() -> None:
    """Signals come as before, and it is never taken for COMMAND's."""
    with Sidecar("--", "sh", "-c", "trap 'echo got >&2' USR1; echo set >&2; while :; do sleep 0.1; done") as sidecar:
        wait_for("COMMAND", lambda: "set\n" in sidecar.stderr)
        for number in (signal.SIGKILL, signal.SIGSTOP):
            (canary,) = wait_for("a canary", lambda: _canaries(sidecar.process.pid))
            os.kill(canary, number)
            before = sidecar.stderr.count("got")
            sidecar.process.send_signal(signal.SIGUSR1)
            wait_for("the signal", partial(_has_grown, sidecar, before))
            wait_for("another canary", partial(_is_replaced, sidecar, canary))
        wait_for("samples", lambda: sidecar.value("proctree_processes"))
        assert not sidecar.query('proctree_process_threads{comm="pp-canary"}')


def test_a_stopped_canary_tells_what_the_group_was_sent() -> None:
    """COMMAND has that from the kernel, and is not sent it once more."""
    script = "trap 'echo one >&2' USR1; trap 'echo two >&2' USR2; echo set >&2; while :; do sleep 0.1; done"
    with Sidecar("--", "sh", "-c", script) as sidecar:
        wait_for("COMMAND", lambda: "set\n" in sidecar.stderr)
        (canary,) = wait_for("a canary", lambda: _canaries(sidecar.process.pid))
        os.kill(canary, signal.SIGSTOP)
        wait_for("its stop", lambda: read_state(canary) == "T")
        os.killpg(sidecar.process.pid, signal.SIGUSR1)
        wait_for("another canary", partial(_is_replaced, sidecar, canary))
        sidecar.process.send_signal(signal.SIGUSR2)
        wait_for("the second signal", lambda: "two\n" in sidecar.stderr)
        assert sidecar.stderr.count("one\n") == 1


def _has_grown(sidecar: Sidecar, before: int) -> bool:
    return sidecar.stderr.count("got") > before


def _is_replaced(sidecar: Sidecar, canary: int) -> bool:
    return _canaries(sidecar.process.pid) not in ([], [canary])


def _canaries(pid: int) -> list[int]:
    return [child for child in children(pid) if read_comm(child) == "pp-canary" and alive(child)]


@pytest.mark.parametrize(("limit", "value"), [("RLIMIT_NOFILE", 6), ("RLIMIT_NOFILE", 14), ("RLIMIT_AS", 100 << 20)])
def test_without_the_means_to_watch_it_the_command_runs_alone(limit: str, value: int) -> None:
    """Whether it is watched a little or not at all: its output and its status are its own."""
    limited = f"resource.setrlimit({getattr(resource, limit)}, ({value}, {value}))"
    code = f"import os, resource, sys; {limited}; os.execvp(sys.argv[1], sys.argv[1:])"
    argv = [sys.executable, "-c", code, *RUN, *QUIET, "--", "sh", "-c", "echo out; exit 7"]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (7, "out\n"), done.stderr


def test_files_of_the_working_directory_are_no_modules_of_ours(tmp_path: Path) -> None:
    """A program's folder may have a signal.py or a select.py."""
    program = os.path.join(os.path.dirname(sys.executable), "prom-probe")
    for name in ("select", "signal", "resource", "mmap", "msgspec"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('taken for a module')\n")
    done = subprocess.run([program, "run", *QUIET, "--", "sh", "-c", "exit 7"], cwd=tmp_path, capture_output=True)
    assert done.returncode == 7, done.stderr


def test_an_interpreter_that_cannot_be_started_again_goes_on_itself() -> None:
    """Its file has been replaced, or COMMAND's arguments are as many as the kernel takes."""
    argv = ["prom-probe", "run", *QUIET, "--", "sh", "-c", "exit 7"]
    start = f"import sys; sys.executable, sys.argv = '/nonexistent', {argv}; import prom_probe.__main__ as m; m.main()"
    done = subprocess.run([sys.executable, "-c", start], capture_output=True, text=True)
    assert done.returncode == 7, done.stderr


def test_the_environment_is_the_inherited_one() -> None:
    """Python's own change of LC_CTYPE in the C locale is undone."""
    for given in ({}, {"LC_CTYPE": "C"}, {"LANG": "C", "X": "y"}):
        environ = {"PATH": os.environ["PATH"], **given}
        done = subprocess.run([*RUN, *QUIET, "--", "env"], env=environ, capture_output=True, text=True, check=True)
        assert dict(line.split("=", 1) for line in done.stdout.splitlines()) == environ


def test_a_pipe_ends_when_the_command_lets_go_of_it() -> None:
    """Neither the supervisor nor a worker keeps what COMMAND has inherited: its output, a lock."""
    read_fd, write_fd = os.pipe()
    script = f"exec >&- {write_fd}>&-; sleep 60"
    argv = [*RUN, *QUIET, "--", "bash", "-c", script]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, pass_fds=[write_fd]) as process:
        os.close(write_fd)
        assert process.stdout is not None
        assert (process.stdout.read(), os.read(read_fd, 1)) == (b"", b"")
        os.close(read_fd)
        assert process.poll() is None
        process.terminate()


def test_free_addresses_are_used_as_they_are() -> None:
    """An address with port 0 needs no replacement."""
    sidecar = Sidecar("--", "true", flags=[f"--web.listen-address={FREE}"])
    assert sidecar.wait() == 0
    assert "a free port is used" not in sidecar.stderr
