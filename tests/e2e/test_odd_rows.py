"""The real program on kernel files as people have met them: each odd row costs that row, and is counted."""

from __future__ import annotations

from pathlib import Path

from tests.support import machines
from tests.support.machines import V2
from tests.support.sidecar import Sidecar
from tests.support.waiting import wait_for

IO_STAT = "7:7 7:6 7:5 rbytes=100 wbytes=1 rios=1 wios=1\n(unknown) rbytes=20\n(unknown) rbytes=3\n8:0 rbytes=-1\n"


def test_odd_rows_of_a_machine(tmp_path: Path) -> None:
    """A mount at Icon\\r, io.stat as lxd#10052 and containerd/cgroups#393 show it, 155 KB of /proc/stat with a negative
    counter (node_exporter#1882), and 70 interfaces of which the last is hardware."""
    machine = machines.v2(tmp_path)
    (tmp_path / "cgroup/app.slice/app/io.stat").write_text(IO_STAT)
    interrupts = " 1" * 70_000
    cpus = "".join(f"cpu{number} 1 1 1 1 1 1 1 1 0 0\n" for number in range(1792))
    (machine.proc.root / "stat").write_text(
        f"cpu  100 1 1 1 1 1 1 1 0 0\n{cpus}intr 5{interrupts}\nctxt 77\nbtime 1\nprocesses -2049562273\n"
        "procs_running 3\nprocs_blocked 0\n"
    )
    numbers = " 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16"
    (machine.proc.root / "net").mkdir()
    (machine.proc.root / "net/dev").write_text(
        "Inter-|\n face |\n" + "".join(f"veth{n}:{numbers}\n" for n in range(69)) + f"eth0:{numbers}\nodd: x\n"
    )
    (tmp_path / "sys/class/net/eth0/device").mkdir(parents=True)
    mountinfo = machine.proc.root / "self/mountinfo"
    mountinfo.write_bytes(mountinfo.read_bytes() + b"40 25 0:99 / /Icon\r rw - ext4 /dev/x rw\n")
    with Sidecar("--watch=app=comm:app", flags=[*machine.flags, "--interval=100ms"]) as sidecar:
        read = wait_for("the IO", lambda: sidecar.metric("cgroup_io_read_bytes_total", tree="app"))
        wait_for("the interfaces", lambda: sidecar.metric("prom_probe_dropped_devices", kind="network") == 6)
        assert read == 123
        assert sidecar.metric("cgroup_memory_usage_bytes", tree="app") == int(V2["memory.current"])
        assert sidecar.metric("system_context_switches_total") == 77
        assert sidecar.metric("system_interrupts_total") == 5
        assert sidecar.metric("system_forks_total") is None
        assert sidecar.metric("system_network_receive_bytes_total", device="eth0") == 1
        assert sidecar.metric("system_network_receive_bytes_total", device="veth68") is None
        for source in ("proc_stat", "proc_net_dev", "io.stat"):
            assert (sidecar.metric("prom_probe_source_odd_rows_total", source=source) or 0) > 0
            assert sidecar.stderr.count(f"{source}: cannot parse this row") == 1
