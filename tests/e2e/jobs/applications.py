"""Programs that own the terminal: shells, editors, pagers, and what makes sessions and groups."""

from __future__ import annotations

import os
import signal
import sys
import time

from tests.e2e.jobs.scenarios import in_shells, scenario, setuid_tool
from tests.e2e.jobs.trial import Trial


@in_shells("app-bash", "COMMAND = bash -i: ^C at its prompt, ^Z and fg in it, exit 3", "bash", "zsh")
def app_bash(t: Trial) -> None:
    t.env["PS1"] = "<$?> "
    t.keys("PS1='<$?> ' $W bash --norc --noediting -i\n", r"<\d+> ")
    t.line("echo inner")
    t.keys("\3", r"<\d+> ")
    t.send("sh -c 'echo go; exec sleep 48'\n")
    t.find("sleep 48")
    t.keys("\x1a", r"<\d+> ")
    t.state("sleep 48", "T")
    t.send("fg\n")
    t.state("sleep 48", "SR")
    t.keys("\3", r"<\d+> ")
    t.line("exit 3")
    t.line("echo outer")


@scenario("app-bash-suspend", "COMMAND = bash -i: suspend, fg, exit")
def app_bash_suspend(t: Trial) -> None:
    t.shell()
    t.keys("$W bash --norc --noediting -i\n", r"<\d+> ")
    t.line("suspend")
    t.line("echo outer")
    t.keys("fg\n", r"<\d+> ")
    t.line("echo inner")
    t.line("exit 3")


@scenario("app-bash-hup", "COMMAND = bash -i, the terminal is closed: all is gone")
def app_bash_hup(t: Trial) -> None:
    t.shell()
    t.keys("$W bash --norc --noediting -i\n", r"<\d+> ")
    t.send("sleep 48\n")
    t.find("sleep 48")
    t.close()
    t.left("sleep 48")
    t.left("bash --norc --noediting -i")


@scenario("app-python", "COMMAND = Python's prompt: ^C, ^Z and fg, exit()")
def app_python(t: Trial) -> None:
    t.shell()
    t.keys("$W $PY -q -E -s\n", ">>> ")
    t.keys("40 + 2\n", "42\r")
    t.expect(">>> ")
    time.sleep(0.2)
    t.keys("\3", "KeyboardInterrupt\r")
    t.expect(">>> ")
    t.keys("\x1a", r"<\d+> ")
    t.send("fg\n")
    t.keys("\n40 + 3\n", "43\r")
    t.keys("raise SystemExit(4)\n", r"<\d+> ")
    t.screen, t.at = t.screen[: t.at].replace(">>> ", ""), 1 << 20  # how many prompts is its own affair


@scenario("app-less", "COMMAND = less: ^Z, fg, q; with piped input too")
def app_less(t: Trial) -> None:
    t.shell()
    for line in ("TERM=vt100 $W less -X text", "cat text | TERM=vt100 $W less -X"):
        t.keys(line + "\n", "line 20")
        t.keys("\x1a", r"<\d+> ")
        t.keys("fg\n", "line 20")
        t.keys("q", r"<\d+> ")
    t.screen = ""  # how much less paints is its own affair; it was waited for


@scenario("app-vi", "COMMAND = vi: ^Z, fg, :q!")
def app_vi(t: Trial) -> None:
    t.shell()
    t.env["TERM"] = "vt100"
    t.keys("TERM=vt100 $W vi text\n", "line 20")
    t.keys("\x1a", r"<\d+> ")
    t.keys("fg\n", "line 20")
    t.keys(":q!\r", r"<\d+> ")
    t.line("stty -a | grep -o -e '-*icanon' -e '-*isig'")
    t.screen, t.at = t.clean(t.screen[: t.at])[-40:], 1 << 20


@scenario("app-script", "COMMAND = script: ^C inside, exit status")
def app_script(t: Trial) -> None:
    t.shell()
    t.send("$W script -qec \"sh -c 'echo go; exec sleep 48'\" /dev/null\n")
    t.find("sleep 48")
    t.timed("^C", lambda: t.keys("\3", r"<\d+> "))
    t.left("sleep 48")


@in_shells("app-timeout", "COMMAND = timeout 60 cat reads the terminal; ^C", "bash", "zsh")
def app_timeout(t: Trial) -> None:
    t.send("$W timeout 60 sh -c 'echo go; exec cat'\n")
    t.expect("go\r")
    t.keys("word\n", "word\r")
    t.timed("^C", lambda: t.keys("\3", r"<\d+> "))
    t.left("cat", 1)


@scenario("app-timeout-around", "timeout around us: reading stops as it does bare; --foreground reads, ^C")
def app_timeout_around(t: Trial) -> None:
    t.shell()
    t.send("timeout --foreground 60 $W sh -c 'echo go; exec cat'\n")
    t.expect("go\r")
    t.keys("word\n", "word\r")
    t.keys("\3", r"<\d+> ")
    t.send("timeout 60 $W sh -c 'echo go; exec cat'\n")
    t.expect("go\r")
    t.send("word\n")
    t.expect("word\r")
    t.keys("\3", r"<\d+> ")
    t.left("cat", 1)


@scenario("app-setsid", "COMMAND = setsid typed in: forks, so the prompt is back at once")
def app_setsid(t: Trial) -> None:
    t.shell()
    t.send("$W setsid sleep 5; echo back\n")
    t.timed("back", lambda: t.expect("back\r"))
    t.prompt()


@scenario("app-setuid", "a user's COMMAND is setuid root (as sudo): ^C and a new window size")
def app_setuid(t: Trial) -> None:
    setuid_tool(t)
    t.env["P"] = sys.executable
    t.terminal(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "bash", "--norc", "--noediting", "-i"])
    t.prompt()
    t.line("stty -echo -echoctl; ulimit -c 0; TMPDIR=/tmp")
    t.send("$W ./setpriv --reuid=0 $P sigs.py\n")
    t.expect("ready\r")
    t.resize(30, 90)
    t.expect("WINCH 30x90")
    t.keys("\3", "SIGINT\r")
    time.sleep(0.3)
    os.kill(t.find(["$PY", "sigs.py"]), signal.SIGUSR2)
    t.prompt()
