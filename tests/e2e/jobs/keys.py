"""Keys at a terminal with a shell: ^C, ^Z, ^\\, and the jobs of the shell."""

from __future__ import annotations

import os
import signal
import time

from tests.e2e.jobs.scenarios import in_shells, scenario
from tests.e2e.jobs.trial import Trial


@in_shells("c-loop", "^C in a for loop typed in", "bash", "dash", "zsh")
def c_loop(t: Trial) -> None:
    t.send("for i in 1 2 3; do $W sh -c 'echo go-$0; sleep 6' $i; done; echo after $?\n")
    t.find("sleep 6")
    t.timed("^C", lambda: t.keys("\3", r"(<\d+> |go-2)"))
    t.left("sleep 6", 1)


@scenario("c-loop-script", "^C in for loops of scripts run by bash, dash, zsh")
def c_loop_script(t: Trial) -> None:
    t.shell()
    for shell in ("bash", "dash", "zsh -y"):
        t.send(f"{shell} loop.sh\n")
        t.find("sleep 6")
        t.timed("^C", lambda: t.keys("\3", r"(<\d+> |go-2)"))
        t.left("sleep 6", 1)


@in_shells("c-chain", "^C in a chain of && and ;", "bash", "dash", "zsh")
def c_chain(t: Trial) -> None:
    t.send("$W sh -c 'echo go; sleep 6' && echo yes; echo no\n")
    t.find("sleep 6")
    t.timed("^C", lambda: t.keys("\3", r"<\d+> "))


@in_shells("c-pipe-left", "^C, COMMAND left of |", "bash", "dash", "zsh")
def c_pipe_left(t: Trial) -> None:
    t.send("$W bash -c 'echo go; sleep 7; echo late' | cat\n")
    t.find("sleep 7")
    t.timed("^C", lambda: t.keys("\3", r"<\d+> "))
    t.left("sleep 7", 1)


@in_shells("c-pipe-right", "^C, COMMAND right of |", "bash", "zsh")
def c_pipe_right(t: Trial) -> None:
    t.send("sleep 8 | $W sh -c 'echo go; cat; echo late'\n")
    t.find("cat")
    t.timed("^C", lambda: t.keys("\3", r"<\d+> "))
    t.left("sleep 8", 1)
    t.left("cat", 1)


@scenario("c-subst", "^C in $( … ), in ( … ), in a script with a trap")
def c_subst(t: Trial) -> None:
    t.shell()
    for line in (
        "x=$($W sh -c 'echo go >&2; sleep 6'); echo after",
        "( $W sh -c 'echo go; sleep 6'; echo no ); echo $?",
        "bash trap.sh",
    ):
        t.send(line + "\n")
        t.find("sleep 60" if "trap" in line else "sleep 6")
        t.timed("^C", lambda: t.keys("\3", r"<\d+> "))


@scenario("c-tools", "^C in xargs, find -exec")
def c_tools(t: Trial) -> None:
    t.shell()
    for line in (
        "echo 1 2 | xargs -n1 $W sh -c 'echo go; sleep 6'",
        "find sub -name 'f*' -exec $W sh -c 'echo go; sleep 6' \\;",
    ):
        t.send(line + "\n")
        t.expect("go\r")
        t.find("sleep 6")
        t.send("\3")
        while t.timed("^C", lambda: t.expect(r"<\d+> |go\r"))[0] == "go\r":  # the next one: the tool went on
            t.find("sleep 6")
            t.send("\3")


@scenario("c-make", "^C in make")
def c_make(t: Trial) -> None:
    t.shell()
    t.send("make long\n")
    t.find("sleep 60")
    t.timed("^C", lambda: t.keys("\3", r"<\d+> "))
    t.left("sleep 60", 1)
    t.at = 0  # make 4.3 sometimes trips over its own child's end and says so: not our affair


@in_shells("c-caught", "^C three times, caught by COMMAND that goes on, then ^\\", "bash", "zsh")
def c_caught(t: Trial) -> None:
    t.send("$W $PY sigs.py\n")
    t.expect("ready\r")
    for _ in range(3):
        t.keys("\3", "SIGINT\r")
        time.sleep(0.2)
    t.keys("\x1c", "SIGQUIT\r")
    os.kill(t.find("$PY sigs.py"), signal.SIGUSR2)
    t.prompt()


@scenario("c-nested", "^C, wrapped twice: once")
def c_nested(t: Trial) -> None:
    t.shell()
    t.send("$W $W $PY sigs.py\n")
    t.expect("ready\r")
    t.keys("\3", "SIGINT\r")
    time.sleep(0.3)
    os.kill(t.find("$PY sigs.py"), signal.SIGUSR2)
    t.prompt()


@in_shells("c-quit", "^\\ ends COMMAND", "bash", "dash", "zsh")
def c_quit(t: Trial) -> None:
    t.send("$W sh -c 'echo go; exec sleep 6'\n")
    t.find("sleep 6")
    t.timed("^\\", lambda: t.keys("\x1c", r"<\d+> "))


@in_shells("z-fg", "^Z, jobs, fg, ^C", "bash", "dash", "zsh")
def z_fg(t: Trial) -> None:
    t.send("$W sh -c 'echo go; exec sleep 48'\n")
    t.find("sleep 48")
    t.timed("^Z", lambda: t.keys("\x1a", r"<\d+> "))
    t.state("sleep 48", "T")
    t.line("jobs")
    t.send("fg\n")
    t.state("sleep 48", "SR")
    t.timed("^C", lambda: t.keys("\3", r"<\d+> "))


@in_shells("z-bg", "^Z, bg, kill %1", "bash", "dash", "zsh")
def z_bg(t: Trial) -> None:
    t.send("$W sh -c 'echo go; exec sleep 48'\n")
    t.find("sleep 48")
    t.keys("\x1a", r"<\d+> ")
    t.line("bg")
    t.state("sleep 48", "SR")
    t.line("kill %1; sleep 1")
    t.left("sleep 48")
    t.line("jobs")


@scenario("z-kill", "^Z, kill %1 while stopped, then fg")
def z_kill(t: Trial) -> None:
    t.shell()
    t.send("$W sh -c 'echo go; exec sleep 48'\n")
    t.find("sleep 48")
    t.keys("\x1a", r"<\d+> ")
    t.line("kill %1; sleep 1")
    t.line("jobs")
    t.left("sleep 48")


@scenario("z-disown", "^Z, bg, disown, exit: COMMAND lives on")
def z_disown(t: Trial) -> None:
    t.shell()
    t.send("$W sh -c 'echo go; exec sleep 48'\n")
    t.find("sleep 48")
    t.keys("\x1a", r"<\d+> ")
    t.line("bg; disown")
    t.send("exit\n")
    time.sleep(0.5)
    t.left("sleep 48", 1)


@in_shells("z-child", "^Z of bash -c with a child: both stop, both go on", "bash", "zsh")
def z_child(t: Trial) -> None:
    t.send("$W bash -c 'echo go; sleep 49; echo late'\n")
    t.find("sleep 49")
    t.keys("\x1a", r"<\d+> ")
    t.state("sleep 49", "T")
    t.state(["bash", "-c", "echo go; sleep 49; echo late"], "T")
    t.send("fg\n")
    t.state("sleep 49", "SR")
    t.state(["bash", "-c", "echo go; sleep 49; echo late"], "SR")
    t.keys("\3", r"<\d+> ")
    t.left("sleep 49")


@in_shells("z-pipe", "^Z of a pipeline of two COMMANDs, jobs, fg, ^C", "bash", "zsh")
def z_pipe(t: Trial) -> None:
    t.send("$W bash -c 'echo go; sleep 49; echo late' | $W cat\n")
    t.expect("go\r")
    t.find("sleep 49")
    t.timed("^Z", lambda: t.keys("\x1a", r"<\d+> "))
    t.state("sleep 49", "T")
    t.state("cat", "T")
    t.line("jobs")
    t.send("fg\n")
    t.state("sleep 49", "SR")
    t.state("cat", "SR")
    t.timed("^C", lambda: t.keys("\3", r"<\d+> "))
    t.left("sleep 49")


@in_shells("z-itself", "COMMAND stops itself (kill -STOP $$), fg", "bash", "dash", "zsh")
def z_itself(t: Trial) -> None:
    t.send("$W sh -c 'echo go; kill -STOP $$; echo back; exit 3'\n")
    t.timed("stop", lambda: t.expect(r"<\d+> "))
    t.keys("fg\n", r"<\d+> ")


@scenario("z-ignored", "^Z of a COMMAND that ignores TSTP: goes on in the foreground")
def z_ignored(t: Trial) -> None:
    t.shell()
    t.send("$W bash -c 'trap \"\" TSTP; echo go; read x; echo got $x'\n")
    t.expect("go\r")
    t.send("\x1a")
    time.sleep(0.5)
    t.send("word\n")
    t.expect(r"<\d+> ")


@in_shells("z-caught", "^Z of a COMMAND that tidies up first and then stops, fg, CONT once", "bash", "zsh")
def z_caught(t: Trial) -> None:
    t.send("$W $PY stopper.py\n")
    t.expect("ready\r")
    t.keys("\x1a", r"<\d+> ")
    t.send("fg\n")
    t.expect("back\r")
    time.sleep(0.3)
    t.keys("\x1c", r"<\d+> ")


@in_shells("fg-cat", "cat &, stops for input; fg reads", "bash", "dash", "zsh")
def fg_cat(t: Trial) -> None:
    t.line("$W cat &")
    t.state("cat", "T")
    time.sleep(0.5)  # the wrapper stops after COMMAND; then the shell can say so
    t.line("")
    t.screen, t.at = (
        "",
        0,
    )  # whether it said so before its next prompt or after it is a matter of how fast COMMAND starts
    t.line("jobs")
    t.send("fg\n")
    t.state("cat", "SR")
    t.keys("word\n", "word\r")
    t.keys("\4", r"<\d+> ")


@scenario("fg-tostop", "stty tostop: output in the background stops, fg shows it")
def fg_tostop(t: Trial) -> None:
    t.shell()
    t.line("stty tostop")
    t.send("$W sh -c 'echo word; exit 3' &\n")
    time.sleep(1.5)
    t.line("")
    t.line("jobs")
    t.keys("fg\n", r"<\d+> ")


@scenario("fg-wait", "wait interrupted by ^C: the job lives on")
def fg_wait(t: Trial) -> None:
    t.shell()
    t.line("$W sleep 48 &")
    t.find("sleep 48")
    t.send("wait\n")
    time.sleep(0.3)
    t.keys("\3", r"<\d+> ")
    t.left("sleep 48", 0.5)
    t.line("kill %1; wait; jobs")
