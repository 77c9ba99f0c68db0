"""A terminal that is driven: keys go in, the screen comes out."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from types import TracebackType

from tests.support.programs import program
from tests.support.waiting import wait_for


class Tmux:
    """A command in a tmux of its own, which ends with the `with`. The last screen of one that failed is printed."""

    def __init__(self, argv: Sequence[str], *, width: int = 120, height: int = 30, env: dict[str, str] | None = None):
        self._argv = argv
        self._size = width, height
        self._env = env or {}

    def __enter__(self) -> Tmux:
        self._folder = tempfile.TemporaryDirectory()
        self._tmux = [program("tmux"), "-f", "/dev/null", "-S", os.path.join(self._folder.name, "socket")]
        width, height = map(str, self._size)
        shell = f"{shlex.join(self._argv)}; echo ended with $?; exec sleep 600"
        # Where these are set, as by pytest-xdist, programs believe them and not the window.
        inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        env = {**inherited, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **self._env}
        subprocess.run([*self._tmux, "new-session", "-d", "-x", width, "-y", height, shell], check=True, env=env)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            print("\n".join(self.screen()))
        self._ask("kill-server")
        self._folder.cleanup()

    def _ask(self, *args: str) -> str:
        done = subprocess.run([*self._tmux, *args], capture_output=True, text=True)
        if done.returncode:
            print(done.stderr, file=sys.stderr)
        return done.stdout

    def press(self, *keys: str) -> None:
        """Keys as tmux calls them: Left, S-Left, Enter, Space, a letter."""
        self._ask("send-keys", *keys)

    def type(self, text: str) -> None:
        self._ask("send-keys", "-l", "--", text)

    def resize(self, width: int, height: int) -> None:
        self._ask("resize-window", "-x", str(width), "-y", str(height))

    def screen(self) -> list[str]:
        return self._ask("capture-pane", "-p").splitlines()

    def until(self, what: str, condition: Callable[[list[str]], object]) -> list[str]:
        """The first screen of which the condition is true."""
        found: list[str] = wait_for(what, lambda: (screen := self.screen()) and condition(screen) and screen)
        return found
