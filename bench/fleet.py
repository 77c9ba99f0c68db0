"""What a fleet of senders costs a receiver: 1,000 simulated ones and 20 real sidecars into one VictoriaMetrics.

A simulated sender has the series, the encoder and the connection of a real one, but neither a store nor processes.
"""

from __future__ import annotations

import argparse
import heapq
import random
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from cramjam import snappy

from bench.footprint import cpu_seconds, pss_kib
from bench.report import Row, percentile, print_table
from prom_probe.config.remote_write import parse_url
from prom_probe.model.labels import Labels
from prom_probe.remote.connection import ReceiverConnection
from prom_probe.remote.message import Message1, Run
from tests.support.fault_receiver import FaultReceiver
from tests.support.peers import Peer, victoria_metrics
from tests.support.prometheus import value_of
from tests.support.sidecar import Sidecar
from tests.support.waiting import wait_for

INTERVAL_S = 15.0
SENT = "prom_probe_remote_write_samples_sent_total"


def pod_series() -> list[list[Labels]]:
    """The labels of all series that a pod sends each interval, request by request: those of a real sidecar's second."""
    with FaultReceiver() as receiver:
        flags = ["--expose.self=essential", f"--remote-write.url={receiver.url}", "--remote-write.interval=3s"]
        with Sidecar("--", "sleep", "1000", flags=flags):
            wait_for("two intervals", lambda: len(rounds(receiver)) > 2)
        return rounds(receiver)[1]


def rounds(receiver: FaultReceiver) -> list[list[list[Labels]]]:
    """What came, interval by interval: one ends before a series comes again."""
    found: list[list[list[Labels]]] = [[]]
    seen: set[Labels] = set()
    for request in list(receiver.requests):
        series = [labels for labels, _ in request.content.series]
        if not seen.isdisjoint(series):
            found.append([])
            seen.clear()
        found[-1].append(series)
        seen.update(series)
    return found


class SimulatedSender:
    """A pod's sender: its series with labels of its own, and counters as values."""

    def __init__(self, number: int, requests: list[list[Labels]], url: str) -> None:
        self._message = Message1()
        pod = f"pod-{number}"
        self._requests = [[self._message.labels(_of_pod(labels, pod))[0] for labels in series] for series in requests]
        self._connection = ReceiverConnection(parse_url(url))
        self._value = random.random()

    def send(self, t_ms: int) -> Iterator[tuple[int, int, float]]:
        """Send what an interval has; of each request its samples, its bytes and the seconds that it took."""
        self._value += random.expovariate(1)
        for number, series in enumerate(self._requests):
            run = [Run([t_ms + number], struct.pack("<d", self._value))]
            body = bytes(snappy.compress_raw(self._message.encode([(labels, run) for labels in series], ())))
            began = time.perf_counter()
            answer = self._connection.post(body, self._message.headers, 30.0)
            if answer.status != 204:
                raise RuntimeError(f"{answer.status} {answer.words}")
            yield len(series), len(body), time.perf_counter() - began


def _of_pod(labels: Labels, pod: str) -> Labels:
    return tuple(sorted({**dict(labels), "instance": pod, "simulated": "yes"}.items()))


class Traffic(NamedTuple):
    """What simulated senders have sent, and how long they waited for each answer."""

    samples: int
    size: int
    times: list[float]


def send_all(senders: list[SimulatedSender], seconds: float) -> Traffic:
    """Have each of them send in each interval, at a time of its own."""
    began = time.monotonic()
    due = [(began + INTERVAL_S * (i + 0.5) / len(senders), i) for i in range(len(senders))]
    heapq.heapify(due)
    samples = size = 0
    times: list[float] = []
    while due and due[0][0] < began + seconds:
        at_s, number = heapq.heappop(due)
        time.sleep(max(0.0, at_s - time.monotonic()))
        for count, length, took_s in senders[number].send(round(time.time() * 1000)):
            samples += count
            size += length
            times.append(took_s)
        heapq.heappush(due, (at_s + INTERVAL_S, number))
    return Traffic(samples, size, times)


@contextmanager
def real_pods(count: int, url: str) -> Iterator[list[Sidecar]]:
    """So many sidecars that send there, all of them at work."""
    with ExitStack() as stack:
        pods = []
        for number in range(count):
            flags = ["--expose.self=essential", f"--remote-write.url={url}", f"--remote-write.interval={INTERVAL_S:g}s"]
            flags += [f"--external-label=instance=real-{number}"]
            pods.append(stack.enter_context(Sidecar("--", "sleep", "1000", flags=flags)))
        for pod in pods:
            wait_for("it sends", lambda pod=pod: pod.value(SENT))  # type: ignore[misc]
        yield pods


def fleet(
    receiver: Peer, requests: list[list[Labels]], simulated: int, pods: list[Sidecar], seconds: float
) -> list[Row]:
    """Rows: what the receiver has to do, and what the real senders take beside it."""
    url = f"{receiver.url}/api/v1/write"
    senders = [SimulatedSender(number, requests, url) for number in range(simulated)]
    warmed = send_all(senders, INTERVAL_S)  # series are made once
    used, own = cpu_seconds(receiver.pid), [cpu_seconds(pod.worker("remote_write")) for pod in pods]
    sent, began = [pod.value(SENT) or 0.0 for pod in pods], time.monotonic()
    traffic = send_all(senders, seconds)
    took_s = time.monotonic() - began
    used = cpu_seconds(receiver.pid) - used
    sent = [(pod.value(SENT) or 0.0) - before for pod, before in zip(pods, sent, strict=True)]
    own = [cpu_seconds(pod.worker("remote_write")) - before for pod, before in zip(pods, own, strict=True)]
    receiver.renew()
    arrived = f'sum(count_over_time({{simulated="yes"}}[{round(took_s + 120)}s]))'
    wait_for("every sample", lambda: value_of(receiver, arrived) == warmed.samples + traffic.samples)
    samples = traffic.samples + sum(sent)
    return [
        (
            f"{simulated} + {len(pods)}",
            f"{samples / took_s:,.0f}",
            f"{len(traffic.times) / took_s:.0f}",
            f"{traffic.size / traffic.samples:.1f}",
            f"{traffic.size / took_s / 1e3:.0f}",
            f"{100 * used / took_s:.1f}",
            f"{pss_kib(receiver.pid) / 1024:.0f}",
            f"{1e3 * percentile(traffic.times, 0.5):.1f}",
            f"{1e3 * percentile(traffic.times, 0.99):.1f}",
            f"{max(pss_kib(pod.worker('remote_write')) for pod in pods) / 1024:.1f}",
            f"{sum(own) / sum(sent) * 1e6:.0f}",
        )
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulated", type=int, nargs="*", default=[100, 1000])
    parser.add_argument("--real", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each measurement")
    args = parser.parse_args()
    requests = pod_series()
    series = sum(map(len, requests))
    rows = []
    for simulated in args.simulated:
        with victoria_metrics() as receiver, real_pods(args.real, f"{receiver.url}/api/v1/write") as pods:
            rows += fleet(receiver, requests, simulated, pods, args.seconds)
    print(f"{series} series a pod, sent every {INTERVAL_S:g} s in {len(requests)} requests, to one VictoriaMetrics.\n")
    head: Row = ("pods, simulated + real", "samples a second", "requests a second", "bytes a sample", "kB a second")
    head += (
        "its CPU, % of a core",
        "its PSS MiB",
        "answer ms p50",
        "p99",
        "PSS MiB of a real sender",
        "CPU us a sample",
    )
    print_table(head, rows)


if __name__ == "__main__":
    main()
