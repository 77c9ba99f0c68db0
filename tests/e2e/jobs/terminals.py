"""COMMAND and its terminal: reading it, its settings, its size, and its end."""

from __future__ import annotations

import os
import re
import signal
import sys
import time

from tests.e2e.jobs.scenarios import in_shells, scenario
from tests.e2e.jobs.trial import Trial


@in_shells("tty-piped", "reads /dev/tty while stdin, stdout are pipes (as ssh, less)", "bash", "dash", "zsh")
def tty_piped(t: Trial) -> None:
    t.send("echo data | $W sh -c 'echo go >&2; read x </dev/tty; cat; echo got $x' | cat\n")
    t.expect("go\r")
    t.keys("word\n", r"<\d+> ")
    t.send("$W sh -c 'echo go >&2; read x </dev/tty; echo got $x' </dev/null | cat\n")
    t.expect("go\r")
    t.keys("word\n", r"<\d+> ")
    t.send("echo data | $W sh -c 'echo go >&2; read x </dev/tty; echo got $x' \n")
    t.expect("go\r")
    t.keys("word\n", r"<\d+> ")


@scenario("tty-password", "a password prompt, ^C: the terminal's settings afterwards")
def tty_password(t: Trial) -> None:
    t.shell()
    t.send("$W bash -c 'read -s -p Password: x'\n")
    t.expect("Password:")
    t.keys("\3", r"<\d+> ")
    t.line("stty -a | grep -o -e '-*icanon' -e '-*isig'")


@in_shells("tty-raw", "COMMAND leaves the terminal raw and dies of KILL: the settings afterwards", "bash", "zsh")
def tty_raw(t: Trial) -> None:
    t.send("$W sh -c 'echo go; stty raw; kill -9 $$'\n")
    t.expect(r"<\d+> ")
    t.line("stty -a | grep -o -e '-*icanon' -e '-*isig' -e '-*opost'")


@scenario("tty-resize", "the window is resized: SIGWINCH once, the new size")
def tty_resize(t: Trial) -> None:
    t.shell()
    t.send("$W $PY sigs.py\n")
    t.expect("ready\r")
    for rows in (30, 31):
        t.resize(rows, 90)
        t.expect(f"WINCH {rows}x90")
        time.sleep(0.2)
    t.keys("\3", "SIGINT\r")
    os.kill(t.find("$PY sigs.py"), signal.SIGUSR2)
    t.prompt()


def closed(name: str, text: str, line: str, shell: str = "bash") -> None:
    """The terminal is closed once COMMAND has said in the log that it is ready."""

    @scenario(name, text)
    def run(t: Trial) -> None:
        t.shell(shell)
        t.send(line + "\n")
        t.until(lambda: "ready" in t.read("log"), "ready in the log")
        t.close()
        time.sleep(1)
        t.note(
            "log", re.sub(r"(got SIGHUP\n)+", r"\1", t.clean(t.read("log")) + "\n")
        )  # shell and kernel may send one each
        t.left("sleep 48", 1)


closed("hup-fg", "the terminal is closed: COMMAND in the foreground gets HUP", "$W $PY sigs.py >log")
closed(
    "hup-fg-dies", "the terminal is closed: COMMAND and its child die", "$W sh -c 'echo ready >log; sleep 48; sleep 48'"
)
closed("hup-bg", "the terminal is closed: COMMAND in the background gets HUP", "$W $PY sigs.py >log &")
closed("hup-zsh", "the terminal is closed (zsh)", "$W $PY sigs.py >log", "zsh")
closed(
    "hup-nohup",
    "the terminal is closed: nohup … & lives on",
    "nohup $W sh -c 'echo ready >log; exec sleep 48' >/dev/null &",
)


@scenario("hup-leader", "the terminal is closed: COMMAND is the session leader (tmux, ssh -t, docker -t)")
def hup_leader(t: Trial) -> None:
    t.terminal([*t.wrap, "bash", "-c", "trap 'echo HUP >>log; exit' HUP; echo ready; while :; do sleep 0.2; done"])
    t.expect("ready\r")
    t.close()
    time.sleep(1.5)
    t.note("log", t.read("log"))


@scenario("leader-keys", "COMMAND is the session leader: ^C, then its end")
def leader_keys(t: Trial) -> None:
    t.terminal([*t.wrap, sys.executable, "sigs.py"])
    t.expect("ready\r")
    t.keys("\3", "SIGINT\r")
    time.sleep(0.2)
    os.kill(t.find("$PY sigs.py"), signal.SIGUSR2)
    how = os.waitpid(t.shell_pid, 0)[1]
    t.shell_pid = 0
    t.note("ends with", os.waitstatus_to_exitcode(how))
