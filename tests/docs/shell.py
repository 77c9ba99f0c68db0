"""Runs the commands of a page, one after the other, as a reader would type them, in a folder of their own."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

from tests.docs.elsewhere import ELSEWHERE, Elsewhere
from tests.docs.pages import Command, Page, commands, pattern
from tests.support.paths import ROOT
from tests.support.peers import free_port
from tests.support.programs import program
from tests.support.sidecar import children, read_comm
from tests.support.waiting import DEADLINE_S, wait_for

# Commands that go on until they are told to end: they run beside those that follow, up to the next such command.
_STAYS = re.compile(r"(?:[A-Z_]+=\S+ |python -m tests\.support\.limited \d+ )*prom-probe (?:run|serve)\b")
_ENDS_BY_ITSELF = "tests.support.limited"
_PORTS = {"19990": "/metrics", "19991": "the query API", "8000": "an application"}
_BUILTINS = {"echo", "cd", "export", "kill", "test", "true"}


def wrapped(pid: int) -> list[int]:
    """What a prom-probe has started beside its workers: COMMAND, while it lives."""
    return [child for child in children(pid) if not read_comm(child).startswith("pp-")]


class Failed(AssertionError):
    """A command that does not do what its page says."""


class Shell:
    """The page's folder holds what tests/docs/scratch has, links to the checkout, and what the page itself writes.

    `programs` is the folder of another installation's programs, in place of the checkout's.
    Ports are free ones, in the page's text and files too; `prom-probe query` finds them by PROM_PROBE_URL.
    """

    def __init__(
        self,
        page: Page,
        folder: Path,
        rows: Sequence[Elsewhere] = ELSEWHERE,
        patience_s: float = DEADLINE_S,
        programs: Path | None = None,
    ) -> None:
        self._page = page
        self._folder = folder
        self._rows = rows
        self._patience_s = patience_s
        self._ports = dict(zip(_PORTS, (free_port() for _ in _PORTS), strict=True))
        self._staying: subprocess.Popen[bytes] | None = None
        self._staying_is: Command | None = None
        self._output: IO[bytes] | None = None
        self._status = 0
        self.used: set[str] = set()  # patterns of the rows that were needed
        self.ran = 0
        for name in ("bench", "deploy", "docs", "grafana", "tests", "Makefile", "pyproject.toml"):
            (folder / name).symlink_to(ROOT / name)
        if programs is None:
            (folder / "prom_probe").symlink_to(ROOT / "prom_probe")
        for file in (Path(__file__).parent / "scratch").iterdir():
            (folder / file.name).write_text(self._local(file.read_text()))
        self._env = {
            **os.environ,
            "PATH": f"{programs or Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(folder),
            "XDG_STATE_HOME": str(folder / "state"),
            "PROM_PROBE_RUN_KEEP": "10",  # in a container too
            "COLUMNS": "100",
            "PROM_PROBE_WEB_LISTEN_ADDRESS": f"127.0.0.1:{self._ports['19990']}",
            "PROM_PROBE_API_LISTEN_ADDRESS": f"127.0.0.1:{self._ports['19991']}",
            "PROM_PROBE_URL": f"http://127.0.0.1:{self._ports['19991']}",
        }

    def __enter__(self) -> Shell:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._staying is not None and kind is not None:
            print(self._read_output())
        try:
            if kind is None:
                self._end()
        finally:
            if self._staying is not None and self._staying.poll() is None:
                (self._folder / "enough").touch()  # for its COMMAND, which outlives it
                os.killpg(self._staying.pid, signal.SIGKILL)
                self._staying.wait()

    def run_all(self) -> None:
        """Every block of the page in turn, beside a run that the reader has.

        Failed, with the place, at the first command that does not as it should.
        """
        self._begin(Command("prom-probe run -- python train.py", None, 0))
        for block in self._page.blocks:
            if block.file is not None:
                (self._folder / block.file).write_text(self._local(block.text) + "\n")
            found = list(commands(block))
            for number, command in enumerate(found):
                status_is_told = number + 1 < len(found) and found[number + 1].text == "echo $?"
                self.run(command, status_is_told=status_is_told)

    def run(self, command: Command, *, status_is_told: bool = False) -> None:
        """One command; `status_is_told`: whether the next one asks for its exit status."""
        self.ran += 1
        row = next((row for row in self._rows if re.fullmatch(row.pattern, command.text)), None)
        if row is not None:
            self.used.add(row.pattern)
            try:
                inner = row.check(command.text)
            except AssertionError as error:
                raise self._failed(command, str(error)) from None
            if inner is None:
                return
            command = command._replace(text=inner)
        self._find_programs(command.text)
        kept = re.search(r"(?:--storage\.tsdb\.path=|prom-probe storage \w+ )(\S+)", command.text)
        staying = "" if self._staying_is is None else self._staying_is.text
        if kept and f"--storage.tsdb.path={kept[1]}" in staying:
            self._end()  # what a run has stored is asked for after its end
        if "@last" in command.text and _ENDS_BY_ITSELF in staying:
            self._end()
        if _STAYS.match(command.text) and "--help" not in command.text:
            self._end()
            self._begin(command)
        else:
            self._run_through(command, status_is_told)

    def _run_through(self, command: Command, status_is_told: bool) -> None:
        """Until it has ended; as long as something runs beside it, it may need another try to see what it should."""
        end = time.monotonic() + self._patience_s
        while True:
            done = subprocess.run(
                ["bash", "-o", "pipefail", "-c", f"(exit {self._status}); {self._local(command.text)}\nexit $?"],
                cwd=self._folder,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=DEADLINE_S,
            )
            wrong = self._compare(command, done.stdout)
            if done.returncode and not status_is_told:
                wrong = f"exit status {done.returncode}: {done.stdout}"
            if wrong is None:
                self._status = done.returncode
                return
            if self._staying is None or time.monotonic() > end:
                raise self._failed(command, wrong)
            time.sleep(0.2)

    def _begin(self, command: Command) -> None:
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed in _end
        self._staying_is = command
        self._staying = subprocess.Popen(
            ["bash", "-c", f"exec {self._local(command.text)}"],
            cwd=self._folder,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        end = time.monotonic() + DEADLINE_S
        while self._staying.poll() is None and b"msg=listening" not in self._read_output_bytes():
            if time.monotonic() > end:
                raise self._failed(command, f"it does not listen: {self._read_output()}")
            time.sleep(0.05)

    def _end(self) -> None:
        """Let the command that stays end as its reader would: its program has had enough, or Ctrl-C."""
        if self._staying is None or self._staying_is is None or self._output is None:
            return
        process, command = self._staying, self._staying_is
        (self._folder / "enough").touch()
        if " -- " in command.text:
            wait_for("the end of what it wraps", lambda: process.poll() is not None or not wrapped(process.pid))
        if " -- " not in command.text or "--run.linger" in command.text:
            process.terminate()
        try:
            process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            raise self._failed(command, "it does not end") from None
        (self._folder / "enough").unlink()
        output = self._read_output()
        self._output.close()
        self._staying = None
        if process.returncode:
            raise self._failed(command, f"exit status {process.returncode}: {output}")
        wrong = self._compare(command, output)
        if wrong is not None:
            raise self._failed(command, wrong)

    def _compare(self, command: Command, output: str) -> str | None:
        if command.shown is None or (not command.shown and command.text.startswith("prom-probe run")):
            return None
        wanted = self._local(command.shown)
        if _STAYS.match(command.text):  # of what it logs on the way, a page need not show anything
            kept = [line for line in output.splitlines() if not line.startswith("ts=") or "ts=" in wanted]
            output = "\n".join(kept) + "\n"
        output = output.rstrip() + "\n"
        if pattern(wanted).fullmatch(output):
            return None
        return f"the page shows\n{wanted}\nand it printed\n{output}"

    def _local(self, text: str) -> str:
        for port, free in self._ports.items():
            text = text.replace(port, str(free))
        return text

    def _find_programs(self, text: str) -> None:
        """Skip the test where a program of the command is not installed; fail where it has to be."""
        for part in re.split(r"\|\||&&|[|;]", text):
            words = [word for word in shlex.split(part, comments=True) if not re.match(r"[A-Z_]+=", word)]
            if words and words[0] not in _BUILTINS and not words[0].startswith(("./", "(")):
                if words[0] in ("prom-probe", "python"):
                    continue
                program(words[0])

    def _failed(self, command: Command, why: str) -> Failed:
        return Failed(f"{self._page.path}:{command.line}: `{command.text}`: {why}")

    def _read_output_bytes(self) -> bytes:
        return b"" if self._output is None else os.pread(self._output.fileno(), 1 << 20, 0)

    def _read_output(self) -> str:
        return self._read_output_bytes().decode(errors="replace")
