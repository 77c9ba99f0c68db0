"""The supervisor's loop: starts the workers, restarts those that end, passes signals on, and ends all in order.

What it asks of the operating system is in `kernel.py`. It is light and has one thread: what a worker needs is
imported in the worker, after the fork.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, TypeVar

from prom_probe.log import Log, describe_error
from prom_probe.ring.doorbell import Doorbell
from prom_probe.run.board import WorkerBoard
from prom_probe.run.command import Command, CommandError, CommandExit
from prom_probe.run.inheritance import SIGNALS
from prom_probe.run.kernel import Kernel
from prom_probe.run.listening import ListeningSocket
from prom_probe.run.told import ToldAggregator
from prom_probe.run.watchdog import Watchdog

BACKOFF_FIRST_S = 0.1
BACKOFF_MAX_S = 30.0

# A worker that has run for this long is healthy: its crashes and its backoff start from the beginning.
HEALTHY_AFTER_S = 60.0

# How long a worker may take to end after SIGTERM, before SIGKILL.
GRACE_S = 5.0

# How long to wait after SIGKILL: a process in the middle of a driver's call may never end.
KILLED_S = 2.0

# How often to look for workers that are stuck in a file.
LOOK_S = 1.0

# A worker that was asked to end and is seen at one file for as long as this will not end.
WAITS_S = 0.5

# How often to check whether there is work for a worker that had none.
RECHECK_S = 60.0

# At the end workers end stage by stage: those that give samples, the sender, which asks for them, and at last the
# aggregator, which has them.
FIRST_STAGE, SENDER_STAGE, LAST_STAGE = range(3)

# How long COMMAND's zombie is kept for a last collection.
LAST_COLLECTION_S = 1.0

# How often to look for the end of what was asked to end, and how soon to try again what was refused.
_POLL_S = 0.05

_NEVER = float("inf")

T = TypeVar("T")


class Reloading(Protocol):
    """A reload of the settings, which never blocks."""

    def begin(self) -> bool:
        """Begin, if none is under way. Whether that was possible."""

    def advance(self) -> Sequence[str] | None:
        """The names of the workers to replace, once it is done; None until then."""

    def cancel(self) -> None:
        """Stop it if it is under way."""


class Worker:
    """A worker process: `main` runs in it, with its lifeline as the argument.

    It is started only when `wanted` says that there is work for it. It gets `grace_s` between SIGTERM and SIGKILL.
    After `max_crashes` in a row, each within HEALTHY_AFTER_S of its start, it is given up (0: never). At the end, those
    of a lower `stage` end first. One that has something to do then has a `finish`, which gives the `main` that does
    just that within so many seconds: it is started if the worker is dead, and again if it dies of it.
    """

    def __init__(
        self,
        name: str,
        main: Callable[[int], None],
        *,
        wanted: Callable[[], bool] = lambda: True,
        grace_s: float = GRACE_S,
        max_crashes: int = 0,
        stage: int = FIRST_STAGE,
        finish: Callable[[float], Callable[[int], None]] | None = None,
    ) -> None:
        self.stage = stage
        self.finish = finish
        self.name = name
        self.main = main
        self.wanted = wanted
        self.grace_s = grace_s
        self.max_crashes = max_crashes
        self.crashes = 0  # in a row
        self.given_up = False
        self.pid = 0
        self.started_s = 0.0
        self.backoff_s = BACKOFF_FIRST_S
        self.due_s = _NEVER  # when to start it, or to check whether it is wanted
        self.killed_s: float | None = None  # when it was killed, being stuck
        self.replacing = False  # it was asked to end, so that a new one starts with other settings


class Supervisor:
    """Runs `workers`, and COMMAND if there is one.

    `collect_now` has the probes collect and waits for it until a deadline. The settings are reloaded when
    `reload_bell` rings and, without COMMAND, on SIGHUP; what is asked for meanwhile is one more reload.

    Nothing that the operating system refuses ends it: that is logged, counted and tried again.
    """

    def __init__(
        self,
        workers: list[Worker],
        board: WorkerBoard,
        kernel: Kernel,
        *,
        log: Log,
        collect_now: Callable[[float], None],
        told: ToldAggregator,
        listeners: Sequence[ListeningSocket] = (),
        command: Command | None = None,
        linger_s: float = 0.0,
        reload: Reloading | None = None,
        reload_bell: Doorbell | None = None,
        watchdog: Watchdog | None = None,
    ) -> None:
        self._workers = workers
        self._board = board
        self._kernel = kernel
        self._log = log
        self._collect_now = collect_now
        self._listeners = listeners
        self._command = command
        self._linger_s = linger_s
        self._reload = reload
        self._reload_bell = reload_bell
        self._watchdog = watchdog
        self._told = told
        self._look_s = _NEVER  # when to look for stuck workers
        self._reload_asked = self._reload_begun = False
        self._untold: list[int] = []  # signals that could not be passed on
        self._collected = False  # COMMAND's last numbers
        self._refused = False  # something is to be tried again
        self._exit: CommandExit | None = None  # COMMAND's, once it has ended
        ours = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}
        kernel.catch(SIGNALS if command else ours)

    def run(self, ready: Callable[[], None] = lambda: None) -> CommandExit | None:
        """Run until COMMAND has ended and lingered; without one, until SIGTERM or SIGINT. Returns COMMAND's exit.

        Calls `ready` once signals are caught: until then, SIGHUP would end us if there is no COMMAND.
        Raises CommandError if COMMAND cannot be executed. No worker is left when this returns or raises.
        """
        try:
            ready()
            for worker in self._workers:
                self._start(worker)
            if self._command is not None:
                self._command.attend()
                # What has come so far is pending in COMMAND as one signal, whoever else got it.
                for number in self._kernel.wait(self._kernel.now_s())[0]:
                    self._pass_on(self._command, number)
                while not self._attempt("write", self._command.go, False):
                    self._kernel.wait(self._kernel.now_s() + _POLL_S)
            self._loop()
            return self._exit
        finally:
            if self._reload is not None:
                self._reload.cancel()
            self._stop_workers()

    def _loop(self) -> None:
        kernel, command = self._kernel, self._command
        stop_s = _NEVER
        while True:
            until_s = min(stop_s, self._look_s, *(worker.due_s for worker in self._workers))
            if self._reload_asked or self._reload_begun or self._refused:
                until_s = min(until_s, kernel.now_s() + _POLL_S)
            self._refused = False
            signals, rung = kernel.wait(until_s, self._reload_bell)
            self._reload_asked |= rung
            untold, self._untold = self._untold, []
            for number in (*untold, *signals):
                if self._handle(number):
                    stop_s = kernel.now_s()
            self._reap()
            if command is not None and self._exit is None:
                self._exit = self._command_exit(command)
                if self._exit is not None:
                    stop_s = kernel.now_s() + self._linger_s
            now_s = kernel.now_s()
            if now_s >= stop_s:
                return
            if now_s >= self._look_s and self._watchdog is not None:
                self._look_s = now_s + LOOK_S
                self._attempt("open", partial(self._look, self._watchdog), None)
            self._go_on_reloading()
            for worker in self._workers:
                if now_s >= worker.due_s:
                    self._start(worker)

    def _attempt(self, call: str, work: Callable[[], T], otherwise: T) -> T:
        """What `work` returns. If the system refuses it, `otherwise`: that is counted, and the loop goes round soon."""
        try:
            return work()
        except CommandError:
            raise
        except Exception as error:
            self._refused = True
            self._board.failed(call)
            self._log("error", "refused, and tried again", call=call, error=describe_error(error))
            return otherwise

    def _tell(self, tell: Callable[[ToldAggregator], None]) -> None:
        """Tell the aggregator, which finds in its ring what it could not be woken for."""
        self._attempt("write", lambda: tell(self._told), None)

    def _look(self, watchdog: Watchdog) -> None:
        """Kill the workers that are stuck in a file; go on without those that do not end even so."""
        now_s = self._kernel.now_s()
        for worker in self._workers:
            if not worker.pid:
                continue
            if worker.killed_s is not None:
                if now_s - worker.killed_s >= KILLED_S:
                    self._leave(worker)
            elif watchdog.is_stuck(worker.name, worker.pid, now_s):
                path, for_s = watchdog.leave_out(worker.name, now_s)
                what = "worker is stuck in a file that does not answer: it is replaced, and leaves the file out"
                self._log("warn", what, worker=worker.name, file=path, left_out_for=f"{for_s:g}s")
                worker.killed_s = now_s
                self._send(worker, signal.SIGKILL)

    def _leave(self, worker: Worker) -> None:
        self._log("error", "worker is stuck in the kernel and left there", worker=worker.name, pid=worker.pid)
        self._replaced(worker)

    def _replaced(self, worker: Worker) -> None:
        """A stuck worker has gone, or is as good as gone: that is no crash of its."""
        worker.pid, worker.killed_s = 0, None
        worker.due_s = self._kernel.now_s()
        self._tell(lambda told: told.worker_restarts(worker.name, "it was stuck in a file"))
        self._board.ended(worker.name, restart=True)

    def _handle(self, number: int) -> bool:
        """Act on a signal. Returns whether it asks us to end."""
        if self._command is None:
            self._reload_asked |= number == signal.SIGHUP
            return number in (signal.SIGTERM, signal.SIGINT)
        if self._exit is not None:  # COMMAND has ended: we linger
            return number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        self._pass_on(self._command, number)
        return False

    def _pass_on(self, command: Command, number: int) -> None:
        def send() -> bool:
            command.signal(number)
            return True

        if not self._attempt("kill", send, False):
            self._untold.append(number)

    def _start(self, worker: Worker, main: Callable[[int], None] | None = None) -> None:
        wanted = self._attempt("open", worker.wanted, None)
        if wanted is None:
            self._postpone(worker)
            return
        if not wanted:
            worker.due_s = self._kernel.now_s() + RECHECK_S
            self._board.idle(worker.name)
            return
        worker.due_s = _NEVER
        worker.started_s = self._kernel.now_s()
        try:
            worker.pid = self._kernel.start(worker.name, main or worker.main)
        except OSError as error:
            self._postpone(worker)
            self._board.failed("fork")
            self._log("error", "worker not started", worker=worker.name, error=error.strerror)
            return
        self._board.started(worker.name, worker.pid)
        if self._watchdog is not None and self._look_s == _NEVER:
            self._look_s = worker.started_s + LOOK_S

    def _go_on_reloading(self) -> None:
        """Without waiting for it."""
        if self._reload is None or not (self._reload_asked or self._reload_begun):
            return
        if not self._reload_begun:
            self._reload_asked = False
            self._reload_begun = self._attempt("reload", self._reload.begin, False)
            if not self._reload_begun:
                return
        nothing: Sequence[str] | None = ()
        replaced = self._attempt("reload", self._reload.advance, nothing)
        if replaced is not None:
            self._reload_begun = False
            self._replace(replaced)

    def _replace(self, replaced: Sequence[str]) -> None:
        """Replace the workers that use settings that have changed, and try again those that were given up."""
        for worker in self._workers:
            if worker.name not in replaced and not worker.given_up:
                continue
            worker.backoff_s = BACKOFF_FIRST_S
            worker.crashes, worker.given_up = 0, False
            if worker.pid:
                worker.replacing = True
                self._send(worker, signal.SIGTERM)
            else:
                worker.due_s = self._kernel.now_s()

    def _reap(self) -> None:
        for worker in self._workers:
            if worker.pid:
                status = self._maybe_reap(worker)
                if status is not None:
                    self._ended(worker, status)
        self._attempt("wait", self._reap_orphans, None)

    def _send(self, worker: Worker, number: int) -> None:
        self._attempt("kill", lambda: self._kernel.send(worker.pid, number), None)

    def _maybe_reap(self, worker: Worker) -> int | None:
        """A worker's wait status if it has ended."""
        return self._attempt("wait", lambda: self._kernel.reap(worker.pid), None)

    def _ended(self, worker: Worker, status: int) -> None:
        """Note that a worker has ended, and decide when to start it again."""
        if worker.killed_s is not None:
            self._replaced(worker)
            return
        now_s = self._kernel.now_s()
        worker.pid = 0
        worker.crashes += 1
        if now_s - worker.started_s > HEALTHY_AFTER_S:
            worker.backoff_s = BACKOFF_FIRST_S
            worker.crashes = 0
        if worker.replacing:
            worker.replacing = False
            worker.due_s = now_s
            self._board.ended(worker.name, restart=False)
            return
        how = f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"status {os.WEXITSTATUS(status)}"
        if worker.crashes == worker.max_crashes > 0:
            worker.given_up = True
            self._board.ended(worker.name, restart=False)
            what = f"worker ended {worker.crashes} times within a minute of its start: given up until a reload (SIGHUP)"
            self._log("error", what, worker=worker.name, how=how)
            return
        self._board.ended(worker.name, restart=True)
        self._tell(lambda told: told.worker_restarts(worker.name, how))
        self._log("warn", "worker ended", worker=worker.name, how=how, restart_in=f"{worker.backoff_s:g}s")
        self._postpone(worker)

    def _postpone(self, worker: Worker) -> None:
        """Start it after its backoff, which is twice as long the next time."""
        worker.due_s = self._kernel.now_s() + worker.backoff_s
        worker.backoff_s = min(worker.backoff_s * 2, BACKOFF_MAX_S)

    def _reap_orphans(self) -> None:
        """Reap the children that became ours, and what a reload leaves; neither COMMAND nor a worker."""
        own = {worker.pid for worker in self._workers}
        if self._command is not None and self._exit is None:
            own |= self._command.own_pids()
        # Behind one of our own, others may wait; it is reaped in its place, and the next SIGCHLD comes back here.
        while (pid := self._kernel.ended_child()) and pid not in own:
            status = self._kernel.reap(pid)
            if status is not None:
                self._tell(partial(ToldAggregator.reaped, pid=pid, status=status))

    def _command_exit(self, command: Command) -> CommandExit | None:
        """COMMAND's exit, after a last collection over its zombie; None while it runs."""
        if self._attempt("wait", command.poll, False):
            if not self._collected:
                self._collected = True
                self._attempt("collect", lambda: self._collect_now(self._kernel.now_s() + LAST_COLLECTION_S), None)
            ended = self._attempt("wait", command.reap, None)
            if ended is not None:
                self._tell(lambda told: told.command_ended(command.pid, ended))
            return ended
        if number := self._attempt("wait", command.stopped, 0):
            self._attempt("kill", lambda: command.handle_stop(number), None)
        return None

    def _stop_workers(self) -> None:
        """End the workers, those first whose samples others still take. SIGKILL after the grace."""
        for stage in sorted({worker.stage for worker in self._workers}):
            if stage == LAST_STAGE:
                for listener in self._listeners:
                    listener.sock.close()  # the aggregator has its own
            group = [worker for worker in self._workers if worker.stage == stage]
            for worker in group:
                if worker.pid:
                    self._send(worker, signal.SIGTERM)
            start_s = self._kernel.now_s()
            for worker in sorted(group, key=lambda worker: worker.grace_s):
                until_s = start_s + worker.grace_s
                if worker.finish is not None and self._attempt("open", worker.wanted, False):
                    self._finish(worker, worker.finish, until_s)
                if not self._wait_for_end(worker, until_s):
                    self._kill(worker)

    def _finish(self, worker: Worker, finish: Callable[[float], Callable[[int], None]], deadline_s: float) -> None:
        """See that a worker does what it has to do at the end; start it, and those that it needs, while they are dead.

        The last GRACE_S before the deadline are for the end of the process itself.
        """
        needed = [other for other in self._workers if other.stage > worker.stage]
        for each in (worker, *needed):
            if not each.pid:
                each.backoff_s, each.due_s = BACKOFF_FIRST_S, self._kernel.now_s()
        while (now_s := self._kernel.now_s()) < deadline_s - GRACE_S:
            for each in (worker, *needed):
                status = self._maybe_reap(each) if each.pid else None
                if each is worker and status == 0:
                    each.pid = 0
                    return
                if status is not None:
                    self._ended(each, status)
                if not each.pid and now_s >= each.due_s:
                    self._start(each, finish(deadline_s - GRACE_S - now_s) if each is worker else None)
            self._kernel.wait(min(deadline_s - GRACE_S, now_s + _POLL_S))

    def _wait_for_end(self, worker: Worker, deadline_s: float) -> bool:
        """Whether the worker has ended by the deadline."""
        while worker.pid:
            now_s = self._kernel.now_s()
            if self._maybe_reap(worker) is not None:
                worker.pid = 0
            elif now_s >= deadline_s or self._waits(worker, now_s):
                return False
            else:
                self._kernel.wait(min(deadline_s, now_s + _POLL_S))
        return True

    def _waits(self, worker: Worker, now_s: float) -> bool:
        """Whether it is of no use to wait for the worker's end, as it waits for a file itself."""
        return self._watchdog is not None and self._watchdog.waiting_s(worker.name, worker.pid, now_s) >= WAITS_S

    def _kill(self, worker: Worker) -> None:
        self._log("warn", "worker did not end in time", worker=worker.name)
        self._send(worker, signal.SIGKILL)
        if not self._wait_for_end(worker, self._kernel.now_s() + KILLED_S):
            self._log("error", "worker is stuck in the kernel and left there", worker=worker.name, pid=worker.pid)
