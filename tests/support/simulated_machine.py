"""A machine of simulated processes, signals and time, for the supervisor's loop."""

from __future__ import annotations

import errno
import signal
from collections.abc import Callable, Iterable

from prom_probe.log import Log
from prom_probe.ring.codec import Frame, decode
from prom_probe.ring.consumer import Consumer
from prom_probe.ring.doorbell import Doorbell
from prom_probe.ring.layout import create_ring
from prom_probe.run import supervisor as rules
from prom_probe.run.board import WorkerBoard
from prom_probe.run.command import Command, CommandError, CommandExit
from prom_probe.run.listening import ListeningSocket
from prom_probe.run.supervisor import Supervisor, Worker
from prom_probe.run.told import ToldAggregator
from prom_probe.run.watchdog import Watchdog

START_S = 1000.0
TERM, INT, HUP, KILL, CHLD = signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL, signal.SIGCHLD
USR1, CONT, TSTP = signal.SIGUSR1, signal.SIGCONT, signal.SIGTSTP
STATUS_1 = 1 << 8  # a wait status
DONE = CommandExit(3, "exit status 3", 1.0, 0)


class Sim:
    """A machine on which only what a test schedules happens. It is the supervisor's kernel.

    `ends_after_s`: how long a worker runs on after SIGTERM; infinity for one that ignores it. `unkillable`: not even
    SIGKILL ends these. `history` has what the supervisor did, with the seconds since the start.
    """

    def __init__(self, own_pid: int = 50) -> None:
        self.now = START_S
        self.pid = own_pid
        self.caught: set[int] = set()
        self.history: list[tuple[float, str]] = []
        self.ends_after_s: dict[str, float] = {}
        self.unkillable: set[str] = set()
        self.processes_left = float("inf")  # how many more can be started
        self.running: dict[int, str] = {}
        self.zombies: dict[int, int] = {}
        self._schedule: list[tuple[float, Callable[[], None]]] = []
        self._signals = b""
        self._woken = False  # a child has ended or stopped
        self._rung = False

    def did(self, what: str) -> None:
        self.history.append((round(self.now - START_S, 6), what))

    def times(self, what: str) -> list[float]:
        """When the supervisor did this."""
        return [t for t, done in self.history if done == what]

    def after(self, seconds: float, event: Callable[[], None]) -> None:
        """Have something happen, in seconds from now."""
        self._schedule.append((self.now + seconds, event))
        self._schedule.sort(key=lambda item: item[0])

    def signal_after(self, seconds: float, *numbers: int) -> None:
        def come() -> None:
            self._signals += bytes(numbers)

        self.after(seconds, come)

    def ring_after(self, seconds: float) -> None:
        def ring() -> None:
            self._rung = True

        self.after(seconds, ring)

    def end(self, name: str, status: int = STATUS_1) -> None:
        """The worker ends by itself, now."""
        for pid in [pid for pid, running in self.running.items() if running == name]:
            del self.running[pid]
            self.zombies[pid] = status
            self._woken = True

    # what the supervisor calls

    def now_s(self) -> float:
        return self.now

    def own_pid(self) -> int:
        return self.pid

    def catch(self, numbers: Iterable[int]) -> None:
        self.caught = set(numbers)

    def wait(self, until_s: float, bell: Doorbell | None = None) -> tuple[bytes, bool]:
        while not (self._signals or self._woken) and not (self._rung and bell is not None):
            if not self._schedule or self._schedule[0][0] > until_s:
                assert until_s != float("inf"), "it would sleep for ever"
                self.now = max(self.now, until_s)
                break
            due, event = self._schedule.pop(0)
            self.now = max(self.now, due)
            event()
        signals, self._signals, self._woken = self._signals, b"", False
        rung, self._rung = self._rung and bell is not None, False
        return signals, rung

    def start(self, name: str, main: Callable[[int], None]) -> int:
        self.processes_left -= 1
        if self.processes_left < 0:
            self.did(f"no {name}")
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        pid = 100 + sum(done.startswith("start ") for _, done in self.history)
        self.running[pid] = name
        self.did(f"start {name}")
        return pid

    def send(self, pid: int, number: int) -> None:
        assert pid in self.running or pid in self.zombies, "a signal to a process that is not ours any more"
        name = self.running.get(pid, "")
        self.did(f"{signal.Signals(number).name} {name}")
        if number == KILL and name not in self.unkillable:
            self.end(name, KILL)
        delay = self.ends_after_s.get(name, 0.0)
        if number == TERM and delay != float("inf"):
            self.after(delay, lambda: self.end(name, 0))

    def reap(self, pid: int) -> int | None:
        return self.zombies.pop(pid, None)

    def ended_child(self) -> int:
        return next(iter(self.zombies), 0)


class SimCommand(Command):
    """COMMAND, as the test says."""

    def __init__(self, sim: Sim, error: CommandError | None = None) -> None:
        self.pid = 77
        self._sim = sim
        self._error = error
        self._ended = False
        self.stop_signal = 0

    def end_after(self, seconds: float) -> None:
        def end() -> None:
            self._ended = True
            self._sim._woken = True

        self._sim.after(seconds, end)

    def stop_after(self, seconds: float, number: int) -> None:
        def stop() -> None:
            self.stop_signal = number
            self._sim._woken = True

        self._sim.after(seconds, stop)

    def attend(self) -> None:
        pass

    def go(self) -> bool:
        self._sim.did("go")
        if self._error is not None:
            raise self._error
        return True

    def signal(self, number: int) -> None:
        self._sim.did(f"forward {signal.Signals(number).name}")

    def own_pids(self) -> set[int]:
        return {self.pid}

    def poll(self) -> bool:
        return self._ended

    def stopped(self) -> int:
        number, self.stop_signal = self.stop_signal, 0
        return number

    def handle_stop(self, number: int) -> None:
        self._sim.did(f"handle stop {number}")

    def reap(self) -> CommandExit:
        self._sim.did("reap COMMAND")
        return DONE


class Host:
    """A supervisor of these workers and an aggregator."""

    def __init__(
        self,
        sim: Sim,
        *workers: Worker,
        command: Command | None = None,
        linger_s: float = 0.0,
        listeners: Iterable[ListeningSocket] = (),
        watchdog: Watchdog | None = None,
        told: ToldAggregator | None = None,
    ) -> None:
        self.sim = sim
        self.replaced: tuple[str, ...] = ()
        self.reading_s = self.reading_until_s = 0.0  # how long a reload takes
        self.board = WorkerBoard([*(worker.name for worker in workers), "aggregator"])
        ring = create_ring(1 << 16)
        self._told = Consumer(ring)
        self.supervisor = Supervisor(
            [*workers, worker("aggregator", stage=rules.LAST_STAGE)],
            self.board,
            sim,
            told=told or ToldAggregator(ring, Doorbell()),
            log=Log("error"),
            collect_now=lambda deadline_s: sim.did(f"collect until {deadline_s - START_S:g}"),
            listeners=list(listeners),
            command=command,
            linger_s=linger_s,
            reload=self,
            reload_bell=Doorbell(),
            watchdog=watchdog,
        )

    def begin(self) -> bool:
        self.sim.did("reload")
        if self.sim.processes_left <= 0:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        self.reading_until_s = self.sim.now + self.reading_s
        return True

    def advance(self) -> tuple[str, ...] | None:
        return self.replaced if self.sim.now >= self.reading_until_s else None

    def cancel(self) -> None:
        self.reading_until_s = 0.0

    def run(self) -> CommandExit | None:
        """Until the supervisor is done, which leaves no process."""
        ended = self.supervisor.run()
        assert not self.sim.running.keys() - {
            pid for pid, name in self.sim.running.items() if name in self.sim.unkillable
        }
        return ended

    def told(self) -> list[Frame]:
        """What the aggregator has been told."""
        return [decode(payload) for _, payload in self._told.pop()]

    def restarts(self, name: str) -> int:
        return next(row.restarts for row in self.board.rows() if row.name == name)


def worker(
    name: str = "probe",
    *,
    wanted: Callable[[], bool] = lambda: True,
    grace_s: float = rules.GRACE_S,
    max_crashes: int = 0,
    stage: int = 0,
) -> Worker:
    return Worker(name, lambda lifeline: None, wanted=wanted, grace_s=grace_s, max_crashes=max_crashes, stage=stage)


def sender(flush_s: float = 10.0) -> Worker:
    """A worker that has something to do at the end."""
    return Worker(
        "sender",
        lambda lifeline: None,
        grace_s=flush_s + rules.GRACE_S,
        stage=rules.SENDER_STAGE,
        finish=lambda seconds: lambda lifeline: None,
    )
