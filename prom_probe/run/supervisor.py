"""The supervisor: forks the workers, restarts what dies, passes signals on, and ends everything in order.

Light and single-threaded: what a worker needs is imported in the worker, after the fork (`wiring.py`).
"""

from __future__ import annotations

import gc
import os
import select
import signal
import time
from collections.abc import Callable, Sequence

from prom_probe.log import Log, describe_error
from prom_probe.ring.doorbell import Doorbell
from prom_probe.run.board import Board
from prom_probe.run.command import FORWARDED, Command, Ended
from prom_probe.run.listening import Listener

BACKOFF_FIRST_S = 0.1
BACKOFF_MAX_S = 30.0
HEALTHY_AFTER_S = 60.0

# How long a worker may take to end after SIGTERM, before SIGKILL.
GRACE_S = 5.0

# How long it is waited for what SIGKILL has not ended: a process in the middle of a driver's call may never end.
KILLED_S = 2.0

# How often it is asked whether a worker that had nothing to do has something to do now.
ASK_S = 60.0

# How long COMMAND's zombie is kept for a last collection.
LAST_COLLECTION_S = 1.0


class Worker:
    """A worker process: `main` runs in it, after the fork, with the supervisor's lifeline as its argument.

    It is started only where `wanted` says that there is something for it to do, and given `grace_s` between SIGTERM and
    SIGKILL. After `most_crashes` in a row, each within a minute of its start, it is given up (0: never).
    """

    def __init__(
        self,
        name: str,
        main: Callable[[int], None],
        *,
        wanted: Callable[[], bool] = lambda: True,
        grace_s: float = GRACE_S,
        most_crashes: int = 0,
    ) -> None:
        self.name = name
        self.main = main
        self.wanted = wanted
        self.grace_s = grace_s
        self.most_crashes = most_crashes
        self.crashes = 0  # in a row
        self.given_up = False
        self.pid = 0
        self.started_s = 0.0
        self.backoff_s = BACKOFF_FIRST_S
        self.due_s = 0.0  # when to start it (again); 0 for not at all
        self.replacing = False  # it was asked to end, so that a new one begins with other settings


class Supervisor:
    """Runs `workers` (the aggregator is the last) and, where given, COMMAND, until it or a signal ends them all.

    `collect_now` asks the probes for a collection and waits for it until a deadline (monotonic seconds). `reload` reads
    the settings anew, when `reload_bell` rings or a SIGHUP comes that is not COMMAND's, and gives the names of the
    workers that are to begin again.
    """

    def __init__(
        self,
        workers: list[Worker],
        board: Board,
        *,
        log: Log,
        collect_now: Callable[[float], None],
        listeners: list[Listener],
        command: Command | None = None,
        linger_s: float = 0.0,
        reload: Callable[[], Sequence[str]] = tuple,
        reload_bell: Doorbell | None = None,
    ) -> None:
        self._workers = workers
        self._board = board
        self._log = log
        self._collect_now = collect_now
        self._listeners = listeners
        self._command = command
        self._linger_s = linger_s
        self._reload = reload
        self._reload_bell = reload_bell
        self._signals_fd, self._signals_write = os.pipe()
        self._lifeline, self._lifeline_write = os.pipe()
        os.set_blocking(self._signals_fd, False)
        os.set_blocking(self._signals_write, False)

    def run(self) -> Ended | None:
        """Until COMMAND has ended (its end) or, without one, SIGTERM or SIGINT came (None).

        CommandError if COMMAND cannot be executed. No worker is left when this returns or raises.
        """
        self._catch_signals()
        gc.collect()
        gc.freeze()  # the workers share these pages; a collection would copy them
        try:
            for worker in self._workers:
                self._start(worker)
            if self._command is not None:
                self._command.go()
            return self._watch()
        finally:
            self._stop_workers()

    def _catch_signals(self) -> None:
        signal.set_wakeup_fd(self._signals_write, warn_on_full_buffer=False)
        caught = FORWARDED if self._command else [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
        for number in [*caught, signal.SIGCHLD]:
            try:
                signal.signal(number, _noted)
            except (OSError, ValueError):
                pass  # the C library keeps this one for itself

    def _start(self, worker: Worker) -> None:
        worker.due_s = 0.0
        if not worker.wanted():
            worker.due_s = time.monotonic() + ASK_S
            self._board.retired(worker.name)
            return
        worker.started_s = time.monotonic()
        # Until the child has handlers of its own, ours would swallow a SIGTERM that is meant to end it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
        pid = os.fork()
        if pid == 0:
            self._become(worker, before)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        worker.pid = pid
        self._board.started(worker.name, pid)

    def _become(self, worker: Worker, mask: set[int | signal.Signals]) -> None:
        """In the child: run the worker. Never returns.

        A session of its own keeps it from signals that are meant for COMMAND or for us, and gives it a part of the CPU
        of its own where the kernel shares it between sessions first (autogroup).
        """
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            os.setsid()
            _name_process(f"pp-{worker.name}")
            for number in [*FORWARDED, signal.SIGCHLD]:
                try:
                    signal.signal(number, signal.SIG_DFL)
                except (OSError, ValueError):
                    pass
            for number in (signal.SIGINT, signal.SIGHUP):  # a worker that takes SIGHUP says so later
                signal.signal(number, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            for fd in (self._signals_fd, self._signals_write, self._lifeline_write):
                os.close(fd)
            worker.main(self._lifeline)
            status = 0
        except BaseException as error:
            self._log.named(worker.name)("error", f"worker died: {describe_error(error)}")
        finally:
            os._exit(status)

    def _watch(self) -> Ended | None:
        stop_s = float("inf")  # after COMMAND's end: how long to linger
        ended: Ended | None = None
        while True:
            for number in self._wait(min(stop_s, self._next_start_s())):
                if number == signal.SIGCHLD:
                    continue
                if self._command is None and number == signal.SIGHUP:
                    self._reload_now()
                elif self._command is None or ended is not None:
                    if number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                        stop_s = 0.0
                else:
                    if number == signal.SIGCONT:
                        self._command.continued()
                    self._command.signal(number)
            self._reap()
            if self._command is not None and ended is None:
                ended = self._command_ended(self._command)
                if ended is not None:
                    stop_s = time.monotonic() + self._linger_s if self._linger_s else 0.0
            now_s = time.monotonic()
            if now_s >= stop_s:
                return ended
            for worker in self._workers:
                if worker.due_s and now_s >= worker.due_s:
                    self._start(worker)

    def _wait(self, until_s: float) -> bytes:
        """The signals that came by `until_s`, one byte each; returns early with the first."""
        left = max(0.0, until_s - time.monotonic())
        bell = self._reload_bell
        watched = [self._signals_fd] if bell is None else [self._signals_fd, bell.fd]
        try:
            ready, _, _ = select.select(watched, [], [], None if left == float("inf") else left)
            if bell is not None and bell.fd in ready:
                bell.clear()
                self._reload_now()
            return os.read(self._signals_fd, 4096)
        except (BlockingIOError, InterruptedError):
            return b""

    def _reload_now(self) -> None:
        again = set(self._reload())
        for worker in self._workers:
            if worker.name not in again and not worker.given_up:
                continue
            worker.backoff_s = BACKOFF_FIRST_S
            worker.crashes, worker.given_up = 0, False
            if worker.pid:
                worker.replacing = True
                os.kill(worker.pid, signal.SIGTERM)
            else:
                worker.due_s = time.monotonic()

    def _next_start_s(self) -> float:
        return min((worker.due_s for worker in self._workers if worker.due_s), default=float("inf"))

    def _reap(self) -> None:
        for worker in self._workers:
            if not worker.pid:
                continue
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid:
                self._schedule(worker, status)
        if os.getpid() == 1:
            self._reap_orphans()

    def _schedule(self, worker: Worker, status: int) -> None:
        """Note the death of `worker` and when to start it again."""
        now_s = time.monotonic()
        worker.crashes += 1
        if now_s - worker.started_s > HEALTHY_AFTER_S:
            worker.backoff_s = BACKOFF_FIRST_S
            worker.crashes = 0
        worker.pid = 0
        if worker.replacing:
            worker.replacing = False
            worker.due_s = now_s
            self._board.ended(worker.name, restart=False)
            return
        how = f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"status {os.WEXITSTATUS(status)}"
        if worker.crashes == worker.most_crashes > 0:
            worker.given_up = True
            self._board.ended(worker.name, restart=False)
            what = f"worker ended {worker.crashes} times within a minute of its start: given up until a reload (SIGHUP)"
            self._log("error", what, worker=worker.name, how=how)
            return
        worker.due_s = now_s + worker.backoff_s
        self._board.ended(worker.name, restart=True)
        self._log("warn", "worker ended", worker=worker.name, how=how, restart_in=f"{worker.backoff_s:g}s")
        worker.backoff_s = min(worker.backoff_s * 2, BACKOFF_MAX_S)

    def _reap_orphans(self) -> None:
        """As PID 1: reap what was left to us; COMMAND and workers are others' business here."""
        own = {worker.pid for worker in self._workers} | {self._command.pid if self._command else 0}
        while True:
            try:
                info = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if info is None or info.si_pid in own:
                return  # the next SIGCHLD comes here again
            os.waitpid(info.si_pid, 0)

    def _command_ended(self, command: Command) -> Ended | None:
        """COMMAND's end after a last collection over its zombie, None while it runs."""
        if command.poll():
            self._collect_now(time.monotonic() + LAST_COLLECTION_S)
            return command.reap()
        if hasattr(os, "waitid"):
            if number := command.stopped():
                command.handle_stop(number)
            return None
        return command.reap(block=False)

    def _stop_workers(self) -> None:
        """End the probes, then the aggregator, which so gets everything; SIGKILL after the grace."""
        for listener in self._listeners:
            listener.sock.close()  # the aggregator has its own
        for group in (self._workers[:-1], self._workers[-1:]):
            for worker in group:
                if worker.pid:
                    os.kill(worker.pid, signal.SIGTERM)
            start_s = time.monotonic()
            for worker in sorted(group, key=lambda worker: worker.grace_s):
                if not self._await_end(worker, start_s + worker.grace_s):
                    self._kill(worker)

    def _await_end(self, worker: Worker, deadline_s: float) -> bool:
        while worker.pid:
            pid, _ = os.waitpid(worker.pid, os.WNOHANG)
            if pid:
                worker.pid = 0
            elif time.monotonic() >= deadline_s:
                return False
            else:
                self._wait(min(deadline_s, time.monotonic() + 0.05))
        return True

    def _kill(self, worker: Worker) -> None:
        self._log("warn", "worker did not end in time", worker=worker.name)
        os.kill(worker.pid, signal.SIGKILL)
        if not self._await_end(worker, time.monotonic() + KILLED_S):
            self._log("error", "worker is stuck in the kernel and left there", worker=worker.name, pid=worker.pid)
            worker.pid = 0


def _noted(number: int, frame: object) -> None:
    """A handler that does nothing: the wake-up descriptor has the signal's number already."""


def _name_process(name: str) -> None:
    """What `ps -e` and `top` show for this process, where the platform has a file for it."""
    try:
        with open("/proc/self/comm", "w") as comm:
            comm.write(name[:15])
    except OSError:
        pass
