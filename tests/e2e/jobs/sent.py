"""Signals without a terminal, and what remains. `job.pid` is COMMAND's PID when bare, prom-probe's when wrapped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from tests.e2e.jobs.scenarios import NOBODY, scenario, setuid_tool
from tests.e2e.jobs.trial import Trial, VainError


def dies(number: int) -> None:
    """COMMAND dies of a signal."""

    @scenario(
        f"dies-{signal.Signals(number).name[3:].lower()}",
        f"COMMAND dies of {signal.Signals(number).name}: so for a parent",
    )
    def run(t: Trial) -> None:
        t.end(t.start(["bash", "-c", f"ulimit -c 0; kill -{number} $$; sleep 5"]))


for _name in ("SEGV", "KILL", "TERM", "INT", "PIPE", "ABRT", "USR1"):
    dies(signal.Signals[f"SIG{_name}"])

SENT = ["TERM", "HUP", "INT", "QUIT", "USR1", "WINCH", "ALRM", "CONT", "URG", "IO", "PIPE", "RTMIN", "RTMAX", "USR2"]


def each_once(name: str, text: str, kill: Callable[[int, int], None]) -> None:
    """Each signal of SENT comes once."""

    @scenario(name, text)
    def run(t: Trial) -> None:
        job = t.start([sys.executable, "sigs.py"])
        t.see(job, "ready")
        for signame in SENT:
            before = t.out(job).count("got")
            kill(job.pid, getattr(signal, "SIG" + signame))
            try:
                t.count(job, "got", before + 1, 2)
            except VainError:
                t.note(signame, "does not come")
            time.sleep(0.15)  # for a second one that must not come
        t.end(job)


each_once("sent-pid", "a stranger signals the PID, 14 signals: each exactly once", os.kill)
each_once("sent-group", "a stranger signals the group, 14 signals: each exactly once", os.killpg)


@scenario("sent-sibling", "a process of the same group signals the PID, then the group: each exactly once")
def sent_sibling(t: Trial) -> None:
    line = (
        "$W $PY sigs.py & trap '' USR1 TERM; until grep -q ready out0; do sleep 0.1; done; kill -USR1 $!; sleep 0.5; "
    )
    job = t.start(line + "kill -TERM 0; sleep 0.5; kill -USR2 $!; wait $!; echo $?")
    t.end(job)


@scenario("sent-twenty", "twenty USR1 one after the other: twenty come")
def sent_twenty(t: Trial) -> None:
    job = t.start([sys.executable, "sigs.py"])
    t.see(job, "ready")
    for i in range(20):
        os.kill(job.pid, signal.SIGUSR1)
        t.count(job, "got SIGUSR1", i + 1, 3)
    os.kill(job.pid, signal.SIGUSR2)
    t.end(job)


@scenario("sent-nohup", "nohup … &, then HUP to the PID and to the group: goes on")
def sent_nohup(t: Trial) -> None:
    job = t.start("exec nohup $W sh -c 'echo ready; sleep 3; echo end'")
    t.see(job, "ready")
    os.kill(job.pid, signal.SIGHUP)
    os.killpg(job.pid, signal.SIGHUP)
    t.end(job)


@scenario("sent-int-background", "… & in sh, then INT to the group: goes on")
def sent_int_background(t: Trial) -> None:
    job = t.start("trap : INT; $W sh -c 'echo ready; sleep 2; echo end' & wait; wait; echo all")
    t.see(job, "ready")
    os.killpg(job.pid, signal.SIGINT)
    t.end(job)


@scenario("sent-ignored", "COMMAND that was started with TERM ignored is sent TERM: goes on")
def sent_ignored(t: Trial) -> None:
    job = t.start("trap '' TERM; exec $W sh -c 'echo ready; sleep 2; echo end'")
    t.see(job, "ready")
    os.kill(job.pid, signal.SIGTERM)
    t.end(job)


@scenario("sent-stop", "STOP of the PID stops COMMAND, CONT lets it go on")
def sent_stop(t: Trial) -> None:
    job = t.start(["sleep", "42"])
    t.state("sleep 42", "SR")
    os.kill(job.pid, signal.SIGSTOP)
    t.state("sleep 42", "T")
    os.kill(job.pid, signal.SIGCONT)
    t.state("sleep 42", "SR")
    os.kill(job.pid, signal.SIGTERM)
    t.timed("ends", lambda: t.end(job))


@scenario("sent-stop-group", "STOP and CONT of the group; CONT comes exactly once")
def sent_stop_group(t: Trial) -> None:
    job = t.start([sys.executable, "sigs.py"])
    t.see(job, "ready")
    os.killpg(job.pid, signal.SIGSTOP)
    t.state("$PY sigs.py", "T")
    os.killpg(job.pid, signal.SIGCONT)
    t.see(job, "got SIGCONT")
    time.sleep(0.3)
    os.killpg(job.pid, signal.SIGUSR2)
    t.end(job)


@scenario("sent-stop-command", "STOP, CONT of COMMAND's own PID: the whole ends when COMMAND does")
def sent_stop_command(t: Trial) -> None:
    job = t.start(["sleep", "3"])
    pid = t.find("sleep 3")
    os.kill(pid, signal.SIGSTOP)
    t.state("sleep 3", "T")
    time.sleep(0.5)
    os.kill(pid, signal.SIGCONT)
    t.end(job)


@scenario("sent-tstp-orphan", "TSTP to an orphaned group without a terminal stops nobody")
def sent_tstp_orphan(t: Trial) -> None:
    job = t.start(["sleep", "3"])
    t.find("sleep 3")
    os.kill(job.pid, signal.SIGTSTP)
    time.sleep(0.5)
    t.state("sleep 3", "SR")
    t.end(job)


@scenario("sent-kill", "KILL of the PID: COMMAND is gone, its child lives on")
def sent_kill(t: Trial) -> None:
    job = t.start(["sh", "-c", "sleep 43 & echo ready; exec sleep 44"])
    t.see(job, "ready")
    t.find("sleep 44")
    os.kill(job.pid, signal.SIGKILL)
    t.left("sleep 44")
    t.left("sleep 43", 0.5)
    t.end(job)


@scenario("sent-kill-group", "KILL of the group: nothing is left")
def sent_kill_group(t: Trial) -> None:
    job = t.start(["sh", "-c", "sleep 43 & echo ready; sleep 44"])
    t.see(job, "ready")
    t.find("sleep 44")
    os.killpg(job.pid, signal.SIGKILL)
    t.left("sleep 44")
    t.left("sleep 43")
    t.end(job)


@scenario(
    "sent-setuid", "a user's COMMAND has become root: what the user sends us cannot be handed on, and ends nobody"
)
def sent_setuid(t: Trial) -> None:
    tool = setuid_tool(t)
    user: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    job = t.start([tool, "--reuid=0", "sh", "-c", "echo ready; sleep 2; echo end; exit 5"], **user)
    t.see(job, "ready")
    for signame in ("WINCH", "TERM"):
        subprocess.run(["kill", f"-{signame}", str(job.pid)], stderr=subprocess.DEVNULL, **user)
    t.end(job)


@scenario("left-daemon", "COMMAND daemonises and ends: at once, and the daemon lives")
def left_daemon(t: Trial) -> None:
    job = t.start(["sh", "-c", "setsid sleep 45 & sleep 0.5; exit 3"])
    t.timed("ends", lambda: t.end(job))
    t.left("sleep 45", 0.5)


@scenario("left-deep", "COMMAND dies of TERM, a grandchild lives")
def left_deep(t: Trial) -> None:
    job = t.start(["sh", "-c", "sh -c 'sleep 46; :' & echo ready; sleep 47; :"])
    t.see(job, "ready")
    t.find("sleep 46")
    os.kill(job.pid, signal.SIGTERM)
    t.end(job)
    t.left("sleep 46", 0.5)
    t.left("sleep 47", 0.5)
