"""Lines without a terminal: what they print, how they end."""

from __future__ import annotations

import subprocess

from tests.e2e.jobs.scenarios import Play, scenario
from tests.e2e.jobs.trial import DEADLINE_S, Job, Trial

STATUS = "grep -E 'Sig(Blk|Ign|Cgt)' /proc/self/status"
LINES: list[tuple[str, str, str, str]] = [
    # name, what it is, the line, the shell
    ("in-signals", "COMMAND starts with default dispositions (SIGPIPE too) and an empty mask", f"$W {STATUS}", "sh"),
    ("in-ignored", "ignored TERM, QUIT, USR1 stay ignored", f"trap '' TERM QUIT USR1; $W {STATUS}", "sh"),
    ("in-ignored-pipe", "an ignored PIPE stays ignored", f"trap '' PIPE; $W {STATUS}", "sh"),
    (
        "in-ignored-chld",
        "an ignored CHLD stays ignored; the status is there all the same",
        f"$PY ignore.py $W {STATUS}; echo $?; $PY ignore.py $W ./bang; echo $?",
        "bash",
    ),
    ("in-mask", "a blocked signal stays blocked", f"$PY block.py $W {STATUS}", "sh"),
    ("in-nohup", "nohup: HUP is ignored in COMMAND", f"nohup $W {STATUS} 2>/dev/null", "sh"),
    (
        "in-background-sh",
        "& in sh: INT and QUIT are ignored, stdin is /dev/null",
        f"$W {STATUS} & wait; $W readlink /proc/self/fd/0 & wait",
        "sh",
    ),
    ("in-alarm", "a pending alarm is COMMAND's", "$PY alarm.py $W sleep 30; echo $?", "bash"),
    (
        "in-env",
        "environment",
        "$W env | grep -v -e '^_=' -e '^W=' -e ^MARK= -e ^HOME= -e ^INPUTRC= -e PWD= | sort",
        "sh",
    ),
    (
        "in-listen-pid",
        "a service manager's variables that name COMMAND's process",
        "LISTEN_PID=1 sh manager.sh $W sh -c '[ $WATCHDOG_PID = $$ ]; echo $? $LISTEN_PID'; "
        "export LISTEN_PIDFDID=7; sh manager.sh $W sh -c '[ $LISTEN_PID = $$ ]; echo $?'",
        "sh",
    ),
    ("in-inspect", "Python's variables are COMMAND's", "PYTHONINSPECT=1 $W sh -c 'exit 4' <text; echo $?", "bash"),
    ("in-cwd", "working directory and umask", "cd sub; umask 027; $W sh -c 'pwd -P; umask'", "sh"),
    (
        "in-nice",
        "nice value and scheduling policy",
        "nice -n 5 chrt -b 0 $W sh -c 'nice; chrt -p $$ | sed s/.*:// '",
        "sh",
    ),
    ("in-limits", "resource limits", "ulimit -n 99; ulimit -c 0; ulimit -s 4096; $W sh -c 'ulimit -a'", "sh"),
    (
        "in-descriptors",
        "descriptors above 2, and no more of them",
        "$W sh -c 'head -1 <&3; echo x >&7; ls /proc/$$/fd' 3<text 7>out7; cat out7",
        "sh",
    ),
    (
        "in-affinity",
        "CPU affinity, OOM score, personality",
        "echo 500 >/proc/self/oom_score_adj; taskset -c 0 setarch -R "
        "$W sh -c 'grep s_allowed_list /proc/self/status; cat /proc/self/oom_score_adj /proc/self/personality'",
        "bash",
    ),
    (
        "in-arguments",
        "arguments, argv[0]",
        "$W sh -c 'tr \"\\0\" \"|\" </proc/$$/cmdline' '' 'b c' '*' -- --help",
        "sh",
    ),
    (
        "in-session",
        "session and process group leader stay what they are",
        "$W sh -c 'set -- $(cat /proc/$$/stat); [ $5 = $$ ] && echo leads; [ $6 = $$ ] && echo session'",
        "sh",
    ),
    ("run-bang", "a script with #!", "$W ./bang a b; echo $?", "sh"),
    ("run-plain", "a script without #!", "$W ./plain a b; echo $?; PATH=.:$PATH $W plain a b; echo $?", "sh"),
    (
        "run-not-there",
        "not found: 127",
        "$W nosuchcommand 2>/dev/null; echo $?; $W ./nosuch 2>/dev/null; echo $?",
        "bash",
    ),
    (
        "run-not-executable",
        "not executable, a folder, below a file: 126",
        "for x in ./noexec ./sub ./noexec/x; do $W $x 2>/dev/null; echo $?; done",
        "bash",
    ),
    ("run-empty", "an empty name: 127", "$W '' 2>/dev/null; echo $?", "bash"),
    (
        "run-bytes",
        "a name and arguments that are not UTF-8",
        "$W ./caf* $(printf 'a\\377b') x | od -c; $W echo '\x1b[0m' | od -c",
        "bash",
    ),
    (
        "exit-statuses",
        "exit statuses",
        'for n in 0 1 2 63 125 126 127 128 129 130 137 141 143 200 254 255; do $W sh -c "exit $n"; echo $n $?; done',
        "sh",
    ),
    ("io-pipe", "input from a pipe, output to a pipe", "printf 'a\\nb\\n' | $W cat | tr a-z A-Z", "sh"),
    (
        "io-while-read",
        "does not eat the loop's input",
        "printf 'a\\nb\\nc\\n' | while read x; do $W echo $x; done",
        "sh",
    ),
    ("io-sigpipe", "a reader that leaves: yes dies of PIPE", "$W yes | head -1; echo ${PIPESTATUS[*]}", "bash"),
    ("io-closed-in", "stdin closed", "$W sh -c 'read x; echo $?; exit 7' <&- 2>/dev/null; echo $?", "sh"),
    ("io-closed-out", "stdout closed", "$W sh -c 'ls -m /proc/self/fd >&2; exit 7' >&-; echo $?", "sh"),
    ("io-closed-err", "stderr closed", "$W sh -c 'ls -m /proc/self/fd; exit 7' 2>&-; echo $?", "sh"),
    (
        "io-closed-all",
        "0, 1 and 2 closed",
        "$W sh -c 'ls -m /proc/self/fd >o; exit 7' <&- >&- 2>&-; echo $?; cat o",
        "sh",
    ),
    (
        "io-full-err",
        "stderr cannot be written: /dev/full, a closed pipe",
        "$W sh -c 'exit 7' 2>/dev/full; echo $?; { $W sh -c 'sleep 0.5; exit 8'; echo $? >o; } 2>&1 | true; cat o",
        "sh",
    ),
    ("use-subst", "$( … )", "x=$($W sh -c 'echo out; exit 3'); echo $? $x", "sh"),
    (
        "use-subst-child",
        "$( … ) with a child that holds the pipe",
        "x=$($W sh -c 'sleep 1 & echo done'); echo $? $x",
        "sh",
    ),
    ("use-process-subst", "<( … )", "cat <($W echo one) <($W echo two); wait", "bash"),
    ("use-wait-n", "wait -n", "$W sh -c 'exit 4' & wait -n; echo $?", "bash"),
    (
        "use-read-t",
        "read -t in COMMAND",
        "sleep 3 | $W bash -c 'read -t 0.5 x; echo $?; exit 6'; echo ${PIPESTATUS[1]}",
        "bash",
    ),
    (
        "use-trap-exit",
        "trap … EXIT in COMMAND that dies of TERM",
        "$W bash -c 'trap \"echo bye\" EXIT; kill -TERM $$; sleep 1'; echo $?",
        "bash",
    ),
    ("use-xargs", "xargs -P", "seq 6 | xargs -P3 -n2 $W echo | sort", "sh"),
    (
        "use-xargs-dies",
        "xargs stops at 255 and at a signal",
        "seq 3 | xargs -n1 $W sh -c 'echo $0; exit 255' 2>/dev/null; echo $?; "
        "seq 3 | xargs -n1 $W sh -c 'echo $0; kill -9 $$' 2>/dev/null; echo $?",
        "sh",
    ),
    ("use-find", "find -exec", "find sub -name 'f*' -exec $W echo {} \\; | sort", "sh"),
    ("use-make", "make -j, and its job server through us", "make -s -j2 | sort; make -s -j2 deep | sort", "sh"),
    (
        "use-script",
        "script -c, as the terminal's only process",
        "script -qec \"$W sh -c 'tty >/dev/null && echo tty; exit 5'\" /dev/null; echo $?",
        "sh",
    ),
    (
        "use-setsid",
        "COMMAND = setsid, which forks only where it leads a group",
        "$W setsid sh -c 'sleep 0.5; echo in'; echo back; sleep 1",
        "sh",
    ),
    (
        "use-nested",
        "wrapped twice",
        "$W $W sh -c 'echo x; exit 7'; echo $?; $W $W sh -c 'kill -HUP $$'; echo $?",
        "bash",
    ),
    ("use-timeout", "timeout 1", "timeout 1 $W sh -c 'sleep 41; echo no'; echo $?", "bash"),
    ("use-timeout-kill", "timeout -s KILL", "timeout -s KILL 1 $W sh -c 'sleep 41; echo no'; echo $?", "bash"),
    (
        "use-timeout-k",
        "timeout -k of a COMMAND that ignores TERM",
        "timeout -k 1 1 $W sh -c \"trap '' TERM; sleep 41; sleep 41\"; echo $?",
        "bash",
    ),
    ("use-timeout-foreground", "timeout --foreground", "timeout --foreground 1 $W sleep 41; echo $?", "bash"),
    (
        "use-timeout-counts",
        "timeout's TERM and CONT come (it sends each to the PID and to the group: two may merge)",
        "timeout -k 1 1 $W $PY sigs.py | uniq; echo ${PIPESTATUS[0]}",
        "bash",
    ),
    ("use-timeout-inside", "COMMAND = timeout", "$W timeout 1 sleep 41; echo $?", "bash"),
    ("own-killpg", "COMMAND signals its own group", "$W $PY killpg.py", "setsid-sh"),
    (
        "own-kill-parentless",
        "COMMAND's child signals COMMAND",
        '$W bash -c \'trap "echo got" USR1; sh -c "kill -USR1 $$"; sleep 0.3; echo end\'',
        "sh",
    ),
]


def run_line(line: str, shell: str) -> Play:
    """The scenario of a line: how it ends, what it says, what remains."""

    def run(t: Trial) -> None:
        sh = "sh" if shell == "setsid-sh" else shell
        job = t.timed("ends", lambda: wait(t.start(line, sh))) if "sleep" in line else wait(t.start(line, sh))
        t.end(job, 1)
        if "sleep 41" in line:
            t.left("sleep 41")

    def wait(job: Job) -> Job:
        try:
            job.process.wait(DEADLINE_S + 22)
        except subprocess.TimeoutExpired:
            pass
        return job

    return run


for _name, _text, _line, _shell in LINES:
    scenario(_name, _text)(run_line(_line, _shell))
