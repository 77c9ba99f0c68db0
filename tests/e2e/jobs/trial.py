"""One run of a scenario, bare or wrapped: starts shells and programs, types, waits, and notes what a user would see."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from tests.e2e.jobs.programs import FILES

T = TypeVar("T")

DEADLINE_S = float(os.environ.get("DEADLINE_S", "20"))  # for what a condition is waited for
AT_ONCE_S = 4.0  # an effect that takes longer came late: scenarios wait for 5 s and more where it does not come at once

OWN_LINES = re.compile(r"prom-probe: |ts=\S+ level=")
PIDS = re.compile(r"(^(?:<\d+> )?\[\d+\] +[-+]? *|line \d+: +)\d+\b")  # where a shell shows the PID of a job


class Job(NamedTuple):
    """A process and the files with its output. Its PID is COMMAND's when bare, prom-probe's when wrapped."""

    process: subprocess.Popen[bytes]
    out: str
    err: str

    @property
    def pid(self) -> int:
        return self.process.pid


class VainError(Exception):
    """Something was waited for in vain."""


def processes(mark: bytes) -> dict[int, tuple[str, list[str]]]:
    """PID -> (state, argv) of the living that carry `mark`."""
    found = {}
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and mark in _bytes(f"/proc/{name}/environ"):
                state = _bytes(f"/proc/{name}/stat").rpartition(b")")[2].split()[0].decode()
                argv = _bytes(f"/proc/{name}/cmdline").decode(errors="replace").split("\0")[:-1]
                if state not in "ZX":
                    found[int(name)] = state, argv
        except OSError:
            pass
    return found


def _bytes(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


class Trial:
    """One run of a scenario, bare or wrapped."""

    def __init__(self, wrap: Sequence[str]) -> None:
        self.wrap = list(wrap)
        self.notes: list[str] = []
        self.screen, self.at = "", 0  # what a terminal has shown, and how far it was looked at
        self.master, self.shell_pid = -1, 0
        self.jobs: list[Job] = []
        self.dir = tempfile.mkdtemp(prefix="jobs-")
        os.chmod(self.dir, 0o755)
        for name, text in FILES.items():
            path = os.path.join(self.dir, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w") as file:
                file.write(text)
            os.chmod(path, 0o644 if name == "noexec" else 0o755)
        caf = os.path.join(os.fsencode(self.dir), b"caf\xe9")
        shutil.copy(os.fsencode(os.path.join(self.dir, "bang")), caf)
        self.mark = f"MARK={uuid.uuid4()}".encode()
        keep = {key: os.environ[key] for key in ("PATH",) if key in os.environ}
        self.env = keep | {
            "W": shlex.join(self.wrap),
            "PY": sys.executable,
            "MARK": self.mark[5:].decode(),
            "TERM": "dumb",
            "LC_ALL": "C",
            "HOME": self.dir,
            "INPUTRC": os.path.join(self.dir, "inputrc"),
            "PS1": "<$?> ",
            "HISTFILE": "",
            "EXINIT": "",
        }

    # What is noted.

    def note(self, what: str, value: object) -> None:
        self.notes.append(f"{what}: {value}")

    def clean(self, text: str) -> str:
        """`text` without what may differ: PIDs, times, the wrapper's own lines, the folder's name."""
        text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[=>]|\r|\x07", "", text).replace(self.dir, "DIR")
        text = text.replace(os.path.realpath(sys.executable), "PY").replace(sys.executable, "PY")
        text = re.sub(rf"(?:{OWN_LINES.pattern}).*\n?", "", text)  # also behind a prompt
        lines = [line for line in text.split("\n") if line.strip()]
        return "\n".join(re.sub(r"(\[\d\])[+-]", r"\1 ", PIDS.sub(r"\1N", line)).rstrip() for line in lines)

    def until(self, condition: Callable[[], T], what: str, deadline_s: float = DEADLINE_S) -> T:
        end = time.monotonic() + deadline_s
        while time.monotonic() < end:
            if value := condition():
                return value
            time.sleep(0.02)
        raise VainError(what)

    def find(self, argv: str | list[str], deadline_s: float = DEADLINE_S) -> int:
        """The PID of the process with exactly these arguments (COMMAND, never its wrapper)."""
        argv = argv.split() if isinstance(argv, str) else argv
        argv = [sys.executable if part == "$PY" else part for part in argv]

        def look() -> int:
            return next((pid for pid, (_, its) in processes(self.mark).items() if its == argv), 0)

        return self.until(look, f"a process {' '.join(argv)}", deadline_s)

    def state(self, argv: str | list[str], want: str) -> int:
        """Note whether it comes into a state of `want` (T stopped, SR runs)."""
        pid = self.find(argv)
        try:
            self.until(lambda: processes(self.mark).get(pid, ("gone",))[0] in want, "", 2)
        except VainError:
            pass
        state = processes(self.mark).get(pid, ("gone", []))[0]
        self.note(f"state of {argv}", {"T": "stopped", "gone": "gone"}.get(state, "runs"))
        return pid

    def left(self, command: str, wait_s: float = 2.0) -> None:
        """Note how many such processes remain."""
        argv = command.split()

        def count() -> int:
            return sum(its == argv for _, its in processes(self.mark).values())

        end = time.monotonic() + wait_s
        while count() and time.monotonic() < end:
            time.sleep(0.05)
        self.note(f"remain of {command}", count())

    def timed(self, what: str, do: Callable[[], T]) -> T:
        start = time.monotonic()
        value = do()
        took = time.monotonic() - start
        self.note(what, "at once" if took < AT_ONCE_S else "late")
        return value

    # Without a terminal.

    def start(self, command: str | list[str], shell: str = "sh", **options: Any) -> Job:
        """Start a shell line, or arguments without a shell, in a session of its own, its output in files."""
        argv = [shell, "-c", command] if isinstance(command, str) else [*self.wrap, *command]
        out, err = (os.path.join(self.dir, f"{name}{len(self.jobs)}") for name in ("out", "err"))
        with open(out, "wb") as stdout, open(err, "wb") as stderr:
            all_options: dict[str, Any] = {
                "stdin": subprocess.DEVNULL,
                "stdout": stdout,
                "stderr": stderr,
                "start_new_session": True,
            } | options
            process: subprocess.Popen[bytes] = subprocess.Popen(argv, cwd=self.dir, env=self.env, **all_options)
        self.jobs.append(Job(process, out, err))
        return self.jobs[-1]

    def out(self, job: Job) -> str:
        return _read(job.out)

    def read(self, name: str) -> str:
        """A file of the working directory."""
        return _read(os.path.join(self.dir, name))

    def count(self, job: Job, text: str, times: int, deadline_s: float) -> None:
        """Wait until it has said this so often."""
        self.until(lambda: self.out(job).count(text) >= times, f"{text} {times} times", deadline_s)

    def see(self, job: Job, text: str) -> None:
        self.until(lambda: text in self.out(job), f"{text!r} in the output")

    def end(self, job: Job, deadline_s: float = DEADLINE_S) -> None:
        """Note how `job` ends and what it said."""
        try:
            status = job.process.wait(deadline_s)
            how = f"signal {-status}" if status < 0 else f"status {status}"
        except subprocess.TimeoutExpired:
            how = "does not end"
        self.note("ends with", how)
        self.note("out", self.clean(self.out(job)))
        self.note("err", self.clean(_read(job.err)))

    # With a terminal.

    def terminal(self, argv: list[str]) -> None:
        """Start `argv` as a terminal's session leader."""
        pid, self.master = pty.fork()
        if pid == 0:
            try:
                os.chdir(self.dir)
                for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, 32, 33}:
                    signal.signal(number, signal.SIG_DFL)
                os.execvpe(argv[0], argv, self.env)
            finally:
                os._exit(127)
        self.shell_pid = pid
        self.resize(24, 80)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def shell(self, name: str = "bash") -> None:
        argv = {
            "bash": ["bash", "--norc", "--noprofile", "--noediting", "-i"],
            "dash": ["dash", "-i"],
            "zsh": ["zsh", "-f", "-i", "-y", "-o", "nozle", "-o", "nopromptsp", "-o", "nopromptcr"],
        }[name]
        if name == "zsh":
            self.env["PS1"] = "<%?> "
        self.terminal(argv)
        self.prompt()
        self.line("stty -echo -echoctl; ulimit -c 0")
        self.screen, self.at = "", 0

    def pump(self, wait_s: float = 0.05) -> None:
        try:
            if select.select([self.master], [], [], wait_s)[0]:
                self.screen += os.read(self.master, 65536).decode(errors="backslashreplace")
        except OSError:
            time.sleep(wait_s)  # nobody has the other end

    def expect(self, pattern: str, deadline_s: float = DEADLINE_S) -> re.Match[str]:
        """Wait for it on the screen, after what was waited for last."""
        end = time.monotonic() + deadline_s
        while True:
            if match := re.compile(pattern, re.M).search(self.screen, self.at):
                self.at = match.end()
                return match
            if time.monotonic() > end:
                raise VainError(f"{pattern!r} on the screen")
            self.pump()

    def send(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def prompt(self) -> None:
        self.expect(r"<\d+> ")

    def line(self, text: str) -> None:
        """Type a line and wait for the prompt after it."""
        self.send(text + "\n")
        self.prompt()

    def keys(self, text: str, pattern: str) -> re.Match[str]:
        """Type, and wait for `pattern`."""
        self.send(text)
        return self.expect(pattern)

    def close(self) -> None:
        os.close(self.master)
        self.master = -1

    def finish(self) -> None:
        """Note what of the wrapper is still there; then end all that we started."""
        if self.master >= 0:
            self.note("screen", "\n" + self.clean(self.screen[: self.at]))  # what came by chance after it is left out
        names = {
            "sleep",
            "sh",
            "cat",
            "yes",
            "bash",
            "dash",
            "zsh",
            "less",
            "vi",
            "script",
            "setpriv",
            "timeout",
            "xargs",
        }

        def strangers() -> list[list[str]]:
            return [
                argv
                for _, argv in processes(self.mark).values()
                if argv and os.path.basename(argv[0]) not in names and not (len(argv) > 1 and argv[1] in FILES)
            ]

        for pid, (_, argv) in processes(self.mark).items():  # COMMANDs first: then their wrappers have to end
            if argv and (os.path.basename(argv[0]) in names or (len(argv) > 1 and argv[1] in FILES)):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        if self.master >= 0:
            self.close()
        end = time.monotonic() + 8
        while strangers() and time.monotonic() < end:
            time.sleep(0.1)
        self.note("of the wrapper remain", len(strangers()))
        while found := processes(self.mark):
            for pid in found:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.02)
        for job in self.jobs:
            job.process.wait()
        if self.shell_pid:
            os.waitpid(self.shell_pid, 0)
        shutil.rmtree(self.dir, ignore_errors=True)


def _read(path: str) -> str:
    with open(path, errors="backslashreplace") as file:
        return file.read()
