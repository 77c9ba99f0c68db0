"""The doctor tries each remote write receiver."""

from __future__ import annotations

import pytest

from prom_probe.cli.doctor.receivers import check_receivers
from prom_probe.config.sources import make_config
from tests.support.fault_receiver import Fault, FaultReceiver


@pytest.mark.parametrize(
    ("fault", "status", "change"),
    [
        (None, "ok", ""),
        (Fault(400, "empty"), "ok", ""),
        (Fault(401), "missing", "password"),
        (Fault(404, "no such page"), "missing", "/api/v1/push"),
        (Fault(500, "\x1b[0mbroken"), "missing", "log"),
        (Fault(0), "missing", "correct the URL"),
    ],
)
def test_a_receivers_answer(fault: Fault | None, status: str, change: str) -> None:
    """What it says, and what to change; nothing is stored there."""
    with FaultReceiver([fault] if fault else []) as receiver:
        (found,) = check_receivers(make_config({"remote-write.url": receiver.url}, {}))
        assert (found.source, found.status) == (receiver.url, status)
        assert change in found.change
        assert found.reason.isprintable()
        assert not receiver.samples()


def test_no_receiver() -> None:
    """Nothing listens there."""
    (found,) = check_receivers(make_config({"remote-write.url": "http://127.0.0.1:1/w"}, {}))
    assert (found.status, found.reason) == ("missing", "Connection refused")
