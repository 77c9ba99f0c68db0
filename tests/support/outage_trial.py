"""A run beside receivers that fail, each in its way, while its own workers are killed."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.fault_receiver import Fault, FaultReceiver
from tests.support.peers import Peer, prometheus, victoria_metrics
from tests.support.sidecar import Sidecar
from tests.support.waiting import wait_for

REMOTE_TIMEOUT_S = 2.0
# A sender's timeout begins when it connects.
PATIENCE_S = 0.75 * REMOTE_TIMEOUT_S

# Processes that come and go beside some that stay, so that series end in the middle.
COMMAND = ("sh", "-c", "sleep 1000 & sleep 1000 & while :; do sleep 3; done")

# How a receiver fails for a while. A frozen one is stopped behind ours, so that it answers after the sender's timeout.
FAULTS: Mapping[str, Fault | None] = {
    "500": Fault(500, "no"),
    "502": Fault(502),
    "503, Retry-After": Fault(503, "later", (("Retry-After", "1"),)),
    "429": Fault(429, "slow down", (("Retry-After", "1"),)),
    "redirect": Fault(302, headers=(("Location", "/elsewhere"),)),
    "closed": Fault(0),
    "closed, but stored": Fault(0, stored=True),
    "500, but stored": Fault(500, stored=True),
    "slow": Fault(204, after_s=0.5 * REMOTE_TIMEOUT_S, stored=True),
    "too slow": Fault(204, after_s=1.5 * REMOTE_TIMEOUT_S, stored=True),
    "frozen": None,
}

# Who is killed in an outage, in turn.
KILLED = ("remote_write", "aggregator", "")


@dataclass
class Receiver:
    """One of ours, and perhaps a real one behind it."""

    name: str
    front: FaultReceiver
    peer: Peer | None = None


@dataclass
class Trial:
    """What happened."""

    interval_s: float
    receivers: Sequence[Receiver]
    outages: list[str] = field(default_factory=list)
    kills: list[tuple[str, float, float]] = field(default_factory=list)  # who, Unix time, when its successor ran
    status: int = 0
    began_s: float = 0.0
    ended_s: float = 0.0  # when COMMAND was ended, and all were told to end
    dropped: dict[str, float] = field(default_factory=dict)  # as the sender has counted
    log: str = ""


@contextmanager
def receivers() -> Iterator[list[Receiver]]:
    """Ours alone, ours before a Prometheus, and ours before a VictoriaMetrics that drops repeated samples."""
    with ExitStack() as stack:
        found = [Receiver("ours", stack.enter_context(FaultReceiver(patience_s=PATIENCE_S)))]
        for peer in (prometheus(), victoria_metrics("-dedup.minScrapeInterval=1ms")):
            stack.enter_context(peer)
            front = stack.enter_context(FaultReceiver(behind=f"{peer.url}/api/v1/write", patience_s=PATIENCE_S))
            found.append(Receiver(peer.name, front, peer))
        yield found


def sender_config(found: Iterable[Receiver]) -> str:
    """The configuration file: all series in full to each receiver."""
    queue = "queue_config: {max_backoff: 500ms}"
    common = f"remote_timeout: {REMOTE_TIMEOUT_S:g}s, {queue}, send: {{match: ['{{__name__=~\".+\"}}']}}"
    return "remote_write:\n" + "".join(f"  - {{name: {one.name}, url: '{one.front.url}', {common}}}\n" for one in found)


def run(found: Sequence[Receiver], path: Path, seconds: float, interval_s: float, outages: int, seed: int) -> Trial:
    """A run of so many seconds, its store in `path`, with outages evenly in it."""
    trial = Trial(interval_s, found)
    config = path.with_suffix(".yml")
    config.write_text(sender_config(found))
    flags = [f"--interval={round(1000 * interval_s)}ms", f"--config.file={config}", f"--storage.tsdb.path={path}"]
    flags.append("--remote-write.flush-timeout=60s")
    chance = random.Random(seed)
    with Sidecar("--", *COMMAND, flags=flags) as sidecar:
        for one in found:
            wait_for("requests", lambda one=one: one.front.requests)  # type: ignore[misc]
        trial.began_s = time.time()
        for number in range(outages):
            _sleep_until(trial.began_s + number * seconds / outages)
            _outage(trial, sidecar, KILLED[number % len(KILLED)], 0.5 * seconds / outages, chance)
        _sleep_until(trial.began_s + seconds)
        trial.dropped = {
            str(sorted(labels)): value
            for (name, labels), value in sidecar.metrics().items()
            if name == "prom_probe_remote_write_samples_dropped_total" and value
        }
        trial.ended_s = time.time()
        sidecar.process.terminate()
        trial.status = sidecar.wait()
        trial.log = sidecar.stderr
    return trial


def _sleep_until(at_s: float) -> None:
    time.sleep(max(0.0, at_s - time.time()))


def _outage(trial: Trial, sidecar: Sidecar, victim: str, seconds: float, chance: random.Random) -> None:
    """All receivers fail, each in its way, and a worker is killed meanwhile."""
    end_s = time.time() + seconds
    chosen = {one.name: chance.choice([*FAULTS]) for one in trial.receivers}
    for one in trial.receivers:
        _break(one, FAULTS[chosen[one.name]])
    trial.outages.append(", ".join(f"{name}: {how}" for name, how in chosen.items()) + f"; killed: {victim or '-'}")
    time.sleep(chance.uniform(0, seconds / 2))
    if victim:
        pid = wait_for("a worker", lambda: sidecar.worker(victim))
        os.kill(pid, signal.SIGKILL)
        at_s = time.time()
        wait_for("its successor", lambda: sidecar.worker(victim) not in (0, pid))
        trial.kills.append((victim, at_s, time.time()))
    _sleep_until(end_s)
    for one in trial.receivers:
        one.front.always = None
        if one.peer is not None:
            os.kill(one.peer.pid, signal.SIGCONT)


def _break(one: Receiver, fault: Fault | None) -> None:
    if fault is not None:
        one.front.always = fault
    elif one.peer is not None:
        os.kill(one.peer.pid, signal.SIGSTOP)
    else:
        one.front.always = FAULTS["too slow"]
