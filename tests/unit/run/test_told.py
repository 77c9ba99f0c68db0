"""What the supervisor tells the aggregator."""

from __future__ import annotations

import signal

import pytest

from prom_probe.model.run_event import RunEvent
from prom_probe.ring.codec import Happened, Reaped
from tests.support.simulated_machine import DONE, KILL, STATUS_1, TERM, Host, Sim, SimCommand, worker


def test_how_orphans_ended() -> None:
    """Their status, or their signal."""
    sim = Sim()
    command = SimCommand(sim)

    def orphans() -> None:
        sim.zombies |= {900: 0, 901: STATUS_1, 902: int(signal.SIGKILL)}
        sim._woken = True

    sim.after(3, orphans)
    command.end_after(5)
    host = Host(sim, worker(), command=command)
    host.run()
    told = [frame for frame in host.told() if isinstance(frame, Reaped)]
    assert [(one.pid, one.exit_status, one.signal, one.command) for one in told] == [
        (900, 0, None, False),
        (901, 1, None, False),
        (902, None, 9, False),
        (command.pid, DONE.status, None, True),
    ]


@pytest.mark.parametrize(("status", "how"), [(STATUS_1, "status 1"), (int(KILL), "signal 9")])
def test_a_worker_that_is_started_again(status: int, how: str) -> None:
    """Which one, and how it ended; not one that ends because all does."""
    sim = Sim()
    sim.after(1, lambda: sim.end("probe", status))
    sim.signal_after(2, TERM)
    host = Host(sim, worker())
    host.run()
    (frame,) = host.told()
    assert isinstance(frame, Happened)
    assert frame.event == RunEvent(frame.event.t, "worker_restart", text=f"probe worker ended: {how}")
