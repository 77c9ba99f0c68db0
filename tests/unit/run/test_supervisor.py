"""The supervisor's loop, over processes, signals and a clock that are simulated."""

from __future__ import annotations

import errno
from itertools import pairwise

import pytest

from prom_probe.log import Log
from prom_probe.ring.codec import Happened, Reaped, decode
from prom_probe.ring.consumer import Consumer
from prom_probe.ring.doorbell import Doorbell
from prom_probe.ring.layout import create_ring
from prom_probe.run.command import CommandError
from prom_probe.run.inheritance import SIGNALS
from prom_probe.run.told import ToldAggregator
from prom_probe.run.watchdog import Watchdog
from tests.support.simulated_machine import (
    CHLD,
    DONE,
    HUP,
    INT,
    KILL,
    START_S,
    STATUS_1,
    TERM,
    TSTP,
    USR1,
    Host,
    Sim,
    SimCommand,
    worker,
)


@pytest.mark.parametrize(
    ("number", "ends", "reloads"), [(TERM, True, 0), (INT, True, 0), (HUP, False, 1), (CHLD, False, 0)]
)
def test_signals_without_a_command(number: int, ends: bool, reloads: int) -> None:
    """SIGTERM and SIGINT end it, SIGHUP reloads."""
    sim = Sim()
    sim.signal_after(5, number)
    sim.signal_after(9, TERM)
    Host(sim, worker()).run()
    assert sim.times("SIGTERM probe") == [5 if ends else 9]
    assert len(sim.times("reload")) == reloads
    assert sim.caught == {TERM, INT, HUP, CHLD}


def test_it_is_ready_once_signals_are_caught() -> None:
    """Whoever reads "listening" may send SIGHUP at once: uncaught, it would end the sidecar."""
    sim, caught = Sim(), set[int]()
    sim.signal_after(1, TERM)
    Host(sim, worker()).supervisor.run(lambda: caught.update(sim.caught))
    assert HUP in caught


def test_a_worker_that_crashes_is_started_again_ever_later() -> None:
    """After 0.1 s, then twice as long each time, 30 s at most; each restart is counted."""
    sim = Sim()
    host = Host(sim, worker())
    for at_s in range(1, 200):
        sim.after(at_s, lambda: sim.end("probe"))
    sim.signal_after(200.5, TERM)
    host.run()
    starts = sim.times("start probe")
    # It ends at the first whole second after its start.
    backoffs = [round(after - (int(before) + 1), 3) for before, after in pairwise(starts)]
    assert backoffs[:10] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0]
    assert set(backoffs[9:]) == {30.0}
    assert host.restarts("probe") == len(backoffs) + (not sim.times("SIGTERM probe"))  # it may end in a backoff


@pytest.mark.parametrize(("lived_s", "pause_s"), [(60.0, 8.0), (60.5, 0.1)])
def test_a_worker_that_was_healthy_starts_its_backoff_from_the_beginning(lived_s: float, pause_s: float) -> None:
    """It was healthy if it ran for more than a minute."""
    sim = Sim()
    crashing = worker()
    crashing.backoff_s = 8.0
    sim.after(lived_s, lambda: sim.end("probe"))
    sim.signal_after(200, TERM)
    Host(sim, crashing).run()
    assert sim.times("start probe") == pytest.approx([0, lived_s + pause_s])


@pytest.mark.parametrize(("status", "how"), [(STATUS_1, "status 1"), (0, "status 0"), (int(KILL), "signal 9")])
def test_the_end_of_a_worker_is_logged(capfd: pytest.CaptureFixture[str], status: int, how: str) -> None:
    """With how it ended and when it starts again."""
    sim = Sim()
    host = Host(sim, worker())
    host.supervisor._log = Log("warn")
    sim.after(1, lambda: sim.end("probe", status))
    sim.signal_after(2, TERM)
    host.run()
    (line,) = capfd.readouterr().err.splitlines()
    assert f'msg="worker ended" worker=probe how="{how}" restart_in=0.1s' in line


@pytest.mark.parametrize(("lived_s", "given_up"), [(1.0, True), (59.0, True), (61.0, False)])
def test_a_worker_that_keeps_crashing_is_given_up(
    capfd: pytest.CaptureFixture[str], lived_s: float, given_up: bool
) -> None:
    """After three crashes, each within a minute of its start; a reload tries it again."""
    sim = Sim()
    host = Host(sim, worker("gpu", max_crashes=3))
    at_s = 0.0
    for crash in range(3):
        at_s += lived_s
        sim.after(at_s, lambda: sim.end("gpu"))
        at_s += 0.1 if not given_up else 0.1 * 2**crash
    pids: list[int] = []
    sim.after(400, lambda: pids.extend(row.pid for row in host.board.rows() if row.name == "gpu"))
    sim.signal_after(500, HUP)
    sim.signal_after(510, TERM)
    host.run()
    assert (pids == [0]) == given_up
    starts = sim.times("start gpu")
    assert len(starts) == 4
    assert (starts[3] == 500) == given_up
    assert host.restarts("gpu") == (2 if given_up else 3)
    assert capfd.readouterr().err.count("given up until a reload (SIGHUP)") == given_up


def test_a_worker_that_was_given_up_has_all_its_tries_again() -> None:
    """A reload forgets the crashes and the backoff."""
    sim = Sim()
    host = Host(sim, worker("gpu", max_crashes=2))
    for at_s in (1, 2, 11, 12):
        sim.after(at_s, lambda: sim.end("gpu"))
    sim.signal_after(10, HUP)
    sim.signal_after(20, TERM)
    host.run()
    assert sim.times("start gpu") == pytest.approx([0, 1.1, 10, 11.1])


def test_a_worker_without_work_is_checked_every_minute() -> None:
    """Until there is work; meanwhile its row says that it has not started."""
    sim = Sim()
    there = False
    host = Host(sim, worker("gpu", wanted=lambda: there))

    def appear() -> None:
        nonlocal there
        assert [row.started_ns > 0 for row in host.board.rows()] == [False, True]
        there = True

    sim.after(130, appear)
    sim.signal_after(300, TERM)
    host.run()
    assert sim.times("start gpu") == [180]


def test_a_worker_whose_work_is_gone_is_not_started_again() -> None:
    """After its end it is as one that never had work."""
    sim = Sim()
    there = True
    host = Host(sim, worker("gpu", wanted=lambda: there))

    def vanish() -> None:
        nonlocal there
        there = False
        sim.end("gpu")

    sim.after(10, vanish)
    sim.signal_after(100, TERM)
    host.run()
    assert sim.times("start gpu") == [0]
    assert next(host.board.rows()).started_ns == 0


@pytest.mark.parametrize("by_bell", [False, True])
def test_a_reload_replaces_the_workers_that_it_names(by_bell: bool) -> None:
    """They start again as soon as they have ended, and that is no restart; the others go on."""
    sim = Sim()
    sim.ends_after_s["a"] = 3.0
    host = Host(sim, worker("a"), worker("b"))
    host.replaced = ("a",)
    if by_bell:
        sim.ring_after(5)
    else:
        sim.signal_after(5, HUP)
    sim.signal_after(50, TERM)
    host.run()
    assert sim.times("reload") == [5]
    assert sim.times("SIGTERM a")[0] == 5
    assert sim.times("start a") == [0, 8]
    assert sim.times("start b") == [0]
    assert host.restarts("a") == 0


def test_a_worker_that_was_replaced_is_restarted_after_a_crash() -> None:
    """The replacement is over with its start."""
    sim = Sim()
    host = Host(sim, worker())
    host.replaced = ("probe",)
    sim.signal_after(5, HUP)
    sim.after(20, lambda: sim.end("probe"))
    sim.signal_after(50, TERM)
    host.run()
    assert sim.times("start probe") == pytest.approx([0, 5, 20.1])
    assert host.restarts("probe") == 1


def test_a_reload_can_take_a_workers_work_away() -> None:
    """Then it has ended, and its row says that nothing runs."""
    sim = Sim()
    there = True
    host = Host(sim, worker(wanted=lambda: there))
    host.replaced = ("probe",)

    def vanish() -> None:
        nonlocal there
        there = False

    sim.after(5, vanish)
    sim.signal_after(5, HUP)
    sim.signal_after(50, TERM)
    host.run()
    row = next(host.board.rows())
    assert sim.times("start probe") == [0]
    assert (row.pid, row.started_ns, row.restarts) == (0, 0, 0)


def test_a_reload_for_which_there_is_no_process_is_logged(capfd: pytest.CaptureFixture[str]) -> None:
    """Everything runs on as it was."""
    sim = Sim()
    host = Host(sim, worker())
    host.replaced = ("probe",)

    def exhaust() -> None:
        sim.processes_left = 0

    sim.after(1, exhaust)
    sim.signal_after(2, HUP)
    sim.signal_after(5, TERM)
    host.run()
    assert sim.times("SIGTERM probe") == [5]
    assert "call=reload" in capfd.readouterr().err


def test_a_reload_does_not_wait_for_a_backoff() -> None:
    """What it replaces and does not run starts at once, and its next backoff is the first."""
    sim = Sim()
    host = Host(sim, worker())
    host.replaced = ("probe",)
    for at_s in (1, 2, 3, 4, 5.0):
        sim.after(at_s, lambda: sim.end("probe"))
    sim.signal_after(5.5, HUP)
    sim.after(6, lambda: sim.end("probe"))
    sim.signal_after(50, TERM)
    host.run()
    assert sim.times("start probe")[-2:] == pytest.approx([5.5, 6.1])


def test_a_worker_that_does_not_end_gets_no_second_beside_it() -> None:
    """Reloads ask it again and again; only its end starts the next one."""
    sim = Sim()
    sim.ends_after_s["probe"] = float("inf")
    host = Host(sim, worker())
    host.replaced = ("probe",)
    for at_s in (1, 2, 3):
        sim.signal_after(at_s, HUP)
    sim.after(10, lambda: sim.end("probe"))
    sim.signal_after(20, TERM)
    host.run()
    assert sim.times("start probe") == [0, 10]
    assert len(sim.times("SIGTERM probe")) == 4


def test_a_command_gets_every_signal_while_it_runs() -> None:
    """It starts after the workers; SIGTERM and SIGHUP are its business, and a SIGCHLD that somebody has sent."""
    sim = Sim()
    command = SimCommand(sim)
    sim.signal_after(1, TERM, HUP, INT, USR1, CHLD)
    command.end_after(10)
    assert Host(sim, worker(), command=command).run() == DONE
    assert [what for t, what in sim.history if t < 10] == [
        "start probe",
        "start aggregator",
        "go",
        "forward SIGTERM",
        "forward SIGHUP",
        "forward SIGINT",
        "forward SIGUSR1",
        "forward SIGCHLD",
    ]
    assert sim.caught == SIGNALS


def test_what_came_before_the_command_ran_is_passed_on_first() -> None:
    """It waits in COMMAND until its exec, as it would have without us."""
    sim = Sim()
    command = SimCommand(sim)
    sim.signal_after(0, TERM)
    sim.after(0, lambda: None)
    command.end_after(10)
    assert Host(sim, command=command).run() == DONE
    assert [what for t, what in sim.history if t < 10] == ["start aggregator", "forward SIGTERM", "go"]


def test_a_worker_for_which_there_is_no_process_is_started_later(capfd: pytest.CaptureFixture[str]) -> None:
    """COMMAND runs meanwhile; the tries are as far apart as after crashes."""
    sim = Sim()
    command = SimCommand(sim)
    sim.processes_left = 0

    def allow() -> None:
        sim.processes_left = float("inf")

    sim.after(0.5, allow)
    command.end_after(10)
    host = Host(sim, worker(), command=command)
    assert host.run() == DONE
    assert sim.times("go") == [0]
    assert sim.times("no probe") == pytest.approx([0, 0.1, 0.3])
    assert sim.times("start probe") == pytest.approx([0.7])
    assert capfd.readouterr().err.count("worker not started") == 6


def test_a_stop_of_the_command_is_handled_once() -> None:
    """And the supervisor goes on."""
    sim = Sim()
    command = SimCommand(sim)
    command.stop_after(1, TSTP)
    sim.signal_after(2, CHLD)
    command.end_after(5)
    assert Host(sim, command=command).run() == DONE
    assert sim.times(f"handle stop {TSTP:d}") == [1]


def test_the_end_of_a_command_is_collected_before_it_is_reaped() -> None:
    """Its zombie still has its last numbers, for a second at most; then all ends at once."""
    sim = Sim()
    command = SimCommand(sim)
    command.end_after(5)
    assert Host(sim, worker(), command=command).run() == DONE
    assert sim.history[-4:] == [
        (5, "collect until 6"),
        (5, "reap COMMAND"),
        (5, "SIGTERM probe"),
        (5, "SIGTERM aggregator"),
    ]


def test_a_command_that_cannot_be_executed_ends_all() -> None:
    """The error is raised when no worker is left."""
    sim = Sim()
    host = Host(sim, worker(), command=SimCommand(sim, CommandError("cannot run x", 127)))
    with pytest.raises(CommandError, match="cannot run x"):
        host.run()
    assert sim.times("SIGTERM probe") == sim.times("SIGTERM aggregator") == [0]
    assert not sim.running


@pytest.mark.parametrize(("own_pid", "with_command"), [(1, False), (50, True), (50, False)])
def test_orphans_are_reaped_by_their_new_parent(own_pid: int, with_command: bool) -> None:
    """That is PID 1, or we for those of COMMAND and for our own."""
    sim = Sim(own_pid)
    command = SimCommand(sim) if with_command else None

    def orphans() -> None:
        sim.zombies |= {900: 0, 901: STATUS_1}
        sim._woken = True

    sim.after(3, orphans)
    if command is not None:
        command.end_after(5)
    sim.signal_after(5, TERM)
    Host(sim, worker(), command=command).run()
    assert not sim.zombies


def test_pid_1_leaves_command_and_workers_to_those_who_wait_for_them() -> None:
    """COMMAND's zombie is needed for the last collection; what is behind it is reaped afterwards."""
    sim = Sim(own_pid=1)
    command = SimCommand(sim)

    def zombies() -> None:
        sim.zombies |= {command.pid: 0, 900: 0}
        sim._woken = True

    sim.after(3, zombies)
    command.end_after(5)
    assert Host(sim, worker(), command=command).run() == DONE
    assert command.pid in sim.zombies


class Stuck(Watchdog):
    """A watchdog that sees one process of one worker hang from a time on."""

    def __init__(self, name: str, pid: int, since_s: float) -> None:
        self._hangs = name, pid
        self._since_s = START_S + since_s

    def waiting_s(self, worker: str, pid: int, now_s: float) -> float:
        return max(0.0, now_s - self._since_s) if (worker, pid) == self._hangs else 0.0

    def is_stuck(self, worker: str, pid: int, now_s: float) -> bool:
        return self.waiting_s(worker, pid, now_s) >= 3

    def leave_out(self, worker: str, now_s: float) -> tuple[str, float]:
        return "/proc/7/cmdline", 60.0


@pytest.mark.parametrize(("unkillable", "again"), [(False, 5.0), (True, 7.0)])
def test_a_stuck_worker_is_replaced(unkillable: bool, again: float) -> None:
    """At once; one that SIGKILL does not end is left there after two seconds, and nobody waits for it at the end."""
    sim = Sim()
    if unkillable:
        sim.unkillable = {"process"}
    host = Host(sim, worker("process"), watchdog=Stuck("process", 100, since_s=2))
    sim.after(7.5, sim.unkillable.clear)
    sim.signal_after(8, TERM)
    host.run()
    assert sim.times("SIGKILL process") == [5.0]
    assert sim.times("start process") == [0.0, again]
    assert host.restarts("process") == 1
    assert sim.now == START_S + 8


def test_the_end_does_not_wait_for_a_worker_that_hangs() -> None:
    """Not even for its grace."""
    sim = Sim()
    sim.ends_after_s = {"process": float("inf")}
    host = Host(sim, worker("process"), watchdog=Stuck("process", 100, since_s=2))
    sim.signal_after(4, TERM)
    host.run()
    assert sim.times("SIGKILL process") == [4.0]


@pytest.mark.parametrize("failing", ["send", "reap", "ended_child", "start"])
def test_what_the_system_refuses_is_counted_and_tried_again(failing: str) -> None:
    """COMMAND's exit is passed on, and no worker is left."""
    sim = Sim()
    command = SimCommand(sim)
    host = Host(sim, worker(), command=command)
    real = getattr(sim, failing)
    calls = 0

    def refused(*args: object) -> object:
        nonlocal calls
        calls += 1
        if calls % 2:
            raise OSError(errno.ENOMEM, "Cannot allocate memory")
        return real(*args)

    setattr(sim, failing, refused)
    sim.after(1, lambda: sim.end("probe"))
    command.end_after(5)
    assert host.run() == DONE
    assert not sim.running
    assert calls > 1
    assert sum(host.board.failures().values()) == (calls + 1) // 2


class _RefusedBell(Doorbell):
    """One that cannot be rung."""

    __slots__ = ()

    def ring(self) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")


def test_an_aggregator_that_cannot_be_woken_finds_in_its_ring_what_it_is_told() -> None:
    """And the supervisor goes on: a restart, and COMMAND's end."""
    sim = Sim()
    ring = create_ring(4096)
    command = SimCommand(sim)
    host = Host(sim, worker(), command=command, told=ToldAggregator(ring, _RefusedBell()))
    sim.after(1, lambda: sim.end("probe"))
    command.end_after(5)
    assert host.run() == DONE
    told = [decode(payload) for _, payload in Consumer(ring).pop()]
    assert [type(frame) for frame in told] == [Happened, Reaped]
    assert host.board.failures()["write"] == 2
