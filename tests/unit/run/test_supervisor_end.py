"""How the supervisor ends: in which order, for whom it waits and for how long; over a machine that is simulated."""

from __future__ import annotations

import socket

import pytest

from prom_probe.config.address import Address
from prom_probe.log import Log
from prom_probe.run import supervisor as rules
from prom_probe.run.listening import ListeningSocket
from tests.support.simulated_machine import (
    CHLD,
    CONT,
    DONE,
    HUP,
    INT,
    TERM,
    USR1,
    Host,
    Sim,
    SimCommand,
    sender,
    worker,
)


def test_workers_start_in_their_order_and_end_before_the_aggregator() -> None:
    """Whatever a probe sends at its end, the aggregator still receives."""
    sim = Sim()
    sim.ends_after_s = {"a": 0.3, "b": 1.2}
    sim.signal_after(5, TERM)
    assert Host(sim, worker("a"), worker("b")).run() is None
    assert [what for _, what in sim.history] == [
        "start a",
        "start b",
        "start aggregator",
        "SIGTERM a",
        "SIGTERM b",
        "SIGTERM aggregator",
    ]
    assert sim.times("SIGTERM a") == sim.times("SIGTERM b") == [5]
    assert 6.2 <= sim.times("SIGTERM aggregator")[0] < 6.3


def test_a_sender_that_is_dead_at_the_end_is_started_for_it() -> None:
    """And again if it dies of it; what it asks for its samples ends after it."""
    sim = Sim()
    asking = sender()
    asking.backoff_s = 30.0
    sim.after(4, lambda: sim.end("sender"))
    sim.signal_after(5, TERM)
    sim.after(6, lambda: sim.end("sender"))
    sim.after(8, lambda: sim.end("sender", 0))
    Host(sim, worker(), asking).run()
    assert sim.times("start sender") == pytest.approx([0, 5, 6.1], abs=0.1)
    assert sim.times("SIGTERM sender") == []
    assert sim.times("SIGTERM aggregator") == pytest.approx([8], abs=0.1)


def test_an_aggregator_that_is_dead_at_the_end_is_started_for_the_sender() -> None:
    """Which would get no answer."""
    sim = Sim()
    sim.ends_after_s = {"sender": 3.0}
    sim.after(4.95, lambda: sim.end("aggregator"))
    sim.signal_after(5, TERM)
    sim.after(6, lambda: sim.end("aggregator"))
    Host(sim, sender()).run()
    assert sim.times("start aggregator") == pytest.approx([0, 5, 6.1], abs=0.1)
    assert sim.times("SIGTERM aggregator") == pytest.approx([8], abs=0.1)


def test_a_sender_that_dies_again_and_again_does_not_keep_the_end() -> None:
    """It has its time alone; and one that does not end is killed after the grace."""
    sim = Sim()
    for tenth in range(400):
        sim.after(5 + tenth / 10, lambda: sim.end("sender"))
    sim.signal_after(5, TERM)
    Host(sim, sender(2.0)).run()
    assert 3 <= len(sim.times("start sender")) <= 6
    assert sim.times("SIGTERM aggregator")[0] == pytest.approx(7, abs=0.2)
    sim = Sim()
    sim.ends_after_s = {"sender": float("inf")}
    sim.signal_after(5, TERM)
    Host(sim, sender(2.0)).run()
    assert sim.times("SIGKILL sender") == pytest.approx([12], abs=0.1)


def test_listening_sockets_are_closed_at_the_end() -> None:
    """So that only the aggregator has them while it drains."""
    sim = Sim()
    sim.signal_after(1, TERM)
    with socket.socket() as sock:
        Host(sim, worker(), listeners=[ListeningSocket(sock, Address("", 0), api=False)]).run()
        assert sock.fileno() == -1


@pytest.mark.parametrize(
    ("number", "ended_s"), [(None, 35), (TERM, 10), (INT, 10), (HUP, 10), (USR1, 35), (CHLD, 35), (CONT, 35)]
)
def test_it_lingers_after_the_command(number: int | None, ended_s: float) -> None:
    """It serves on; a signal that would have ended COMMAND ends it sooner, and none is forwarded."""
    sim = Sim()
    command = SimCommand(sim)
    command.end_after(5)
    if number is not None:
        sim.signal_after(10, number)
    assert Host(sim, worker(), command=command, linger_s=30).run() == DONE
    assert sim.times("SIGTERM probe") == [ended_s]
    assert len(sim.times("reap COMMAND")) == 1
    assert not any(what.startswith(("forward", "continued", "reload")) for _, what in sim.history)


def test_workers_are_kept_up_while_it_lingers() -> None:
    """Their crashes are seen to as before."""
    sim = Sim()
    command = SimCommand(sim)
    command.end_after(5)
    sim.after(10, lambda: sim.end("probe"))
    Host(sim, worker(), command=command, linger_s=30).run()
    assert sim.times("start probe") == [0, 10.1]


def test_a_worker_that_ignores_sigterm_is_killed_after_its_own_grace() -> None:
    """SIGKILL comes to each when its grace is over."""
    sim = Sim()
    sim.ends_after_s = {"slow": float("inf"), "quick": float("inf")}
    sim.signal_after(1, TERM)
    Host(sim, worker("slow", grace_s=10), worker("quick", grace_s=2)).run()
    assert sim.times("SIGKILL quick") == pytest.approx([3])
    assert sim.times("SIGKILL slow") == pytest.approx([11])
    assert sim.times("SIGTERM aggregator")[0] >= 11


def test_a_worker_that_ends_within_its_grace_is_not_killed() -> None:
    """However late."""
    sim = Sim()
    sim.ends_after_s = {"probe": 4.9}
    sim.signal_after(1, TERM)
    Host(sim, worker(grace_s=5)).run()
    assert not sim.times("SIGKILL probe")


def test_a_worker_that_is_stuck_in_the_kernel_is_left_there(capfd: pytest.CaptureFixture[str]) -> None:
    """After SIGKILL it has two seconds; then the supervisor ends without it, and says so."""
    sim = Sim()
    sim.ends_after_s["gpu"] = float("inf")
    sim.unkillable = {"gpu"}
    sim.signal_after(1, TERM)
    host = Host(sim, worker("gpu", grace_s=10))
    host.supervisor._log = Log("warn")
    host.run()
    assert sim.times("SIGKILL gpu") == pytest.approx([11])
    assert sim.times("SIGTERM aggregator")[0] == pytest.approx(11 + rules.KILLED_S)
    late, stuck = capfd.readouterr().err.splitlines()
    assert 'msg="worker did not end in time" worker=gpu' in late
    assert 'msg="worker is stuck in the kernel and left there" worker=gpu pid=100' in stuck


def test_a_worker_that_waits_for_its_start_needs_no_end() -> None:
    """Nothing is sent to a process that is not there."""
    sim = Sim()
    sim.after(1, lambda: sim.end("probe"))
    sim.signal_after(1.05, TERM)
    Host(sim, worker()).run()
    assert not sim.times("SIGTERM probe")


def test_reloads_are_coalesced_and_do_not_delay_the_end() -> None:
    """One is under way and at most one waits; SIGTERM comes before them."""
    sim = Sim()
    host = Host(sim, worker())
    host.reading_s = 2.0
    for i in range(1000):
        sim.signal_after(1 + i / 1000, HUP)
    sim.signal_after(6, HUP, HUP)
    sim.signal_after(7, TERM)
    host.run()
    first, second, last = sim.times("reload")
    assert (first, last) == (1.0, 6.0)
    assert 3.0 <= second < 3.2
    assert sim.times("SIGTERM probe") == [7.0]
