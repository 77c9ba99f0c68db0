"""The parsers of kernel files: what each gives for real text, and one clear error for anything else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prom_probe.sources.block_stat import parse_block_stat
from prom_probe.sources.cgroup_procs import parse_cgroup_procs
from prom_probe.sources.cpu_limit import parse_cpu_cfs, parse_cpu_max
from prom_probe.sources.cpufreq import parse_cpufreq
from prom_probe.sources.errors import ParseError
from prom_probe.sources.filesystems import parse_filesystems
from prom_probe.sources.hwmon import parse_temperature
from prom_probe.sources.proc_loadavg import parse_last_pid, parse_proc_loadavg
from prom_probe.sources.proc_meminfo import parse_proc_meminfo
from prom_probe.sources.proc_net_dev import parse_proc_net_dev
from prom_probe.sources.proc_pid_cgroup import parse_proc_pid_cgroup
from prom_probe.sources.proc_pid_cmdline import parse_proc_pid_cmdline
from prom_probe.sources.proc_pid_io import parse_proc_pid_io
from prom_probe.sources.proc_pid_limits import parse_max_fds
from prom_probe.sources.proc_pid_schedstat import parse_proc_pid_schedstat
from prom_probe.sources.proc_pid_smaps_rollup import parse_smaps_rollup
from prom_probe.sources.proc_pid_stat import parse_is_thread, parse_proc_pid_stat
from prom_probe.sources.proc_pid_statm import parse_proc_pid_statm
from prom_probe.sources.proc_pid_status import parse_proc_pid_status, parse_task_status
from prom_probe.sources.proc_pressure import parse_pressure
from prom_probe.sources.proc_sockstat import parse_proc_sockstat, parse_proc_sockstat6
from prom_probe.sources.proc_stat import parse_proc_stat
from prom_probe.sources.proc_sys import parse_file_nr, parse_sysctl
from prom_probe.sources.proc_vmstat import parse_proc_vmstat
from tests.support.fake_proc import IO, LIMITS, ROLLUP, STATUS, stat_line

NET_DEV = b"""Inter-|   Receive                                       |  Transmit
 face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls carrier compressed
    lo:    3193      29    0    0    0     0      0         0     3193      29    0    0    0     0       0      0
eth0:1: 91826680   2294    3    4    0     0      0         0   147108    1342    5    6    0     0       0      0
"""
STAT = b"""cpu  2717 1 1901 146229 301 2 58 9 7 0
cpu0 1117 0 895 73485 99 0 8 2 0 0
intr 176536 0 14 0
ctxt 354521
btime 1795457014
processes 5365
procs_running 1
procs_blocked 2
softirq 129425 0 12540
"""
MEMINFO = b"""MemTotal:       24684092 kB
MemFree:        24363764 kB
SwapCached:            8 kB
Cached:            61692 kB
HugePages_Total:       0
"""

VMSTAT = b"nr_free_pages 5995310\nnr_pgpgin 7\npgpgin 1233\npgpgout 17\npgfault 99\n"
SOCKSTAT = b"""sockets: used 412
TCP: inuse 21 orphan 1 tw 7 alloc 44 mem 12
UDP: inuse 5 mem 3
UDPLITE: inuse 0
"""
SOCKSTAT6 = b"TCP6: inuse 9\nUDP6: inuse 2\nRAW6: inuse 1\n"
MOUNTINFO = b"""21 28 0:20 / /proc rw - proc proc rw
30 28 254:0 /docker/hosts /etc/hosts rw - ext4 /dev/vda rw
31 28 254:0 /a /longer rw - ext4 /dev/vda rw
28 27 254:0 / /data\\040x rw,relatime shared:1 - ext4 /dev/vda ro,discard
25 24 0:23 / /dev/shm rw,relatime - tmpfs tmpfs rw
26 25 0:24 / /dev/shm ro,relatime - tmpfs other rw
27 1 0:50 / / rw - overlay overlay rw,lowerdir=/l
32 27 0:51 / /var/lib/docker/overlay2/x/merged rw - overlay overlay rw
34 27 0:53 / /snap/core/7713 rw - fuse.snapfuse snapfuse ro
33 27 0:52 / /bad\xff rw master:2 - fuse.sshfs me@there: rw
"""


def meminfo(data: bytes) -> list[int | None]:
    return parse_proc_meminfo(data, (b"MemTotal:", b"Cached:", b"SwapTotal:"))


def meminfo_in_order(data: bytes) -> list[int | None]:
    return parse_proc_meminfo(data, (b"MemTotal:", b"MemFree:", b"Cached:"))


def vmstat(data: bytes) -> list[int | None]:
    return parse_proc_vmstat(data, (b"pgfault", b"pgpgin", b"oom_kill"))


def policy(data: bytes) -> object:
    return parse_cpufreq(b"0 1\n", data, b"4200000\n")


COMMS = [
    b"app",
    b"",
    b"a b",
    b"a) R 1 2 3",
    b"((sd-pam))",
    b"line\nbreak",
    b"\xff\xfe)",
    b"tab\there",
]


@pytest.mark.parametrize("comm", COMMS)
def test_a_command_name_of_any_bytes_does_not_shift_the_fields(comm: bytes) -> None:
    """The name ends at the last closing parenthesis."""
    fields = {"utime": 11, "stime": 12, "cutime": 13, "cstime": 14, "minflt": 15, "cminflt": 16, "threads": 17}
    stat = parse_proc_pid_stat(stat_line(7, comm, 3, fields | {"start": 99}, "R"))
    assert stat.comm == comm
    assert (stat.state, stat.ppid, stat.num_threads, stat.starttime) == (b"R", 3, 17, 99)
    assert (stat.utime, stat.stime, stat.cutime, stat.cstime, stat.minflt, stat.cminflt) == (11, 12, 13, 14, 15, 16)


@pytest.mark.parametrize(("signal", "thread"), [(17, False), (0, False), (-1, True)])
def test_a_thread_is_told_from_a_process_by_its_exit_signal(signal: int, thread: bool) -> None:
    """/proc/TID/stat can be read although /proc does not list it."""
    assert parse_is_thread(stat_line(7, b"a) b", 3, {"exit_signal": signal})) is thread


STATUS_TEXT = STATUS.format(
    state="S", pid=7, peak=1792, shmem=8, swap=16, voluntary=12345678901, nonvoluntary=7
).encode()

GOOD: list[tuple[Callable[[bytes], object], bytes, object]] = [
    (parse_proc_pid_statm, b"4364 2444 1234 1 0 900 0\n", (4364, 2444, 1234)),
    (parse_proc_pid_status, STATUS_TEXT, (1792, 8, 16)),
    (parse_proc_pid_status, b"Name:\tz\nState:\tZ (zombie)\nThreads:\t1\n", (None, None, None)),
    (parse_task_status, STATUS_TEXT, (b"S", 12345678901, 7)),
    (parse_proc_pid_schedstat, b"297183 4000000000 1\n", 4_000_000_000),
    (parse_max_fds, LIMITS.format(max_fds=20000).encode(), 20000),
    (parse_max_fds, LIMITS.format(max_fds="unlimited").encode(), None),
    (parse_smaps_rollup, ROLLUP.format(pss=268, clean=40, dirty=112).encode(), (268, 152)),
    (parse_proc_pid_io, IO.format(read=4096, write=8192).encode(), (4096, 8192)),
    (parse_proc_pid_cmdline, b"", []),
    (parse_proc_pid_cmdline, b"sh\0-c\0echo \xff\0", ["sh", "-c", "echo \\xff"]),
    (parse_proc_pid_cgroup, b"0::/user.slice\n", [((), "/user.slice")]),
    (
        parse_proc_pid_cgroup,
        b"9:name=systemd:/\n2:cpu,cpuacct:/a:b\n0::/..\n",
        [(("name=systemd",), "/"), (("cpu", "cpuacct"), "/a:b"), ((), "/..")],
    ),
    (parse_proc_loadavg, b"0.10 1.20 12.30 1/74 5365\n", (0.1, 1.2, 12.3, 74)),
    (parse_proc_loadavg, b"0.10 1.20 12.30 1/74 5365 new\n", (0.1, 1.2, 12.3, 74)),
    (parse_last_pid, b"0.10 1.20 12.30 1/74 5365\n", 5365),
    (parse_cgroup_procs, b"1\n0\n77\n", [1, 0, 77]),
    (parse_cgroup_procs, b"", []),
    (parse_cpu_max, b"max 100000\n", None),
    (parse_cpu_max, b"150000 100000\n", 1.5),
    (parse_cpu_max, b"max 100000 0\n", None),  # kata-containers/cgroups-rs#151
    (parse_cpu_max, b"150000 100000 0\n", 1.5),
    (meminfo, MEMINFO, [24684092, 61692, None]),
    (meminfo_in_order, MEMINFO, [24684092, 24363764, 61692]),
    (vmstat, VMSTAT, [99, 1233, None]),
    (parse_proc_sockstat, SOCKSTAT, (412, 21, 1, 7, 44, 12, 5, 3)),
    (parse_proc_sockstat6, SOCKSTAT6, (9, 2)),
    (parse_sysctl, b"256\n", 256),
    (parse_file_nr, b"5312\t12\t2466170\n", (5300, 2466170)),
    (parse_file_nr, b"5312\t0\t9223372036854775807\n", (5312, None)),
    (parse_file_nr, b"5312\t0\t18446744073709551615\t1\n", (5312, None)),
    (parse_temperature, b"-5500\n", -5500),
    (policy, b"1800000\n", (2, 1800000, 4200000)),
    (
        parse_filesystems,
        MOUNTINFO,
        [
            ("/dev/vda", "ext4", "/data x", "/data x", True),
            ("other", "tmpfs", "/dev/shm", "/dev/shm", True),
            ("overlay", "overlay", "/", "/", False),
            ("me@there:", "fuse.sshfs", "/bad\\xff", "/bad\udcff", False),
        ],
    ),
    (parse_filesystems, b"", []),
    (
        parse_proc_net_dev,
        NET_DEV,
        {"lo": [3193, 29, 0, 0, 3193, 29, 0, 0], "eth0:1": [91826680, 2294, 3, 4, 147108, 1342, 5, 6]},
    ),
    (
        parse_proc_stat,
        STAT,
        ((2717, 1, 1901, 146229, 301, 2, 58, 9), 176536, 354521, 1795457014, 5365, 1, 2),
    ),
    (parse_pressure, b"some avg10=0.00 avg60=0.00 avg300=0.00 total=123\n", (123, None)),
    (
        parse_pressure,
        b"some avg10=0.00 avg60=0.00 avg300=0.00 total=123\nfull avg10=1.00 avg60=0.00 avg300=0.00 total=45\n",
        (123, 45),
    ),
    (parse_block_stat, b" 1 2 3 4 5 6 7 8 9 10 11\n", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
    (parse_block_stat, b" 1 2 3 4 5 6 7 8 4294967295 10 11\n", [1, 2, 3, 4, 5, 6, 7, 8, None, 10, 11]),
]


@pytest.mark.parametrize(("parse", "text", "expected"), GOOD)
def test_a_parser_reads_what_the_kernel_writes(parse: Callable[[bytes], object], text: bytes, expected: object) -> None:
    """Text as kernels give it, and the record in raw units."""
    assert parse(text) == expected


@pytest.mark.parametrize(("quota", "period", "cpus"), [(b"-1\n", b"100000\n", None), (b"50000\n", b"100000\n", 0.5)])
def test_a_quota_of_version_1_is_none_or_a_number_of_cpus(quota: bytes, period: bytes, cpus: float | None) -> None:
    """-1 stands for no limit."""
    assert parse_cpu_cfs(quota, period) == cpus


BAD: list[tuple[Callable[[bytes], object], bytes]] = [
    (parse_proc_pid_stat, b""),
    (parse_proc_pid_stat, b"7 (app) S 1 2 3\n"),
    (parse_proc_pid_stat, b"7 app S 1\n"),
    (parse_is_thread, b"7 (app) S 1 2 3\n"),
    (parse_proc_pid_statm, b"1\n"),
    (parse_proc_pid_schedstat, b"1 2\n"),
    (parse_proc_pid_schedstat, b"1 x 3\n"),
    (parse_max_fds, b"Limit\n"),
    (parse_max_fds, LIMITS.format(max_fds="few").encode()),
    (parse_proc_pid_io, b"rchar: 1\n"),
    (parse_proc_pid_cgroup, b"nonsense\n"),
    (parse_proc_loadavg, b"0.10 1.20\n"),
    (parse_last_pid, b"0.10 1.20 12.30 1/74"),
    (parse_last_pid, b""),
    (parse_cgroup_procs, b"12 x\n"),
    (parse_cpu_max, b"max\n"),
    (parse_cpu_max, b"1 0\n"),
    (meminfo, b"MemTotal: x kB\n"),
    (vmstat, b"nr_free_pages 5995310\npgfault x\n"),
    (vmstat, b""),
    (parse_proc_sockstat6, b""),
    (parse_sysctl, b""),
    (parse_file_nr, b"1 2\n"),
    (parse_temperature, b"hot\n"),
    (policy, b"<unknown>\n"),
    (parse_proc_net_dev, b"a\nb\nlo: 1 2\n"),
    (parse_proc_net_dev, b""),
    (parse_proc_stat, b"cpu  1 2 3\n"),
    (parse_pressure, b""),
    (parse_block_stat, b"1 2\n"),
]


@pytest.mark.parametrize(("parse", "text"), BAD)
def test_an_error_names_the_file_and_the_text(parse: Callable[[bytes], object], text: bytes) -> None:
    """A truncated or foreign text is the source's fault, and said so."""
    with pytest.raises(ParseError) as caught:
        parse(text)
    assert caught.value.source in str(caught.value)
    assert caught.value.text in text or parse is policy


def test_a_long_text_is_cut_in_an_error() -> None:
    """A page of nonsense does not fill the log."""
    with pytest.raises(ParseError) as caught:
        parse_proc_pid_statm(b"x" * 10_000)
    assert len(str(caught.value)) < 300


@given(st.sampled_from([good[:2] for good in GOOD]), st.data())
@settings(max_examples=150)
def test_a_damaged_text_gives_a_record_or_the_error(
    case: tuple[Callable[[bytes], object], bytes], data: st.DataObject
) -> None:
    """No cut, exchanged or strange byte leads to another exception."""
    parse, text = case
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    damaged = text[:start] + data.draw(st.binary(max_size=8)) + text[end:]
    try:
        parse(damaged)
    except ParseError:
        pass
