"""A sidecar in a pod of real containers: what it is promised to read of the application, it reads, and nothing more."""

from __future__ import annotations

import json
import os
import re
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from prom_probe.sources.process_files import fd_size_counts
from tests.support.containers import Pod, bind
from tests.support.sidecar import FREE
from tests.support.waiting import DEADLINE_S, wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="containers are Linux's")

MIB = 1 << 20
LIMIT = 96 * MIB
APP = (4000, 4000)  # uid and gid

# Threads, descriptors, memory, written bytes, a child, and an orphan; then it waits to be told what to do.
WORK = """
import os, sys, threading, time
for _ in range(3):
    threading.Thread(target=threading.Event().wait, daemon=True).start()
kept = [os.open("/proc/self/stat", os.O_RDONLY) for _ in range(20)]
ballast = b"x" * (16 << 20)
with open("/data/file", "wb") as stream:
    stream.write(os.urandom(1 << 20))
    os.fsync(stream.fileno())
if os.fork() == 0:
    time.sleep(1000)
if os.fork() == 0:
    if os.fork() == 0:
        os.setsid()
        time.sleep(1000)
    os._exit(0)
os.wait()
end = time.process_time() + 0.5
while time.process_time() < end:
    pass
open("/data/ready", "w").close()
while not os.path.exists("/data/eat"):
    time.sleep(0.05)
if os.fork() == 0:
    waste = []
    while True:
        waste.append(b"x" * (1 << 20))
os.wait()
open("/data/eaten", "w").close()
time.sleep(1000)
"""


class Scene:
    """A pod with an application whose main command is report-server, and a sidecar beside it."""

    def __init__(self, pod: Pod, directory: Path) -> None:
        self.pod = pod
        self._directory = directory
        self.data = directory / "data"
        self.data.mkdir()
        self.data.chmod(0o777)
        self.url = ""

    def start_app(self, user: tuple[int, int] = APP, capabilities: Sequence[str] = ()) -> None:
        home = os.path.realpath(sys.base_prefix)
        python = os.path.realpath(sys.executable)
        mounts = [bind(python, "/report-server"), bind(str(self.data), "/data", "rw")]
        args = ["/report-server", "-c", WORK]
        env = {"PYTHONHOME": home}
        self.pod.start("app", args, *user, mounts, env=env, memory=LIMIT, capabilities=capabilities)
        wait_for("the application", (self.data / "ready").exists)

    def start_sidecar(self, uid: int, gid: int, *flags: str) -> None:
        listen = [f"--web.listen-address={FREE}", "--api.listen-address=", "--interval=200ms", "--expose.self=full"]
        args = [sys.executable, "-m", "prom_probe", "run", *listen, *flags]
        self.pod.start("sidecar", args, uid, gid, [])
        self.url = wait_for("listening", lambda: re.search(r"serves=metrics url=(\S+)", self.pod.log("sidecar")))[1]
        wait_for("the first collection", lambda: self.readable("cgroup") is not None)

    def remove_sidecar(self) -> None:
        """Make room for the next one."""
        if (self._directory / "sidecar").exists():
            self.pod.remove("sidecar")
        (self._directory / "sidecar.log").unlink(missing_ok=True)

    def metrics(self) -> dict[str, dict[tuple[str, ...], float]]:
        """By name, then by the values of the labels in the order of their names."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=DEADLINE_S) as response:
            body = response.read().decode()
        found: dict[str, dict[tuple[str, ...], float]] = {}
        for family in text_string_to_metric_families(body):
            for sample in family.samples:
                labels = tuple(value for _, value in sorted(sample.labels.items()))
                found.setdefault(sample.name, {})[labels] = sample.value
        return found

    def app(self, name: str) -> float | None:
        """The value of the application's series, None without one."""
        return self.metrics().get(name, {}).get(("report-server",))

    def readable(self, source: str) -> float | None:
        return self.metrics().get("prom_probe_source_readable", {}).get((source,))

    def app_pids(self) -> list[int]:
        """The application's processes, as this machine numbers them."""
        return [int(pid) for pid in (self.pod.cgroup("app", "pids") / "cgroup.procs").read_text().split()]

    def app_cpu_s(self) -> float:
        """The CPU time of the application's processes and of the children they have reaped."""
        lines = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in self.app_pids()]
        return sum(int(number) for line in lines for number in line[11:15]) / os.sysconf("SC_CLK_TCK")

    def app_io(self, key: str) -> int:
        """What the application's processes have read or written, by /proc/PID/io's key."""
        lines = [line for pid in self.app_pids() for line in Path(f"/proc/{pid}/io").read_text().splitlines()]
        return sum(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """A pod for one test."""
    with Pod(tmp_path) as pod:
        yield Scene(pod, tmp_path)


@pytest.fixture(scope="module")
def pod_with_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("pod")
    with Pod(folder) as pod:
        scene = Scene(pod, folder)
        scene.start_app()
        yield scene


@pytest.fixture
def shared(pod_with_app: Scene) -> Iterator[Scene]:
    """The application of the module's pod, which no test changes; each test starts a sidecar of its own beside it."""
    yield pod_with_app
    pod_with_app.remove_sidecar()


def check_what_any_sidecar_sees(scene: Scene) -> None:
    """Processes, threads, memory and CPU need no permission."""
    assert wait_for("all processes", lambda: scene.app("proctree_processes") == len(scene.app_pids()) == 3)
    assert set(scene.metrics()["proctree_processes"]) == {("report-server",)}  # no pause, and not ourselves
    processes = scene.app_pids()  # the main process, its child, its orphan
    assert scene.app("proctree_threads") == sum(len(os.listdir(f"/proc/{pid}/task")) for pid in processes)
    resident = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in processes)
    assert scene.app("proctree_resident_memory_bytes") == pytest.approx(resident * os.sysconf("SC_PAGE_SIZE"), rel=0.02)

    def cpu() -> float:
        counters = scene.metrics()["proctree_cpu_seconds_total"]
        return counters["user", "report-server"] + counters["system", "report-server"]

    assert wait_for("its CPU time", lambda: 0.45 <= cpu() == pytest.approx(scene.app_cpu_s(), abs=0.03))


def check_descriptors(scene: Scene) -> None:
    fds = sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in scene.app_pids())
    assert fds >= 60
    assert scene.app("proctree_open_fds") == fds
    assert scene.readable("proc_pid_fd") == 1


def check_its_own_cgroup(scene: Scene) -> None:
    """The application's, told by its limit; not the sidecar's and not the pod's."""
    assert scene.app("cgroup_memory_limit_bytes") == LIMIT
    assert scene.app("cgroup_pids") == int((scene.pod.cgroup("app", "pids") / "pids.current").read_text())
    assert scene.app("cgroup_oom_kills_total") == 0
    usage = scene.app("cgroup_cpu_usage_seconds_total")
    assert usage is not None
    assert 0.45 <= usage < 60
    assert scene.readable("cgroup") == 1, scene.pod.log("sidecar")


def test_the_same_uid_and_gid_read_everything(shared: Scene) -> None:
    """Non-root, no capabilities, a read-only root: what the manifest asks for."""
    shared.start_sidecar(*APP)
    check_what_any_sidecar_sees(shared)
    check_descriptors(shared)
    assert shared.readable("proc_pid_io") == 1
    wait_for("its IO", lambda: shared.app("proctree_io_write_bytes_total") == shared.app_io("write_bytes"))
    assert shared.app_io("write_bytes") >= MIB
    assert shared.app("proctree_io_read_bytes_total") == shared.app_io("read_bytes")
    check_its_own_cgroup(shared)


@pytest.mark.parametrize(("uid", "gid"), [(5000, 5000), (5000, APP[1]), (APP[0], 5000)])
def test_another_uid_or_gid_reads_what_is_open_to_all(shared: Scene, uid: int, gid: int) -> None:
    """IO and the cgroup are no series then, and never a zero; the reason is a metric and a line of the log."""
    shared.start_sidecar(uid, gid)
    check_what_any_sidecar_sees(shared)
    if fd_size_counts("/proc"):  # since Linux 6.2 the count needs no permission to list them
        check_descriptors(shared)
    else:
        assert shared.app("proctree_open_fds") is None
        assert shared.readable("proc_pid_fd") == 0
    assert shared.readable("proc_pid_io") == 0
    assert shared.readable("cgroup") == 0
    metrics = shared.metrics()
    assert not [name for name in metrics if name.startswith(("proctree_io_", "cgroup_"))]
    assert "Permission denied" in shared.pod.log("sidecar")


def test_a_sidecar_that_was_there_first_finds_the_application(scene: Scene) -> None:
    """As a native sidecar is; and a process that is put into the container from outside belongs to it."""
    scene.start_sidecar(*APP)
    assert not scene.metrics().get("proctree_processes")
    scene.start_app()
    check_what_any_sidecar_sees(scene)
    check_its_own_cgroup(scene)
    scene.pod.execute("app", "/bin/sleep", "1000")
    wait_for("the process from outside", lambda: scene.app("proctree_processes") == 4)
    assert set(scene.metrics()["proctree_processes"]) == {("report-server",)}


def test_a_limit_that_kills_a_child_raises_the_counter(scene: Scene) -> None:
    """Between two scrapes: the child is gone before the second."""
    scene.start_app()
    scene.start_sidecar(*APP)
    check_what_any_sidecar_sees(scene)
    assert scene.app("cgroup_oom_kills_total") == 0
    (scene.data / "eat").touch()
    wait_for("the kill", (scene.data / "eaten").exists)
    wait_for("the counter", lambda: scene.app("cgroup_oom_kills_total") == 1)
    check_what_any_sidecar_sees(scene)


def test_without_cgroup_namespaces_it_is_the_same(tmp_path: Path) -> None:
    """Containers then see the machine's paths, and of the hierarchies their own part."""
    with Pod(tmp_path, cgroup_namespaces=False) as pod:
        scene = Scene(pod, tmp_path)
        scene.start_app()
        scene.start_sidecar(*APP)
        check_what_any_sidecar_sees(scene)
        check_its_own_cgroup(scene)


DOCTOR = ["-m", "prom_probe", "doctor", f"--web.listen-address={FREE}", "--api.listen-address="]


def test_the_doctor_is_content_with_the_same_uid_and_gid(shared: Scene) -> None:
    """And names what it looked at."""
    status, text = shared.pod.run("sidecar", [sys.executable, *DOCTOR], *APP)
    assert status == 0, text
    assert "uid 4000, gid 4000, no capabilities, in a container, in a PID namespace that containers share" in text
    assert "\ntree report-server\n" in text
    assert "Nothing is missing" in text


@pytest.mark.parametrize(("uid", "gid"), [(5000, 5000), (APP[0], 5000)])
def test_the_doctor_says_which_uid_and_gid_to_take(shared: Scene, uid: int, gid: int) -> None:
    """For each source that the kernel denies."""
    status, text = shared.pod.run("sidecar", [sys.executable, *DOCTOR, "--json"], uid, gid)
    assert status == 1, text
    missing = [finding for finding in json.loads(text)["findings"] if finding["status"] == "missing"]
    expected = {"/proc/PID/io", "cgroup"} | (set() if fd_size_counts("/proc") else {"/proc/PID/fd"})
    assert {finding["source"] for finding in missing} == expected
    for finding in missing:
        assert finding["subject"] == "tree report-server"
        assert finding["reason"] == f"it runs as uid 4000, gid 4000, and we as uid {uid}, gid {gid}"
        assert "runAsUser: 4000 and runAsGroup: 4000" in finding["change"]


@pytest.mark.parametrize(
    ("has", "reason", "change"),
    [
        (["CHOWN"], "it has capabilities that we do not have: CHOWN", "capabilities: drop: [ALL]"),
        ([], "", ""),
    ],
)
def test_the_doctor_as_root_beside_root(scene: Scene, has: list[str], reason: str, change: str) -> None:
    """Nothing is missing but where the application has capabilities that ours lacks."""
    scene.start_app((0, 0), has)
    check_findings(scene, [], reason, change)


@pytest.mark.parametrize(
    ("we_have", "change"),
    [
        ([], "add the capabilities SYS_PTRACE and DAC_READ_SEARCH to ours"),
        (["SYS_PTRACE"], "add the capabilities DAC_READ_SEARCH to ours"),
        (["DAC_READ_SEARCH"], "add the capabilities SYS_PTRACE to ours"),
        (["SYS_PTRACE", "DAC_READ_SEARCH"], ""),
    ],
)
def test_the_doctor_says_which_capabilities_to_take(shared: Scene, we_have: list[str], change: str) -> None:
    """Ours runs as root beside an application of another user; with what it asks for nothing is missing."""
    check_findings(shared, we_have, "it runs as uid 4000" if change else "", change)


def check_findings(scene: Scene, we_have: list[str], reason: str, change: str) -> None:
    status, text = scene.pod.run("sidecar", [sys.executable, *DOCTOR, "--json"], 0, 0, *we_have)
    missing = [finding for finding in json.loads(text)["findings"] if finding["status"] == "missing"]
    assert status == bool(reason), text
    assert bool(missing) == bool(reason)
    for finding in missing:
        assert finding["reason"].startswith(reason)
        assert change in finding["change"]
