"""What a run sends by remote write: each sample of its store stands in each receiver, once, equal to the bit."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from msgspec.msgpack import encode

from prom_probe.model.family import column
from prom_probe.model.labels import Labels, label_value, make_labels
from prom_probe.model.sample import STALE_BYTES
from prom_probe.remote.sender_state import FILE_NAME, DestinationState, SenderState
from prom_probe.tsdb.store import Store, StoreOptions
from tests.support.fault_receiver import Fault, FaultReceiver
from tests.support.outage_trial import receivers, run
from tests.support.outage_verdict import compare, differences, report, stored
from tests.support.peers import Peer, prometheus, victoria_metrics
from tests.support.programs import program
from tests.support.prometheus import value_of
from tests.support.sidecar import Sidecar, children, command, read_comm
from tests.support.tsdb_tools import GAUGE, row
from tests.support.waiting import wait_for


def test_outages_and_kills(tmp_path: Path) -> None:
    """To us, a Prometheus and a VictoriaMetrics, each of which fails in its way while our workers are killed.

    `python -m tests.support.outages` has ten minutes of it.
    """
    program("prometheus")
    program("victoria-metrics")
    with receivers() as found:
        path = tmp_path / "run"
        trial = run(found, path, seconds=12.0, interval_s=0.2, outages=3, seed=random.randrange(1 << 16))
        expected = stored(path)
        assert sum(map(len, expected.values())) > 5000
        verdicts = [compare(one, trial, expected) for one in found]
        text = report(trial, verdicts, unlike := differences(trial, path, expected))
        print(text)
        assert all(verdict.good for verdict in verdicts), text
        assert not unlike, text
        assert trial.status == -signal.SIGTERM


V2 = "io.prometheus.write.v2.Request"
OUT_OF_ORDER = "storage: {tsdb: {out_of_order_time_window: 4h}}"


@pytest.mark.parametrize(
    ("make", "newest_first"), [(prometheus, False), (partial(prometheus, OUT_OF_ORDER), True), (victoria_metrics, True)]
)
def test_an_outage_of_three_hours(make: Callable[[], Peer], newest_first: bool, tmp_path: Path) -> None:
    """In fast motion: all of it is taken, by a Prometheus too, which refuses what is an hour older than its newest.

    The newest first, where that is asked for.
    """
    program("prometheus")
    program("victoria-metrics")
    with make() as peer, FaultReceiver(behind=f"{peer.url}/api/v1/write") as front:
        path, newest_ms = tmp_path / "run", round(time.time() * 1000)
        start_ms = newest_ms - 3 * 3_600_000
        store = Store(StoreOptions(path=str(path)))
        for name in ("one", "other"):
            store.announce(name, 0, 0, [column(GAUGE, collector=name, i=str(i)) for i in range(20)])
        for t_ms in range(start_ms, newest_ms, 5000):
            for name in ("one", "other"):
                store.append_row(name, 0, t_ms, row(t_ms / 1000 + i for i in range(20)))
            store.maintain(t_ms, 0.05)
        store.close()
        config = tmp_path / "config.yml"
        send = f"send: {{newest_first: {str(newest_first).lower()}}}"
        config.write_text(f"remote_write: [{{name: peer, url: '{front.url}', {send}}}]")
        (path / FILE_NAME).write_bytes(encode(SenderState({"peer": DestinationState(start_ms - 1)})))
        flags = [f"--config.file={config}", f"--storage.tsdb.path={path}", "--remote-write.interval=5s"]
        expected = 40 * 3 * 720
        with Sidecar("--", "sleep", "1000", flags=flags) as sidecar:
            wait_for("all of it", lambda: value_of(peer, "sum(count_over_time(g[4h]))") == expected)
            assert not sidecar.query("prom_probe_remote_write_samples_dropped_total > 0")
        times = [t_ms for _, samples in front.requests[0].content.series for t_ms, _ in samples]
        assert min(times) > newest_ms - 60_000 if newest_first else max(times) < newest_ms - 3_600_000


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


def workers(sidecar: Sidecar, names: list[str]) -> list[int]:
    """Their PIDs; none unless all of them run."""
    pids = [sidecar.worker(name) for name in names]
    return pids if all(pids) else []


@pytest.mark.parametrize("victims", [["remote_write"], ["remote_write", "aggregator"]])
def test_the_end_is_flushed_by_a_sender_that_was_dead(victims: list[str], tmp_path: Path) -> None:
    """Killed again and again, it is waiting for its next start when COMMAND ends."""
    with FaultReceiver() as receiver:
        flags = [f"--remote-write.url={receiver.url}", f"--storage.tsdb.path={tmp_path / 'run'}"]
        with Sidecar("--", "sleep", "1000", flags=flags) as sidecar:
            wait_for("the first", lambda: receiver.of("proctree_processes"))
            for _ in range(3):
                pids = wait_for("the workers", partial(workers, sidecar, victims))
                for pid in pids:
                    os.kill(pid, signal.SIGKILL)
                wait_for("their end", lambda pids=pids: not set(pids) & set(children(sidecar.process.pid)))  # type: ignore[misc]
            sidecar.process.terminate()
            assert sidecar.wait() == -signal.SIGTERM
        (samples,) = receiver.of("proctree_processes").values()
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


def test_when_counters_began(tmp_path: Path) -> None:
    """As the kernel says it of COMMAND, of its child, of the machine; of cgroups and of the aggregator nothing."""
    config = tmp_path / "config.yml"
    with FaultReceiver() as receiver:
        receiver.knows_v2 = True
        send = "protobuf_message: " + V2 + ", send: {match: ['{__name__=~\".+\"}']}"
        config.write_text(f"remote_write: [{{name: r, url: '{receiver.url}', {send}}}]")
        flags = [f"--config.file={config}", "--interval=200ms", "--collect.context-switches"]
        with Sidecar("--", "sh", "-c", "sleep 1000 & exec sleep 1001", flags=flags) as sidecar:

            def starts() -> dict[tuple[str, str], set[int]]:
                found: dict[tuple[str, str], set[int]] = {}
                for request in list(receiver.requests):
                    for labels, samples in request.content.series:
                        told = request.content.starts.get(labels, {})
                        key = label_value(labels, "__name__"), label_value(labels, "pid")
                        times = [t_ms for t_ms, value in samples if value != STALE_BYTES]
                        found.setdefault(key, set()).update(told.get(t_ms, 0) for t_ms in times)
                return found

            parent = wait_for("COMMAND", lambda: next(filter(_is_sleep, children(sidecar.process.pid)), 0))
            child = wait_for("its child", lambda: list(children(parent)))[0]
            name = "proctree_process_cpu_seconds_total"
            wait_for("its counters", lambda: {(name, str(parent)), (name, str(child))} <= starts().keys())
            wait_for("all other counters", lambda: ("prom_probe_tsdb_appended_samples_total", "") in starts())
            found = starts()
            command_ms, child_ms, own_ms = (_start_ms(pid) for pid in (parent, child, sidecar.process.pid))
    lines = Path("/proc/stat").read_text().splitlines()
    booted_ms = 1000 * next(int(line[6:]) for line in lines if line.startswith("btime "))
    one_ms = {key: next(iter(told)) for key, told in found.items() if len(told) == 1}
    for key, expected_ms in (
        ((name, str(parent)), command_ms),
        ((name, str(child)), child_ms),
        (("proctree_process_context_switches_total", str(child)), child_ms),
        (("proctree_cpu_seconds_total", ""), command_ms),
        (("system_cpu_seconds_total", ""), booted_ms),
        (("system_page_faults_total", ""), booted_ms),
        (("prom_probe_worker_cpu_seconds_total", ""), own_ms),
    ):
        assert one_ms[key] == pytest.approx(expected_ms, abs=60), key
    silent = {metric for (metric, _), told in found.items() if told == {0}}
    assert {"prom_probe_tsdb_appended_samples_total", "proctree_processes", "system_time_seconds"} <= silent
    told = {metric for (metric, _), starts_ms in found.items() if starts_ms != {0}}
    assert not {metric for metric in told if metric.startswith("cgroup_") or not metric.endswith("_total")}


@pytest.mark.parametrize("make", [prometheus, victoria_metrics])
def test_a_receiver_that_does_not_know_the_newer_message(make: Callable[[], Peer], tmp_path: Path) -> None:
    """It gets the older one, from the first sample on: a Prometheus and a VictoriaMetrics as packaged."""
    program("prometheus")
    program("victoria-metrics")
    config, path, metric = tmp_path / "config.yml", tmp_path / "run", "proctree_processes"
    with make() as peer:
        more = f"protobuf_message: {V2}, send: {{match: [{metric}]}}"
        config.write_text(f"remote_write: [{{name: r, url: '{peer.url}/api/v1/write', {more}}}]")
        flags = [f"--config.file={config}", f"--storage.tsdb.path={path}", "--interval=200ms"]
        with Sidecar("--", "sleep", "1000", flags=[*flags, "--remote-write.interval=1s"]) as sidecar:
            sent = "prom_probe_remote_write_samples_sent_total"
            wait_for("samples", lambda: (sidecar.metric(sent, destination="r") or 0) > 300)
            sidecar.process.terminate()
            sidecar.wait()
        (expected,) = (len(some) for labels, some in stored(path).items() if label_value(labels, "__name__") == metric)
        wait_for("all of them", lambda: value_of(peer, f"count_over_time({metric}[10m])") == expected)


def _is_sleep(pid: int) -> bool:
    return read_comm(pid) == "sleep"


def _start_ms(pid: int) -> float:
    """When a process started, in Unix time."""
    ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    since_boot_s = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return 1000 * (time.time() - since_boot_s)


def _quiet(url: str) -> list[str]:
    return ["--web.listen-address=127.0.0.1:0", "--api.listen-address=", f"--remote-write.url={url}"]
