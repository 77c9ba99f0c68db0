"""What sending by remote write costs: memory, CPU a sample beside two agents, lag; and a catch-up of an hour."""

from __future__ import annotations

import argparse
import os
import ssl
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from bench.beside import ingest, ingest_p99, scrapes
from bench.footprint import cpu_seconds, pss_kib
from bench.report import Row, percentile, print_table
from prom_probe.model.family import column
from prom_probe.remote.sender_state import FILE_NAME, DestinationState, SenderState
from prom_probe.tsdb.store import Store, StoreOptions
from tests.support.fault_receiver import FaultReceiver
from tests.support.peers import Peer, VictoriaMetrics, free_port, victoria_metrics
from tests.support.prometheus import value_of
from tests.support.sidecar import FIFTY, Sidecar
from tests.support.tls import Authority
from tests.support.tsdb_tools import COUNTER, row
from tests.support.waiting import wait_for

FIFTY_PROCESSES = ("--", sys.executable, "-c", FIFTY)
SENT = "prom_probe_remote_write_samples_sent_total"
CATCH_UP_SERIES = 300
# How many samples an agent has sent, as it counts them.
_AGENT_SENT = "prometheus_remote_storage_samples_total"
_VMAGENT_SENT = "vmagent_remotewrite_global_rows_pushed_before_relabel_total"


@contextmanager
def receiver(folder: Path, *, tls: bool) -> Iterator[tuple[FaultReceiver, str]]:
    """A receiver of ours, and the configuration file that sends to it."""
    context = None
    if tls:
        Authority(folder).issue("server")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.crt", folder / "server.key")
    with FaultReceiver(tls=context) as found:
        config = folder / "config.yml"
        section = f"{{url: '{found.url}', name: bench, tls_config: {{ca_file: '{folder / 'ca.crt'}'}}}}"
        config.write_text(f"remote_write: [{section if tls else section.partition(', tls')[0] + '}'}]\n")
        yield found, str(config)


def sending(interval_s: int, seconds: float, *, tls: bool = False) -> Row:
    """A row: the sender of a 50-process tree, with one request each interval."""
    with tempfile.TemporaryDirectory() as name, receiver(Path(name), tls=tls) as (found, config):
        flags = [f"--config.file={config}", f"--remote-write.interval={interval_s}s"]
        with Sidecar(*FIFTY_PROCESSES, flags=flags) as sidecar:
            wait_for("requests", lambda: len(found.requests) > 1)
            pid = sidecar.worker("remote_write")
            before, samples = cpu_seconds(pid), sum(request.samples for request in found.requests)
            time.sleep(max(seconds, 2 * interval_s))
            used = cpu_seconds(pid) - before
            sent = sum(request.samples for request in found.requests) - samples
            pss = pss_kib(pid)
        lags = [
            request.at_s - min(t for _, some in request.content.series for t, _ in some) / 1000
            for request in found.requests
        ]
        size = sum(request.bytes for request in found.requests) / sum(request.samples for request in found.requests)
    title = f"prom_probe, {interval_s} s{', TLS' * tls}"
    lag = f"{percentile(lags, 0.99):.2f}"
    return (title, f"{pss / 1024:.1f}", f"{used / sent * 1e6:.1f}", f"{size:.1f}", lag)


def vmagent(interval_s: int, seconds: float) -> Row:
    """A row: Debian's vmagent, which scrapes the same page and sends it on."""
    with Sidecar(*FIFTY_PROCESSES) as sidecar, victoria_metrics() as store:
        folder, port = Path(tempfile.mkdtemp()), free_port()
        target = sidecar.web.removeprefix("http://")
        (folder / "scrape.yml").write_text(
            f"global: {{scrape_interval: {interval_s}s}}\n"
            f"scrape_configs: [{{job_name: a, static_configs: [{{targets: ['{target}']}}]}}]\n"
        )
        args = ["vmagent", "-promscrape.config=scrape.yml", f"-httpListenAddr=127.0.0.1:{port}"]
        args += [f"-remoteWrite.url={store.url}/api/v1/write", "-remoteWrite.tmpDataPath=queue"]
        with VictoriaMetrics("vmagent", args, port, folder) as agent:
            return _agent_row(f"vmagent, {interval_s} s", agent, _VMAGENT_SENT, interval_s, seconds)


def prometheus_agent(interval_s: int, seconds: float) -> Row:
    """A row: Debian's Prometheus as an agent, which does the same."""
    with Sidecar(*FIFTY_PROCESSES) as sidecar, victoria_metrics() as store:
        folder, port = Path(tempfile.mkdtemp()), free_port()
        target = sidecar.web.removeprefix("http://")
        (folder / "agent.yml").write_text(
            f"global: {{scrape_interval: {interval_s}s}}\n"
            f"scrape_configs: [{{job_name: a, static_configs: [{{targets: ['{target}']}}]}}]\n"
            f"remote_write: [{{url: '{store.url}/api/v1/write'}}]\n"
        )
        args = ["prometheus", "--enable-feature=agent", "--config.file=agent.yml", "--storage.agent.path=wal"]
        with Peer("agent", [*args, f"--web.listen-address=127.0.0.1:{port}"], port, folder) as agent:
            return _agent_row(f"Prometheus agent, {interval_s} s", agent, _AGENT_SENT, interval_s, seconds)


def _agent_row(title: str, agent: Peer, counter: str, interval_s: int, seconds: float) -> Row:
    wait_for("rows", lambda: counted(agent, counter) > 0)
    before, samples = cpu_seconds(agent.pid), counted(agent, counter)
    time.sleep(max(seconds, 2 * interval_s))
    used, sent = cpu_seconds(agent.pid) - before, counted(agent, counter) - samples
    return (title, f"{pss_kib(agent.pid) / 1024:.1f}", f"{used / sent * 1e6:.1f}", "", "")


def counted(agent: Peer, counter: str) -> float:
    """The sum of a counter's series on an agent's own /metrics."""
    lines = agent.get("/metrics")[1].decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(counter))


def catch_up(seconds: int) -> Row:
    """A row: an hour of 300 series at 1 s that a receiver has missed."""
    with tempfile.TemporaryDirectory() as name, victoria_metrics() as receiver:
        path, now_ms = Path(name) / "run", round(time.time() * 1000)
        start_ms = now_ms - 1000 * seconds
        store = Store(StoreOptions(path=str(path)))
        store.announce("missed", 0, 0, [column(COUNTER, i=str(i)) for i in range(CATCH_UP_SERIES)])
        for i in range(seconds - 10):
            store.append_row("missed", 0, start_ms + 1000 * i, row(i * 1.5 + n for n in range(CATCH_UP_SERIES)))
            store.maintain(start_ms + 1000 * i, 0.05)
        store.close()
        config = Path(name) / "config.yml"
        config.write_text(f"remote_write: [{{url: '{receiver.url}/api/v1/write', name: bench}}]\n")
        state = SenderState({"bench": DestinationState(start_ms - 1)})
        (path / FILE_NAME).write_bytes(msgspec.msgpack.encode(state))
        flags = [f"--config.file={config}", f"--storage.tsdb.path={path}", '--remote-write.match={__name__="c_total"}']
        with Sidecar(*FIFTY_PROCESSES, flags=flags) as sidecar:
            wait_for("the first", lambda: sidecar.value(SENT))
            time.sleep(1)  # what waited while the store was opened is no matter of sending
            port = int(sidecar.web.rpartition(":")[2])
            before, pid, sent, began = ingest(port), sidecar.worker("aggregator"), sidecar.value(SENT), time.monotonic()
            times = scrapes(port, 3.0)
            rate = ((sidecar.value(SENT) or 0) - (sent or 0)) / (time.monotonic() - began)
            p99 = ingest_p99(before, ingest(port))
            expected = CATCH_UP_SERIES * (seconds - 10)
            found = f"sum(count_over_time(c_total[{seconds + 600}s]))"
            wait_for("all of it, once", lambda: value_of(receiver, found) == expected)
            pss = pss_kib(pid), pss_kib(sidecar.worker("remote_write"))
    memory = " + ".join(f"{one / 1024:.1f}" for one in pss)
    title = f"{seconds} s of {CATCH_UP_SERIES} series"
    return (title, f"{rate / 1e3:.0f}", f"{percentile(times, 0.99) * 1e3:.1f}", p99, memory)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement at 1 s")
    parser.add_argument("--missed", type=int, default=3600, help="seconds that are caught up with")
    args = parser.parse_args()
    os.environ.pop("PROM_PROBE_CONFIG_FILE", None)
    rows = [
        sending(1, args.seconds),
        sending(1, args.seconds, tls=True),
        sending(15, args.seconds),
        vmagent(1, args.seconds),
        prometheus_agent(1, args.seconds),
    ]
    print("A page of 50 processes, sent at an interval. Lag: from a sample's timestamp to its arrival, p99.\n")
    print_table(("sender", "PSS MiB", "CPU us a sample", "bytes a sample", "lag s"), rows)
    print("\nAfter an outage, while `/metrics` is scraped 50 times a second.\n")
    head = ("missed", "thousand samples a second", "/metrics ms p99", "ingest ms p99", "PSS MiB, aggregator + sender")
    print_table(head, [catch_up(args.missed)])


if __name__ == "__main__":
    main()
