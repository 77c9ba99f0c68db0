"""The image and the settings that the chart renders in a pod of real containers, with an application that is killed."""

from __future__ import annotations

import json
import os
import re
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.tools import Resource, helm, pod_spec, sidecar_of
from tests.support.containers import Pod, bind
from tests.support.dataset import counters, gauges
from tests.support.peers import encode_write
from tests.support.prometheus import scraping, value_of
from tests.support.sidecar import FREE, Sidecar
from tests.support.waiting import DEADLINE_S, wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="containers are Linux's")

MIB = 1 << 20
APP_LIMIT = 96 * MIB
# Waits to be told, then takes what it can get.
APP = """
import os, time
while not os.path.exists("/data/eat"):
    time.sleep(0.05)
more = []
while True:
    more.append(b"x" * (1 << 20))
    time.sleep(0.02)  # so that a collection sees it near its limit
"""
SHM = {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["mode=1777", "size=64m"]}

# Queries that take much of what is permitted, each of another family.
HEAVY = (
    'sum(rate({__name__=~"x|g"}[20m]))',
    "max_over_time(sum(rate(x[1m]))[25m:1s])",
    'quantile_over_time(0.5, {__name__=~"x|g"}[20m])',
    'label_replace({__name__=~"x|g"}, "b", "$1$1", "instance", "(.*)")',
    'topk(20, {__name__=~"x|g"})',
    'count_values("v", {__name__=~"x|g"})',
    "g * on (job, instance) x / on (job, instance) g + on (job, instance) x",
    'sort_desc({__name__=~"x|g"})',
    'predict_linear({__name__=~"x|g"}[20m], 60)',
)


def deployment(*values: str) -> Resource:
    """The chart's, with these values."""
    (found,) = (one for one in helm("demo.enabled=true", *values) if one["kind"] == "Deployment")
    return found


class InPod(Sidecar):
    """The sidecar of the manifest, started in a pod; what is asked of it as of any other."""

    def __init__(self, pod: Pod, image: Path, manifest: Resource) -> None:
        container = sidecar_of(manifest)
        security = {**pod_spec(manifest)["securityContext"], **container["securityContext"]}
        # What Pod gives every container; a manifest that asks for less would be tested with more.
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        self.user = security["runAsUser"], security["runAsGroup"]
        self.limit = int(container["resources"]["limits"]["memory"].removesuffix("Mi")) * MIB
        environ = {one["name"]: one["value"] for one in container["env"]}
        # The ports are the machine's here, and others may have them.
        environ |= {"PROM_PROBE_WEB_LISTEN_ADDRESS": FREE, "PROM_PROBE_API_LISTEN_ADDRESS": FREE}
        environ["PROM_PROBE_WEB_ENABLE_REMOTE_WRITE_RECEIVER"] = "true"
        environ["PROM_PROBE_INTERVAL"] = "100ms"
        args = [str(image / "bin" / "prom-probe"), *container["args"]]
        mounts = [bind(str(image), str(image)), SHM]
        pod.start("sidecar", args, *self.user, mounts, env=environ, memory=self.limit)
        self.pod = pod
        listening = re.compile(r"serves=metrics url=(\S+).*?serves=api url=(\S+)", re.DOTALL)
        found = wait_for("both listeners", lambda: listening.search(pod.log("sidecar")))
        self.web, self.api = found.groups()
        wait_for("ready", lambda: self.get("/-/ready", self.web)[0] == 200)

    def memory(self, *names: str) -> int:
        """A number of the container's memory cgroup, by its file's name in version 1 or 2."""
        folder = self.pod.cgroup("sidecar", "memory")
        (path,) = (folder / name for name in names if (folder / name).exists())
        return int(path.read_text())

    def lives(self) -> bool:
        """Whether nothing of it has died."""
        restarts = {value for (name, _), value in self.metrics().items() if name == "prom_probe_worker_restarts_total"}
        return restarts == {0} and os.path.exists(f"/proc/{self.pod.pids['sidecar']}")


@pytest.fixture
def sidecar(image: Path, tmp_path: Path) -> Iterator[InPod]:
    pod = Pod(tmp_path)
    with pod:
        yield InPod(pod, image, deployment())


def start_app(pod: Pod, user: tuple[int, int], folder: Path) -> int:
    data = folder / "data"
    data.mkdir(exist_ok=True)
    python = os.path.realpath(sys.executable)
    mounts = [bind(python, "/report-server"), bind(str(data), "/data")]
    env = {"PYTHONHOME": os.path.realpath(sys.base_prefix)}
    return pod.start("app", ["/report-server", "-c", APP], *user, mounts, env=env, memory=APP_LIMIT)


def test_an_application_is_killed_and_comes_back(sidecar: InPod, tmp_path: Path) -> None:
    """The sidecar was there first, reads all of it, tells its peak to a real Prometheus, lives, and finds it again."""
    pod, tree = sidecar.pod, "report-server"
    with scraping(sidecar.web.removeprefix("http://")) as peer:
        value = partial(value_of, peer)
        start_app(pod, sidecar.user, tmp_path)
        wait_for(
            "its IO, which needs the same user and group",
            lambda: sidecar.metric("proctree_io_read_bytes_total", tree=tree) is not None,
        )
        wait_for("its limit", lambda: sidecar.metric("cgroup_memory_limit_bytes", tree=tree) == APP_LIMIT)
        begun = sidecar.metric("proctree_start_time_seconds", tree=tree) or 0
        wait_for("a scrape", lambda: value(f'proctree_processes{{tree="{tree}"}}') == 1)

        (tmp_path / "data" / "eat").touch()
        wait_for("the kill", lambda: not os.path.exists(f"/proc/{pod.pids['app']}"))
        peak = f'max_over_time(proctree_resident_memory_max_bytes{{tree="{tree}"}}[5m])'
        wait_for("the peak in Prometheus", lambda: (value(peak) or 0) > 0.7 * APP_LIMIT)
        kills = f'cgroup_oom_kills_total{{tree="{tree}"}}'
        wait_for("the kill in Prometheus", lambda: value(kills) == 1)

        (tmp_path / "data" / "eat").unlink()
        pod.remove("app")
        start_app(pod, sidecar.user, tmp_path)
        again = f'proctree_start_time_seconds{{tree="{tree}"}}'
        wait_for("the next one in Prometheus", lambda: (value(again) or 0) > begun)
        assert sidecar.lives()
        assert value("up") == 1


def test_beside_root_it_has_a_user_of_its_own(image: Path, tmp_path: Path) -> None:
    """As the chart's README says for pods that run as root: it sees the application, and says what it may not read."""
    values = [f"sidecar.securityContext.{field}=65532" for field in ("runAsUser", "runAsGroup")]
    pod, tree = Pod(tmp_path), "report-server"
    with pod:
        sidecar = InPod(pod, image, deployment(*values))
        assert sidecar.user == (65532, 65532)
        start_app(pod, (0, 0), tmp_path)
        wait_for("the application", lambda: sidecar.metric("proctree_processes", tree=tree) == 1)
        assert sidecar.metric("proctree_resident_memory_bytes", tree=tree)
        for name in ("proctree_io_read_bytes_total", "cgroup_memory_limit_bytes"):
            assert sidecar.metric(name, tree=tree) is None
        wait_for("what it may not read", lambda: sidecar.metric("prom_probe_sources_unreadable"))
        assert sidecar.lives()


SERIES, HOUR = 150, 3600  # counters, and as many gauges, one sample a second


def load(sidecar: InPod) -> int:
    """Write an hour of samples; their last second."""
    end_s = int(time.time())
    series = [*counters(SERIES, HOUR), *gauges(SERIES, HOUR)]
    headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
    for first in range(0, HOUR, 300):
        begin_s = end_s - HOUR + 1 + first
        times = range(begin_s * 1000, (begin_s + 300) * 1000, 1000)
        body = encode_write((labels, times, values[first : first + 300]) for labels, values in series)
        with urllib.request.urlopen(urllib.request.Request(f"{sidecar.api}/api/v1/write", body, headers)) as answer:
            assert answer.status == 204
    return end_s


def test_the_worst_queries_stay_under_the_limit(sidecar: InPod) -> None:
    """Four at a time, over an hour, at a step of a second: answered or refused, and nobody is killed for memory."""
    end_s = load(sidecar)

    def ask(expr: str) -> tuple[int, Any]:
        form = {"query": expr, "start": end_s - HOUR + 1, "end": end_s, "step": 1, "timeout": "5s"}
        request = f"{sidecar.api}/api/v1/query_range?{urllib.parse.urlencode(form)}"
        try:
            with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
                for _ in iter(lambda: answer.read(1 << 16), b""):
                    pass
                return answer.status, None
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)["errorType"]

    raw = ['{__name__=~"x|g"}'] * 4  # as much as an answer can be
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(ask, [*raw, *HEAVY]))
    assert {status for status, _ in answers} <= {200, 422, 503}, answers
    assert 200 in {status for status, _ in answers}
    assert sidecar.lives()
    peak = sidecar.memory("memory.max_usage_in_bytes", "memory.peak")
    print(f"peak {peak / MIB:.0f} of {sidecar.limit / MIB:.0f} MiB; answers {sorted(map(str, answers))}")
    assert peak <= sidecar.limit
