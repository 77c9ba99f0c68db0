"""Which process belongs to which tree: watches by PID, name, command line, cgroup and container."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from prom_probe.collectors.process.collector import ProcessCollector
from prom_probe.collectors.process.roster import Roster
from prom_probe.collectors.process.rule import Candidate
from prom_probe.model.watch import Watch
from tests.support.collector_harness import Machine
from tests.support.fake_proc import stat_line


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path)
    machine.proc.process(1, 0, b"init")
    return machine


class Finder:
    """A roster that forgets a member when its process has ended."""

    def __init__(self, machine: Machine, *watches: Watch) -> None:
        self.machine = machine
        self.roster = Roster(machine.context(*watches))

    def trees(self, times: int = 1) -> dict[str, list[int]]:
        """PIDs by tree, after so many collections."""
        for _ in range(times):
            self.machine.now += 1
            for pid in list(self.roster.members):
                if not (self.machine.proc.root / str(pid)).exists():
                    self.roster.forget(pid)
            self.roster.refresh()
        trees: dict[str, list[int]] = {}
        for pid, place in sorted(self.roster.members.items()):
            trees.setdefault(place.tree, []).append(pid)
        return trees


def test_a_pid_watch_takes_the_process_and_its_descendants(machine: Machine) -> None:
    """Those that are there, and those that come."""
    machine.proc.process(100)
    machine.proc.process(102, 101)
    machine.proc.process(101, 100)
    machine.proc.process(50, 1)
    finder = Finder(machine, Watch("job", "pid", "100"))
    assert finder.trees() == {"job": [100, 101, 102]}
    machine.proc.process(103, 102)
    machine.proc.process(104, 103)
    machine.proc.end(101)
    assert finder.trees() == {"job": [100, 102, 103, 104]}


def test_a_member_stays_one_when_its_parent_dies(machine: Machine) -> None:
    """An orphan that was seen before, and what it forks."""
    machine.proc.process(100)
    machine.proc.process(101, 100)
    finder = Finder(machine, Watch("job", "pid", "100"))
    finder.trees()
    machine.proc.end(100)
    machine.proc.process(101, 1)
    machine.proc.process(102, 101)
    assert finder.trees() == {"job": [101, 102]}


@pytest.mark.parametrize(
    ("regex", "comms"),
    [
        ("python", ["python"]),
        ("python.*", ["python", "python3.11"]),
        (".*th.*", ["python", "python3.11"]),
        ("a\nb", ["a\nb"]),
        ("a.b", ["a\nb"]),
        ("(?i)PYTHON", ["python"]),
        ("\\\\xff", ["\\xff"]),
    ],
)
def test_a_comm_watch_matches_the_whole_name(machine: Machine, regex: str, comms: list[str]) -> None:
    """As every regex of Prometheus does."""
    names = [b"python", b"python3.11", b"a\nb", b"\xff"]
    for pid, comm in enumerate(names, 100):
        machine.proc.process(pid, 1, comm)
    members = Finder(machine, Watch("t", "comm", regex)).trees().get("t", [])
    assert [names[pid - 100].decode("utf-8", "backslashreplace") for pid in members] == comms


def test_a_cmdline_watch_matches_the_arguments_joined_by_spaces(machine: Machine) -> None:
    """All of them, from the first character to the last."""
    machine.proc.process(100, cmdline="python train.py --fast")
    machine.proc.process(101, cmdline="python serve.py")
    machine.proc.process(102, cmdline="")
    finder = Finder(machine, Watch("a", "cmdline", "python train.py .*"), Watch("b", "cmdline", "serve.py"))
    assert finder.trees() == {"a": [100]}


def test_a_process_belongs_to_the_first_watch_that_matches(machine: Machine) -> None:
    """A child leaves its parent's tree for an earlier watch, not for a later one."""
    machine.proc.process(100, 1, b"worker")
    machine.proc.process(101, 100, b"first")
    machine.proc.process(102, 101, b"worker")
    machine.proc.process(103, 100, b"last")
    watches = [Watch("f", "comm", "first"), Watch("w", "comm", "worker"), Watch("l", "comm", "last")]
    assert Finder(machine, *watches).trees() == {"f": [101, 102], "w": [100, 103]}


def test_a_name_that_comes_with_exec_is_noticed(machine: Machine) -> None:
    """Between fork and exec a process has its parent's name."""
    finder = Finder(machine, Watch("t", "comm", "python"))
    finder.trees()
    machine.proc.process(100, 1, b"sh")
    assert finder.trees() == {}
    machine.proc.process(100, 1, b"python")
    assert finder.trees() == {"t": [100]}


def test_a_name_that_comes_with_exec_after_the_first_collection_is_noticed(machine: Machine) -> None:
    """Among many others that are not young; long before it is its turn to be looked at again."""
    for pid in range(100, 300):
        machine.proc.process(pid, 1, b"sh", start=50_000)
    machine.proc.process(300, 1, b"sh", start=99_900)
    machine.proc.process(301, 1, b"sh", start=100_000)
    finder = Finder(machine, Watch("t", "comm", "python"))
    assert finder.trees() == {}
    assert set(finder.roster._revisits) == {300, 301}
    machine.proc.process(300, 1, b"python", start=99_900)
    assert finder.trees() == {"t": [300]}


def test_a_name_that_changes_late_is_noticed_too(machine: Machine) -> None:
    """All processes are looked at again in turn."""
    for pid in range(100, 200):
        machine.proc.process(pid, 1, b"sh")
    finder = Finder(machine, Watch("t", "comm", "python"))
    finder.trees(10)
    machine.proc.process(150, 1, b"python")
    assert finder.trees(60) == {"t": [150]}


@pytest.mark.parametrize(("before", "newest"), [(120, 250), (32_000, 180), (149, 190), (32_000, 150)])
def test_who_has_another_s_pid_is_found_by_the_next_listing(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, before: int, newest: int
) -> None:
    """Between two collections a process ended and another one got its PID, among many, and after the largest one."""
    pids = [before, newest]
    monkeypatch.setattr(Roster, "_read_newest_pid", lambda roster: pids[0])
    monkeypatch.setattr(Roster, "_take_revisits", lambda roster: set())
    looked: list[int] = []
    for pid in range(100, 200):
        machine.proc.process(pid, 1, b"sh")
    finder = Finder(machine, Watch("t", "comm", "python"))
    finder.trees()
    machine.proc.process(150, 1, b"python", start=50_000)
    assert finder.trees(5) == {}  # no PID has been given: it cannot be another process
    look = finder.roster._look

    def spy(pid: int, again: bool) -> Candidate | None:
        looked.append(pid)
        return look(pid, again)

    monkeypatch.setattr(finder.roster, "_look", spy)
    del pids[0]
    assert finder.trees() == {"t": [150]}
    given = {pid for pid in [1, *range(100, 200)] if (before < pid <= newest if before < newest else pid <= newest)}
    assert set(looked) == given


@pytest.mark.parametrize("waited", range(12))
@pytest.mark.parametrize(("before", "newest"), [(120, 150), (149, 150), (149, 160)])
def test_a_reused_pid_is_found_at_once_where_few_were_given(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, before: int, newest: int, waited: int
) -> None:
    """The first and the last of the given PIDs too, whether they are probed or /proc is listed in that collection."""
    pids = [before, newest]
    monkeypatch.setattr(Roster, "_read_newest_pid", lambda roster: pids[0])
    monkeypatch.setattr(Roster, "_take_revisits", lambda roster: set())
    for pid in range(100, 161):
        machine.proc.process(pid, 1, b"sh")
    finder = Finder(machine, Watch("t", "comm", "python"))
    finder.trees(1 + waited)
    machine.proc.process(150, 1, b"python", start=50_000)
    del pids[0]
    assert finder.trees() == {"t": [150]}


@pytest.mark.parametrize(("newest", "looks"), [(None, 1), (10**7, 8)])
def test_who_has_another_s_pid_is_found_though_nothing_tells(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, newest: int | None, looks: int
) -> None:
    """Others are looked at again in turn: one in each collection, or some with each listing."""
    monkeypatch.setattr(Roster, "_read_newest_pid", lambda roster: newest)
    machine.proc.process(99)
    for pid in range(100, 164):
        machine.proc.process(pid, 1)
    finder = Finder(machine, Watch("job", "pid", "99"))
    finder.trees(10)
    if newest is not None:
        monkeypatch.setattr(finder.roster, "_list_most", 10)
        monkeypatch.setattr(finder.roster, "_list_after", 10)
    machine.proc.process(130, 99, start=50_000)
    assert finder.trees((64 + 8) // looks * (1 if newest is None else 10)) == {"job": [99, 130]}


def a_procfs_of_ours(machine: Machine, newest: int) -> None:
    """Let it say that its PIDs are those of our namespace, and which is the newest."""
    (machine.proc.root / "self").symlink_to(str(os.getpid()))
    (machine.proc.root / "loadavg").write_text(f"0.1 0.2 0.3 1/200 {newest}\n")


def test_a_newest_pid_that_never_changes_is_noticed_in_the_next_second(machine: Machine) -> None:
    """As LXCFS has it; whatever the number of collections without a new process before."""
    a_procfs_of_ours(machine, 10**7)
    machine.proc.process(100, 1)
    finder = Finder(machine, Watch("job", "pid", "100"))
    finder.trees(300)
    for pid in range(101, 110):
        machine.proc.process(pid, 100, start=5_000 + pid)
        assert finder.trees() == {"job": list(range(100, pid + 1))}


def test_one_process_that_ends_as_another_begins_is_noticed_too(machine: Machine) -> None:
    """The number of processes stays the same then, once it is known that the newest PID says nothing."""
    a_procfs_of_ours(machine, 10**7)
    machine.proc.process(100, 1)
    finder = Finder(machine, Watch("job", "pid", "100"))
    finder.trees(300)
    machine.proc.process(101, 100, start=5_000)
    assert finder.trees() == {"job": [100, 101]}
    machine.proc.end(101)
    machine.proc.process(102, 100, start=5_001)
    assert finder.trees() == {"job": [100, 102]}


def test_a_stranger_s_children_do_not_join_the_tree_of_the_member_whose_pid_it_has(machine: Machine) -> None:
    """The member ended, a stranger got its PID and forked, all between two collections."""
    machine.proc.process(100, 1, start=100)
    machine.proc.process(101, 100, start=200)
    collector = machine.make(ProcessCollector, Watch("job", "pid", "100"))
    machine.collect(collector)
    machine.proc.process(101, 1, b"stranger", start=9_000)
    machine.proc.process(102, 101, b"its-child", start=9_100)
    machine.proc.process(103, 100, b"ours", start=9_200)
    for _ in range(3):
        row = machine.collect(collector)
        assert row['proctree_processes{tree="job"}'] == 2
    assert 'proctree_process_threads{comm="ours", pid="103", tree="job"}' in row


def test_our_own_processes_are_in_no_tree(machine: Machine) -> None:
    """Not by their name, and not by their parent."""
    machine.proc.process(10, 1, b"python")
    machine.proc.process(11, 10, b"python")
    machine.proc.process(100, 10, b"python")
    machine.own = [10, 11]
    assert Finder(machine, Watch("t", "comm", "python")).trees(5) == {"t": [100]}


def test_an_orphan_of_the_command_that_our_supervisor_adopts_stays_in_its_tree(machine: Machine) -> None:
    """As PID 1 of a container, say; a new worker of ours, which has the same parent, is none."""
    machine.own = [10]
    machine.proc.process(10, 1, b"prom-probe")
    machine.proc.process(100, 10)
    finder = Finder(machine, Watch("job", "pid", "100"))
    finder.trees()
    machine.proc.process(101, 10, b"orphan")
    machine.proc.process(11, 10, b"worker")
    assert finder.trees() == {"job": [100]}
    machine.own = [10, 11]
    assert finder.trees() == {"job": [100, 101]}


def test_an_orphan_that_has_executed_its_program_is_in_the_tree_at_once(machine: Machine) -> None:
    """A worker of ours has our stack; a daemon by double fork has its own, and may live for a second only."""
    machine.own = [10]
    machine.proc.process(10, 1, b"prom-probe", stack=1000)
    machine.proc.process(100, 10, stack=2000)
    finder = Finder(machine, Watch("job", "pid", "100"))
    finder.trees()
    machine.proc.process(101, 10, b"daemon", stack=3000)
    machine.proc.process(102, 10, b"forked", stack=2000)
    machine.proc.process(11, 10, b"worker", stack=1000)
    assert finder.trees(4) == {"job": [100, 101, 102]}


@pytest.mark.parametrize("mount", ["", "unified/", "systemd/", "memory/"])
def test_a_cgroup_that_is_made_anew_is_in_the_tree_in_the_next_second(machine: Machine, mount: str) -> None:
    """Also one below it; what is gone leaves, whatever the moment since the last search."""
    machine.cgroup(f"{mount}app", 100)
    for pid in (100, 101, 102, 103):
        machine.proc.process(pid)
    finder = Finder(machine, Watch("t", "cgroup", "/app"))
    for waited in range(1, 12):
        machine.cgroup(f"{mount}app", 100)
        assert 100 in finder.trees(waited)["t"]
        shutil.rmtree(machine.cgroupfs / mount / "app")
        finder.roster.forget(100)
        finder.trees(waited)
        machine.cgroup(f"{mount}app", 101)
        assert 101 in finder.trees()["t"]
        machine.cgroup(f"{mount}app/below", 102)
        assert 102 in finder.trees()["t"]
        shutil.rmtree(machine.cgroupfs / mount / "app" / "below")
        machine.cgroup(f"{mount}app/other", 103)
        for pid in (101, 102):
            finder.roster.forget(pid)
        assert 103 in finder.trees()["t"]
        finder.roster.forget(103)
        shutil.rmtree(machine.cgroupfs / mount / "app")
        finder.trees()


@pytest.mark.parametrize("mount", ["", "unified/", "systemd/", "memory/"])
def test_a_cgroup_watch_takes_the_cgroup_and_those_below(machine: Machine, mount: str) -> None:
    """Whatever hierarchy shows it; processes come and go, cgroups too."""
    for pid in (100, 101, 102, 103):
        machine.proc.process(pid)
    machine.cgroup(f"{mount}app", 100, 0)
    machine.cgroup(f"{mount}app/inner", 101)
    finder = Finder(machine, Watch("t", "cgroup", "/app"))
    assert finder.trees() == {"t": [100, 101]}
    machine.cgroup(f"{mount}app", 100, 102)
    assert finder.trees() == {"t": [100, 101, 102]}
    machine.cgroup(f"{mount}app/new", 103)
    assert finder.trees(10) == {"t": [100, 101, 102, 103]}


def test_a_cgroup_may_be_named_with_its_mount_point(machine: Machine) -> None:
    """As a shell completes it."""
    machine.proc.process(100)
    machine.cgroup("app", 100)
    assert Finder(machine, Watch("t", "cgroup", f"{machine.cgroupfs}/app/")).trees() == {"t": [100]}


def test_a_missing_cgroup_is_said_once_and_found_later(machine: Machine) -> None:
    """A unit that is started later, and restarted."""
    machine.proc.process(100)
    finder = Finder(machine, Watch("t", "cgroup", "app"))
    assert finder.trees(25) == {}
    assert [level for level, _ in machine.log] == ["warn"]
    assert "'app'" in machine.log[0][1]
    machine.cgroup("app", 100)
    assert finder.trees(10) == {"t": [100]}


@pytest.mark.parametrize(
    ("watch", "what"),
    [
        (Watch("t", "comm", "("), "watch 't': '(' is not a regex"),
        (Watch("t", "cmdline", "*"), "watch 't': '*' is not a regex"),
        (Watch("t", "pid", "12x"), "watch 't': '12x' is not a process ID"),
    ],
)
def test_a_watch_that_cannot_be_is_refused(machine: Machine, watch: Watch, what: str) -> None:
    """With the watch and the text."""
    with pytest.raises(ValueError, match=what.replace("(", r"\(").replace("*", r"\*")):
        machine.make(ProcessCollector, watch)


A, B, C, OURS, PAUSE = (f"0::/../{name}\n" for name in ("aaa", "bbb", "ccc", "../self", "pause"))
CONTAINERS = Watch("", "containers")


@pytest.fixture
def pod(machine: Machine) -> Machine:
    """A pod with a shared PID namespace: two containers, our own, and the pause process."""
    machine.proc.process(1, 0, b"pause", cgroup=PAUSE)
    machine.proc.process(7, 0, b"nginx", cgroup=A, start=200)
    machine.proc.process(8, 7, b"nginx", cgroup=A, start=201)
    machine.proc.process(20, 0, b"python", cgroup=B, start=300)
    machine.proc.process(30, 0, b"prom-probe", cgroup="0::/\n", start=400)
    machine.proc.process(31, 30, b"prom-probe", cgroup="0::/\n", start=401)
    machine.proc.self_cgroup("0::/\n")
    machine.own = [30, 31]
    return machine


def test_each_container_is_a_tree_but_our_own_and_the_pause(pod: Machine) -> None:
    """Named by its main command."""
    assert Finder(pod, CONTAINERS).trees() == {"nginx": [7, 8], "python": [20]}


def test_what_is_started_in_a_container_from_outside_is_in_its_tree(pod: Machine) -> None:
    """`kubectl exec` starts a process without a parent; in our own container it is in no tree."""
    finder = Finder(pod, CONTAINERS)
    finder.trees()
    pod.proc.process(40, 0, b"bash", cgroup=A)
    pod.proc.process(41, 0, b"bash", cgroup="0::/\n")
    assert finder.trees(5) == {"nginx": [7, 8, 40], "python": [20]}


def test_an_orphan_is_in_the_tree_of_its_cgroup(pod: Machine) -> None:
    """Its parent died before it was seen, and the pause process adopted it."""
    finder = Finder(pod, CONTAINERS)
    finder.trees()
    pod.proc.process(42, 1, b"daemon", cgroup=B)
    pod.proc.process(43, 1, b"stray", cgroup=C)
    assert finder.trees() == {"nginx": [7, 8], "python": [20, 42]}


def test_an_orphan_that_is_met_before_its_main_process_is_in_its_tree(pod: Machine) -> None:
    """The PIDs have come round: a sidecar that starts late finds it first."""
    pod.proc.process(2, 1, b"daemon", cgroup=A, start=900)
    assert Finder(pod, CONTAINERS).trees() == {"nginx": [2, 7, 8], "python": [20]}


def test_a_container_is_named_by_its_oldest_process(pod: Machine) -> None:
    """Not by a shell that was started in it from outside and is met first."""
    pod.proc.process(2, 0, b"bash", cgroup=A, start=900)
    assert Finder(pod, CONTAINERS).trees() == {"nginx": [2, 7, 8], "python": [20]}


def test_numbers_go_by_age(pod: Machine) -> None:
    """Whichever container is met first, also after a restart of ours."""
    pod.proc.process(2, 0, b"python", cgroup=C, start=900)
    assert Finder(pod, CONTAINERS).trees() == {"nginx": [7, 8], "python": [20], "python-2": [2]}


def test_a_cgroup_without_a_main_process_may_get_one(pod: Machine) -> None:
    """It is not looked for again with each stray, but it is with the process that came."""
    pod.proc.process(43, 1, b"stray", cgroup=C)
    finder = Finder(pod, CONTAINERS)
    assert finder.trees() == {"nginx": [7, 8], "python": [20]}
    pod.proc.process(50, 0, b"redis", cgroup=C, start=900)
    assert finder.trees(20) == {"nginx": [7, 8], "python": [20], "redis": [43, 50]}


def test_equal_names_are_numbered_and_a_restart_gets_its_name_back(pod: Machine) -> None:
    """Containers of the same command."""
    finder = Finder(pod, CONTAINERS)
    finder.trees()
    pod.proc.process(50, 0, b"python", cgroup=C)
    assert finder.trees() == {"nginx": [7, 8], "python": [20], "python-2": [50]}
    pod.proc.end(20)
    pod.proc.process(60, 0, b"python", cgroup="0::/../ddd\n")
    assert finder.trees() == {"nginx": [7, 8], "python": [60], "python-2": [50]}


def test_a_container_is_named_when_it_runs_its_own_program(pod: Machine) -> None:
    """Before, its main process is the runtime's; a long name is completed from the arguments."""
    finder = Finder(pod, CONTAINERS)
    finder.trees()
    pod.proc.process(50, 0, b"runc:[2:INIT]", cgroup=C)
    assert finder.trees() == {"nginx": [7, 8], "python": [20]}
    pod.proc.process(50, 0, b"a-quite-long-na", cmdline="/bin/a-quite-long-name --x", cgroup=C)
    assert finder.trees()["a-quite-long-name"] == [50]


def test_without_cgroups_to_tell_them_apart_lineage_does(machine: Machine) -> None:
    """A runtime that shows the same cgroup everywhere."""
    machine.proc.process(1, 0, b"pause")
    machine.proc.process(7, 0, b"nginx")
    machine.proc.process(8, 7, b"nginx")
    machine.proc.process(30, 0, b"prom-probe")
    machine.proc.self_cgroup("0::/\n")
    machine.own = [30]
    finder = Finder(machine, CONTAINERS)
    assert finder.trees() == {"nginx": [7, 8]}
    machine.proc.end(7)
    machine.proc.end(8)
    machine.proc.process(9, 0, b"nginx")
    assert finder.trees() == {"nginx": [9]}


def test_a_gone_container_keeps_its_counters_for_a_while(pod: Machine) -> None:
    """Then its series end, so that restarts under ever new names do not pile up."""
    collector = pod.make(ProcessCollector, CONTAINERS, hold_s=120.0)
    pod.collect(collector)
    pod.proc.end(20)
    held = 'proctree_cpu_seconds_total{mode="user", tree="python"}'
    assert held in pod.collect(collector, 100)
    assert held not in pod.collect(collector, 30)
    assert 'proctree_processes{tree="nginx"}' in pod.collect(collector)


def test_a_thousand_processes_are_looked_at_once(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later collection reads what is new, and a few others in turn."""
    machine.proc.process(100)
    for pid in range(30_000, 31_000):
        (machine.proc.root / str(pid)).mkdir()
        (machine.proc.root / str(pid) / "stat").write_bytes(stat_line(pid, b"x", 1, {}))
    finder = Finder(machine, Watch("job", "pid", "100"))
    looked: list[int] = []
    look = finder.roster._look

    def spy(pid: int, again: bool) -> Candidate | None:
        looked.append(pid)
        return look(pid, again)

    monkeypatch.setattr(finder.roster, "_look", spy)
    assert finder.trees() == {"job": [100]}
    assert len(looked) == len(set(looked)) > 1000
    looked.clear()
    machine.proc.process(20000, 100)
    assert finder.trees(3) == {"job": [100, 20000]}
    assert len(looked) < 20
