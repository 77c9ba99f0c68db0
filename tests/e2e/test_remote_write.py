"""Real senders of remote writes: what they wrote is here, sample by sample."""

from __future__ import annotations

import time
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from tests.support.peers import VictoriaMetrics, free_port, prometheus
from tests.support.programs import program
from tests.support.prometheus import REMOTE_WRITE, matrix, newest_s
from tests.support.sidecar import Sidecar
from tests.support.waiting import DEADLINE_S, wait_for


def test_a_real_prometheus_writes_to_us() -> None:
    """It scrapes itself and sends us all: each series is here with the same samples."""
    program("prometheus")
    port = free_port()
    with Sidecar("--", "sleep", "1000", flags=[REMOTE_WRITE]) as sidecar:
        config = (
            "global: {scrape_interval: 200ms}\n"
            f"scrape_configs: [{{job_name: itself, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}]\n"
            f"remote_write: [{{url: '{sidecar.api}/api/v1/write', queue_config: {{batch_send_deadline: 200ms}}}}]\n"
        )
        with prometheus(config, port=port) as peer:
            url = peer.url
            first_s = wait_for("a sample", lambda: newest_s(sidecar.api, 'up{job="itself"}[1m]'))
            wait_for("ten scrapes", lambda: newest_s(sidecar.api, 'up{job="itself"}[1m]') > first_s + 3)
            end_s = first_s + 2.1
            expr = '{job="itself"}[2s]'
            wait_for("the same samples", lambda: matrix(sidecar.api, expr, end_s) == matrix(url, expr, end_s))
            theirs = matrix(url, expr, end_s)
            assert len(theirs) > 200
            assert sum(map(len, theirs.values())) > 2 * len(theirs)
            for failure in ("failed", "retried", "dropped"):
                name = f"prometheus_remote_storage_samples_{failure}_total"
                assert {v for samples in matrix(url, name + "[1m]", time.time()).values() for _, v in samples} <= {
                    "0.0"
                }
        requests = {"handler": "/api/v1/write", "code": "204"}
        assert (sidecar.metric("prom_probe_http_requests_total", **requests) or 0) > 5


def test_a_real_vmagent_writes_to_us(tmp_path: Path) -> None:
    """It scrapes our /metrics and sends it back to us: our own series are here twice, with equal values."""
    vmagent = program("vmagent")
    with Sidecar("--", "sleep", "1000", flags=[REMOTE_WRITE]) as sidecar:
        target = sidecar.web.removeprefix("http://")
        (tmp_path / "scrape.yml").write_text(
            "global: {scrape_interval: 500ms}\n"
            f"scrape_configs: [{{job_name: again, static_configs: [{{targets: ['{target}']}}]}}]\n"
        )
        port = free_port()
        args = [vmagent, "-promscrape.config=scrape.yml", f"-httpListenAddr=127.0.0.1:{port}"]
        args += [f"-remoteWrite.url={sidecar.api}/api/v1/write", "-remoteWrite.flushInterval=200ms"]
        # One queue: two may overtake each other, and what is older than the newest is refused, as by Prometheus.
        args += ["-remoteWrite.tmpDataPath=queue", "-remoteWrite.queues=1"]
        with VictoriaMetrics("vmagent", args, port, tmp_path):
            wait_for("its series", lambda: sidecar.value('up{job="again"}') == 1)
            again = 'count(proctree_threads{job="again"} == ignoring(job, instance) proctree_threads{job=""})'
            wait_for("an equal value", lambda: sidecar.value(again) == 1)
            assert (sidecar.value('count({job="again"})') or 0) > 30
        rejected = "prom_probe_tsdb_rejected_samples_total"
        assert not [(labels, n) for (name, labels), n in sidecar.metrics().items() if name == rejected and n]


def test_it_is_off_unless_it_is_switched_on() -> None:
    """404, which says how to switch it on."""
    with Sidecar("--", "sleep", "1000") as sidecar:
        request = urllib.request.Request(f"{sidecar.api}/api/v1/write", data=b"", method="POST")
        with pytest.raises(urllib.error.HTTPError) as raised:
            urllib.request.urlopen(request, timeout=DEADLINE_S)
        with raised.value as answer:
            assert answer.code == 404
            assert REMOTE_WRITE in answer.read().decode()
