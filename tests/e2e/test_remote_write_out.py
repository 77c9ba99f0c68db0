"""What a run sends by remote write: each sample of its store stands in each receiver, once, equal to the bit."""

from __future__ import annotations

import os
import random
import signal
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from prom_probe.model.labels import Labels, label_value, make_labels
from prom_probe.model.matcher import Matcher
from prom_probe.model.sample import STALE_BYTES
from prom_probe.tsdb.store import Store
from tests.support.fault_receiver import Fault, FaultReceiver
from tests.support.peers import Peer, VictoriaMetrics, prometheus, victoria_metrics
from tests.support.programs import program
from tests.support.prometheus import matrix, value_of
from tests.support.sidecar import Sidecar, command
from tests.support.tsdb_tools import ALWAYS, samples_of
from tests.support.waiting import wait_for

# All series of trees and processes, ten times a second.
TREE = '{__name__=~"proctree_.*"}'
FAST = ["--interval=100ms", f"--remote-write.match={TREE}", "--remote-write.interval=1s"]

Found = dict[Labels, list[tuple[int, bytes]]]


def stored(path: Path) -> Found:
    """The trees' samples in the directory of a run that has ended."""
    store = Store.open_read_only(str(path))
    return samples_of(store.snapshot(), *ALWAYS, Matcher("__name__", "=~", "proctree_.*"))


def own(samples: Found) -> Found:
    """Series without what the sender has added, and without markers; the trees' alone."""
    return {
        tuple(pair for pair in labels if pair[0] not in ("job", "instance")): [s for s in some if s[1] != STALE_BYTES]
        for labels, some in samples.items()
        if label_value(labels, "__name__").startswith("proctree_")
    }


def asked(peer: Peer, at_s: float) -> Found:
    """What a Prometheus API has of the trees in the two minutes before."""
    found = matrix(peer.url, f"{TREE}[2m]", at_s)
    packed = {labels: [(round(t_s * 1000), _bits(float(v))) for t_s, v in some] for labels, some in found.items()}
    return own(packed)


def rounded(samples: Found) -> Found:
    """To the digits that VictoriaMetrics keeps; the marker, which its API shows, is left out."""
    return {
        labels: [(t_ms, _bits(float(f"{value:.12g}"))) for t_ms, bits in some if (value := _value(bits)) == value]
        for labels, some in samples.items()
    }


def _bits(value: float) -> bytes:
    return struct.pack("<d", value)


def _value(bits: bytes) -> float:
    return float(struct.unpack("<d", bits)[0])


def test_outages_and_kills(tmp_path: Path) -> None:
    """While the receiver fails, and sender and aggregator are killed: at most one request twice for each kill.

    What the aggregator had not on the disk when it was killed may have been sent before.
    """
    path = tmp_path / "run"
    faults = [Fault(413), *(Fault(random.choice([500, 503, 429, 0]), "no") for _ in range(12))]
    with FaultReceiver(faults) as receiver:
        config = tmp_path / "config.yml"
        config.write_text(f"remote_write: [{{url: '{receiver.url}', queue_config: {{max_backoff: 200ms}}}}]")
        flags = [*FAST, f"--config.file={config}", f"--storage.tsdb.path={path}"]
        with Sidecar("--", "sleep", "1000", flags=flags) as sidecar:
            for worker in ("remote_write", "aggregator", "remote_write"):
                _kill(sidecar, worker, receiver)
            seen = len(receiver.requests)
            wait_for("the rest", lambda: not receiver.faults and len(receiver.requests) > seen)
            sidecar.process.terminate()
            assert sidecar.wait() == -signal.SIGTERM
        sent = own(receiver.samples())
    expected = stored(path)
    assert sum(map(len, expected.values())) > 1000
    for labels, samples in expected.items():
        assert set(samples) <= set(sent[labels])
    twice = sum(len(some) - len(set(some)) for some in sent.values())
    assert twice <= 3 * max(request.samples for request in receiver.requests)


@pytest.mark.parametrize("make", [prometheus, victoria_metrics])
def test_real_receivers(make: Callable[[], Peer], tmp_path: Path) -> None:
    """What a run of three seconds stores is there, over an outage, by a query; and the series have ended.

    To the bit in Prometheus; VictoriaMetrics itself rounds some values.
    """
    program("prometheus" if make is prometheus else "victoria-metrics")
    with make() as peer:
        path = tmp_path / "run"
        flags = [*FAST, f"--remote-write.url={peer.url}/api/v1/write", f"--storage.tsdb.path={path}"]
        argv = [sys.executable, "-c", "import time; time.sleep(3)"]
        with Sidecar("--", *argv, flags=flags) as sidecar:
            os.kill(peer.pid, signal.SIGSTOP)
            time.sleep(1)
            os.kill(peer.pid, signal.SIGCONT)
            assert sidecar.wait() == 0
        expected = stored(path)
        now_s = time.time()
        if isinstance(peer, VictoriaMetrics):
            wait_for("its samples", lambda: rounded(asked(peer, now_s)) == rounded(expected))
        else:
            assert asked(peer, now_s) == expected
            assert value_of(peer, f"count({TREE})") is None


@pytest.mark.parametrize("seconds", [0, 2])
def test_the_end_is_flushed(seconds: int) -> None:
    """A COMMAND that lived for a moment: its last samples, then markers; the exit status is its own."""
    with FaultReceiver([Fault(503)]) as receiver:
        done = command("run", *_quiet(receiver.url), "--", "sh", "-c", f"sleep {seconds}; exit 7")
        assert done.returncode == 7
        found = receiver.of("proctree_processes")
        (samples,) = found.values()
        assert samples[-1][1] == STALE_BYTES
        assert any(value != STALE_BYTES for _, value in samples)
        ends = [some[-1][1] for some in receiver.samples().values()]
        assert set(ends) == {STALE_BYTES}


def test_a_receiver_that_is_gone_keeps_the_end_for_the_flush_timeout_alone() -> None:
    """And COMMAND's exit status is its own."""
    began = time.monotonic()
    done = command(
        "run", *_quiet("http://127.0.0.1:1/w"), "--remote-write.flush-timeout=1s", "--", "sh", "-c", "exit 3"
    )
    assert done.returncode == 3
    assert time.monotonic() - began > 1
    assert "remote write to" in done.stderr


def test_a_pods_end_is_flushed() -> None:
    """SIGTERM without a COMMAND: what is newest is sent, and ended."""
    with FaultReceiver() as receiver:
        with Sidecar(flags=[f"--remote-write.url={receiver.url}", "--remote-write.interval=1h"]) as sidecar:
            wait_for("the first", lambda: receiver.of("prom_probe_build_info"))
            sidecar.process.terminate()
            assert sidecar.wait() == 0
        (samples,) = receiver.of("prom_probe_build_info").values()
        assert len(samples) >= 2
        assert samples[-1][1] == STALE_BYTES
        assert samples[-1][0] == samples[-2][0] + 1


def test_what_a_scrape_would_show() -> None:
    """The names and labels of /metrics, with job and instance; local series stay here."""
    with FaultReceiver() as receiver:
        flags = [f"--remote-write.url={receiver.url}", "--remote-write.interval=500ms", "--external-label=job=mine"]
        with Sidecar("--", "sleep", "1000", flags=flags) as sidecar:
            wait_for("our own metrics", lambda: receiver.of("prom_probe_remote_write_samples_sent_total"))
            added = {"job": "mine", "instance": os.uname().nodename}

            def page() -> set[Labels]:
                return {make_labels(name, dict(labels) | added) for name, labels in sidecar.metrics()}

            before = page()
            wait_for("all of the page", lambda: before <= set(receiver.samples()))
            assert set(receiver.samples()) <= page()
            assert receiver.requests[0].content.metadata


def _kill(sidecar: Sidecar, worker: str, receiver: FaultReceiver) -> None:
    """In the middle of it, while the receiver is down."""
    seen = len(receiver.requests)
    wait_for("requests", lambda: len(receiver.requests) > seen + 1)
    receiver.always = Fault(503, "down")
    pid = sidecar.worker(worker)
    os.kill(pid, signal.SIGKILL)
    wait_for("its successor", lambda: sidecar.worker(worker) not in (0, pid))
    receiver.always = None


def _quiet(url: str) -> list[str]:
    return ["--web.listen-address=127.0.0.1:0", "--api.listen-address=", f"--remote-write.url={url}"]
