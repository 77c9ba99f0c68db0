"""The doctor tries each remote write receiver."""

from __future__ import annotations

from pathlib import Path

import pytest

from prom_probe.cli.doctor.receivers import check_receivers
from prom_probe.config.sources import make_config
from tests.support.fault_receiver import Fault, FaultReceiver
from tests.support.replay import Replay, page


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


@pytest.mark.parametrize(
    ("up", "lag_s", "status"), [(0, 725, "missing"), (0, 59, "ok"), (1, 725, "ok"), (None, 725, "ok")]
)
def test_a_prom_probe_that_is_refused(up: int | None, lag_s: int, status: str, tmp_path: Path) -> None:
    """It runs at the address of the settings: a receiver that takes the empty request may refuse what comes next."""
    lines = [f'prom_probe_remote_write_lag_seconds{{destination="{name}"}} {lag_s}' for name in ("a", "b")]
    lines += [f'prom_probe_remote_write_up{{destination="a"}} {up}', 'prom_probe_remote_write_up{destination="b"} 1']
    text = "\n".join([*(lines if up is not None else []), "other_metric 1", ""])
    file = tmp_path / "config.yml"
    with FaultReceiver() as receiver, Replay({"/metrics": [page(text)]}) as running:
        section = [f"{{name: {name}, url: '{receiver.url}'}}" for name in ("a", "b")]
        file.write_text(f"remote_write: [{', '.join(section)}]")
        flags = {"web.listen-address": running.address, "api.listen-address": "127.0.0.1:0", "config.file": str(file)}
        first, second = check_receivers(make_config(flags, {}, file=str(file)))
        assert (first.status, second.status) == (status, "ok")
        if status == "missing":
            assert "has waited for 12m5s" in first.reason
            assert "newest_first" in first.change


def test_no_receiver() -> None:
    """Nothing listens there."""
    (found,) = check_receivers(make_config({"remote-write.url": "http://127.0.0.1:1/w"}, {}))
    assert (found.status, found.reason) == ("missing", "Connection refused")
