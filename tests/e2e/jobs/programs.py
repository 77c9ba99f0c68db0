"""Files that lie in the working directory of every scenario: programs, scripts, texts.

sigs.py says "ready", and then the name of each signal that it gets, a line with one write.
"""

FILES = {
    "sigs.py": """
import os, signal, sys
def say(text): os.write(1, (text + "\\n").encode())
def got(number, frame):
    try: name = signal.Signals(number).name
    except ValueError: name = f"RTMIN+{number - signal.SIGRTMIN}"
    if name == "SIGWINCH": name += " %dx%d" % os.get_terminal_size(1)[::-1] if os.isatty(1) else ""
    say("got " + name)
    if name == "SIGUSR2": os._exit(9)
left = {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
for number in signal.valid_signals() - left:
    if signal.getsignal(number) != signal.SIG_IGN or number in (signal.SIGPIPE, signal.SIGXFSZ) or "-f" in sys.argv:
        try: signal.signal(number, got)
        except OSError: pass
say("ready")
while True: signal.pause()
""",
    "stopper.py": """
import os, signal
def tstp(number, frame):  # as an editor does: tidy up, then stop for good
    os.write(1, b"tidy\\n"); os.kill(0, signal.SIGSTOP); os.write(1, b"back\\n")
signal.signal(signal.SIGTSTP, tstp)
signal.signal(signal.SIGCONT, lambda *a: os.write(1, b"got SIGCONT\\n"))
os.write(1, b"ready\\n")
while True: signal.pause()
""",
    "block.py": """
import os, signal, sys
for number in signal.SIGPIPE, signal.SIGXFSZ: signal.signal(number, signal.SIG_DFL)  # Python ignores them
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGTERM})
os.execvp(sys.argv[1], sys.argv[1:])
""",
    "ignore.py": """
import os, signal, sys
for number in signal.SIGPIPE, signal.SIGXFSZ: signal.signal(number, signal.SIG_DFL)
signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execvp(sys.argv[1], sys.argv[1:])
""",
    "alarm.py": """
import os, signal, sys
for number in signal.SIGPIPE, signal.SIGXFSZ: signal.signal(number, signal.SIG_DFL)
signal.alarm(2); os.execvp(sys.argv[1], sys.argv[1:])
""",
    "killpg.py": """
import os, signal, time
seen = []
signal.signal(signal.SIGUSR1, lambda *a: seen.append(1))
time.sleep(0.3); os.kill(0, signal.SIGUSR1); time.sleep(0.5)
print("got", len(seen))
""",
    "plain": 'echo "plain $# $1 $2"; exit 4\n',
    "bang": '#!/bin/sh\necho "bang $# $1 $2"; exit 5\n',
    "noexec": "echo no\n",
    "nointerp": "#!/no/such/interpreter\n",
    "text": "".join(f"line {i}\n" for i in range(200)),
    "manager.sh": 'export WATCHDOG_PID=$$; [ "$LISTEN_PID" ] || export LISTEN_PID=$$; exec "$@"\n',
    "loop.sh": "for i in 1 2 3; do $W sh -c 'echo go-$0; sleep 6' $i; done\necho after\n",
    "trap.sh": "trap 'echo caught' INT\n$W sh -c 'echo go; sleep 60'\necho after $?\n",
    "Makefile": "all: a b\na b:\n\t@$(W) sh -c 'echo made $@'\nlong:\n\t@$(W) sh -c 'echo go; sleep 60'\n"
    "deep:\n\t+@$(W) $(MAKE) -s a b\n",
    "sub/f1": "",
    "sub/f2": "",
    "log": "",
    "inputrc": "set enable-bracketed-paste off\n",
}
