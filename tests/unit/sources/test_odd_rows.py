"""One odd row costs that row: every parser, with rubbish, doubled, cut and unknown rows, and numbers out of range."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from prom_probe import sources
from prom_probe.sources.cgroup_files import parse_blkio, parse_flat_keyed, parse_io_stat
from prom_probe.sources.cgroup_procs import parse_cgroup_procs
from prom_probe.sources.cpu_list import parse_cpus_allowed
from prom_probe.sources.drm_fdinfo import parse_drm_client
from prom_probe.sources.errors import ParseError
from prom_probe.sources.filesystems import parse_filesystems
from prom_probe.sources.kfd import parse_kfd_properties
from prom_probe.sources.mountinfo import parse_mountinfo, parse_mounts
from prom_probe.sources.proc_meminfo import parse_proc_meminfo
from prom_probe.sources.proc_mount import parse_proc_options
from prom_probe.sources.proc_net_dev import parse_proc_net_dev
from prom_probe.sources.proc_pid_cgroup import parse_proc_pid_cgroup
from prom_probe.sources.proc_pid_credentials import parse_proc_pid_credentials
from prom_probe.sources.proc_pid_io import parse_proc_pid_io
from prom_probe.sources.proc_pid_limits import parse_max_fds
from prom_probe.sources.proc_pid_smaps_rollup import parse_smaps_rollup
from prom_probe.sources.proc_pid_status import parse_proc_pid_status, parse_task_status
from prom_probe.sources.proc_pressure import parse_pressure
from prom_probe.sources.proc_sockstat import parse_proc_sockstat, parse_proc_sockstat6
from prom_probe.sources.proc_stat import parse_proc_stat
from prom_probe.sources.proc_vmstat import parse_proc_vmstat
from prom_probe.sources.text import UNSIGNED, fields, number, rows

Values = dict[str, object]

STATUS = (
    b"Name:\ta\\nb\nState:\tS (sleeping)\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nVmHWM:\t    1792 kB\nRssShmem:\t   8 kB\n"
    b"VmSwap:\t  16 kB\nCapPrm:\t00000000000000ff\nCapEff:\t000000000000000f\nCpus_allowed_list:\t0-3,8\n"
    b"voluntary_ctxt_switches:\t12345678901\nnonvoluntary_ctxt_switches:\t7\n"
)
MOUNTINFO = (
    b"22 1 254:1 / / rw,relatime - ext4 /dev/vda1 rw\n23 22 0:5 / /proc rw - proc proc rw,hidepid=2\n"
    b"24 22 0:6 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n"
    b"25 24 0:7 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
    b"26 22 254:2 / /Volumes/Icon\r rw shared:1 - xfs /dev/vdb rw\n27 22 254:3 / /a\\040b\\134c ro - xfs /dev/vdc rw\n"
)
NET_DEV = (
    b"Inter-|   Receive                    |  Transmit\n face |bytes packets errs|bytes packets errs\n"
    b"    lo: 3193      29    0    0    0     0      0         0     3193      29    0    0    0     0       0      0\n"
    b"eth0:1: 91826680 2294 3    4    0     0      0         0   147108    1342    5    6    0     0       0      0\n"
    b"  eth1: 1        2    3    4    0     0      0         0        5       6    7    8    0     0       0      0\n"
)


class Parser(NamedTuple):
    """A parser, a text, how to take its values apart by the rows that they come from, and rows that stand for all."""

    parse: Callable[..., Any]
    text: bytes
    values: Callable[[Any], Values]
    # Beginnings of rows without which there is nothing at all.
    needed: tuple[bytes, ...] = ()
    extra: bytes = b" "  # what parts a further column from the others; b"" where a row has no columns


def by_key(record: Any) -> Values:
    return {str(key): value for key, value in record.items()}


def by_field(*names: str) -> Callable[[Any], Values]:
    return lambda record: dict(zip(names, record, strict=True))


def by_device(record: Any) -> Values:
    return {f"{device} {key}": count for device, counts in record.items() for key, count in counts.items()}


def by_point(record: Any) -> Values:
    return {str(mount.point): mount for mount in record}


PARSERS = {
    "flat_keyed": Parser(
        partial(parse_flat_keyed, source="memory.stat"),
        b"anon 1\nfile 22\nkernel 333\nslab 18446744073709551615\n",
        by_key,
    ),
    "io_stat": Parser(
        parse_io_stat,
        b"8:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0 cost.vrate=100.00\n8:16 rbytes=1 wbytes=2\n"
        b"7:7 7:6 7:5 rbytes=3 wbytes=4 rios=5 wios=6 dbytes=7 dios=8\n",
        by_device,
        extra=b" new=",
    ),
    "blkio": Parser(parse_blkio, b"8:0 Read 1\n8:0 Write 2\n8:0 Total 3\n8:16 Read 4\nTotal 3\n", by_device, extra=b""),
    "cgroup_procs": Parser(
        parse_cgroup_procs, b"1\n0\n7700\n", lambda pids: {str(pid): True for pid in pids}, extra=b""
    ),
    "cpus_allowed": Parser(parse_cpus_allowed, STATUS, lambda cpus: {"cpus": cpus}, (b"Cpus_allowed_list",), b""),
    "drm_client": Parser(
        parse_drm_client,
        b"pos:\t0\ndrm-driver:\tamdgpu\ndrm-client-id:\t30\ndrm-pdev:\t0000:03:00.0\ndrm-memory-vram:\t2 MiB\n"
        b"drm-engine-gfx:\t50 ns\ndrm-engine-capacity-gfx:\t1\ndrm-cycles-rcs:\t5\ndrm-total-cycles-rcs:\t9\n"
        b"drm-total-gtt:\t3 KiB\ndrm-resident-gtt:\t4\n",
        lambda client: {} if client is None else by_field(*client._fields)(client),
        (b"drm-client-id",),
        b"",
    ),
    "filesystems": Parser(
        parse_filesystems, MOUNTINFO, lambda mounts: {mount.path: mount for mount in mounts}, extra=b","
    ),
    "kfd_properties": Parser(
        parse_kfd_properties, b"cpu_cores_count 8\ndomain 0\nlocation_id 768\n", by_key, extra=b""
    ),
    "mountinfo": Parser(parse_mountinfo, MOUNTINFO, by_point, extra=b""),
    "mounts": Parser(parse_mounts, MOUNTINFO, by_point, extra=b""),
    "proc_options": Parser(partial(parse_proc_options, procfs="/proc"), MOUNTINFO, by_key, extra=b","),
    "proc_meminfo": Parser(
        partial(parse_proc_meminfo, keys=(b"MemTotal:", b"Cached:", b"MemFree:")),
        b"MemTotal:       24684092 kB\nMemFree:        24363764 kB\nSwapCached:            8 kB\n"
        b"Cached:            61692 kB\nHugePages_Total:       0\n",
        by_field("MemTotal", "Cached", "MemFree"),
        extra=b"",
    ),
    "proc_net_dev": Parser(parse_proc_net_dev, NET_DEV, by_key),
    "proc_pid_cgroup": Parser(
        parse_proc_pid_cgroup,
        "9:name=systemd:/\n2:cpu,cpuacct:/a:b\n0::/Icon\r/\x0b/\x1c/\x85/\u2028x\n".encode(),
        lambda memberships: {",".join(each.controllers): each for each in memberships},
        extra=b"",
    ),
    "proc_pid_credentials": Parser(
        parse_proc_pid_credentials,
        STATUS,
        by_field("uids", "gids", "permitted", "effective"),
        (b"Uid", b"Gid", b"CapPrm", b"CapEff"),
        b"",
    ),
    "proc_pid_io": Parser(
        parse_proc_pid_io,
        b"rchar: 1000\nwchar: 2000\nsyscr: 10\nread_bytes: 4096\nwrite_bytes: 8192\ncancelled_write_bytes: 0\n",
        by_field("read_bytes", "write_bytes"),
        extra=b"",
    ),
    "max_fds": Parser(
        parse_max_fds,
        b"Limit                     Soft Limit           Hard Limit           Units\n"
        b"Max cpu time              unlimited            unlimited            seconds\n"
        b"Max open files            1024                 524288               files\n",
        lambda most: {"Max open files": most},
        (b"Max open files",),
    ),
    "smaps_rollup": Parser(
        parse_smaps_rollup,
        b"00400000-7fff0000 ---p 00000000 00:00 0  [rollup]\nRss:  1 kB\nPss:  268 kB\nPss_Dirty:  1 kB\n"
        b"Private_Clean:  40 kB\nPrivate_Dirty:  112 kB\n",
        by_field("Pss", "Private"),
        extra=b"",
    ),
    "proc_pid_status": Parser(parse_proc_pid_status, STATUS, by_field("VmHWM", "RssShmem", "VmSwap"), extra=b""),
    "task_status": Parser(
        parse_task_status,
        STATUS,
        by_field("State", "voluntary_ctxt_switches", "nonvoluntary_ctxt_switches"),
        (b"State",),
        b"",
    ),
    "pressure": Parser(
        parse_pressure,
        b"some avg10=0.00 avg60=0.00 avg300=0.00 total=123\nfull avg10=1.00 avg60=0.00 avg300=0.00 total=45\n",
        by_field("some", "full"),
        extra=b"",
    ),
    "proc_sockstat": Parser(
        parse_proc_sockstat,
        b"sockets: used 412\nTCP: inuse 21 orphan 1 tw 7 alloc 44 mem 12\nUDP: inuse 5 mem 3\nUDPLITE: inuse 0\n",
        by_field("sockets", "TCP", "TCP1", "TCP2", "TCP3", "TCP4", "UDP", "UDP1"),
        extra=b" new ",
    ),
    "proc_sockstat6": Parser(
        parse_proc_sockstat6, b"TCP6: inuse 9\nUDP6: inuse 2\nRAW6: inuse 1\n", by_field("TCP6", "UDP6"), extra=b" new "
    ),
    "proc_stat": Parser(
        parse_proc_stat,
        b"cpu  2717 1 1901 146229 301 2 58 9 7 0\ncpu0 1117 0 895 73485 99 0 8 2 0 0\nintr 176536 0 14 0\nctxt 354521\n"
        b"btime 1795457014\nprocesses 5365\nprocs_running 1\nprocs_blocked 2\nsoftirq 129425 0 12540\n",
        by_field("cpu", "intr", "ctxt", "btime", "processes", "procs_running", "procs_blocked"),
        extra=b"",
    ),
    "proc_vmstat": Parser(
        partial(parse_proc_vmstat, keys=(b"pgfault", b"pgpgin")),
        b"nr_free_pages 5995310\nnr_pgpgin 7\npgpgin 1233\npgpgout 17\npgfault 99\n",
        by_field("pgfault", "pgpgin"),
        extra=b"",
    ),
}
# Those of files that are one record, which is odd as a whole: `tests/unit/sources/test_parsers.py` has their texts.
RECORDS = {
    "block_stat", "cfs_quota", "cpu_cfs", "cpu_list", "cpu_max", "cpu_quota", "cpufreq", "endpoint", "energy",
    "file_nr", "is_thread", "last_pid", "limit", "number", "proc_loadavg", "proc_pid_cmdline", "proc_pid_schedstat",
    "proc_pid_stat", "proc_pid_statm", "sysctl", "temperature",
}  # fmt: skip


def test_every_parser_is_in_a_table() -> None:
    """A new one must say whether its file has rows."""
    found = set()
    for module in pkgutil.iter_modules(sources.__path__):
        members = inspect.getmembers(importlib.import_module(f"{sources.__name__}.{module.name}"), inspect.isfunction)
        found |= {name.removeprefix("parse_") for name, _ in members if name.startswith("parse_")}
    assert found == PARSERS.keys() | RECORDS
    assert not PARSERS.keys() & RECORDS


def test_rows_are_split_in_one_way() -> None:
    """str.splitlines and bytes.splitlines take other characters for ends of lines too."""
    for path in Path(sources.__path__[0]).glob("*.py"):
        assert "splitlines" not in path.read_text(), path


RUBBISH = [b"", b" ", b"-1", b"new_key 5", b"new:\t5 kB", b"\x80\xff", b"a=b", b": :", b"(unknown)"]


def odd_forms(row: bytes, extra: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """What may stand where a row stood: (kind, rows)."""
    yield "doubled", [row, row]
    yield "column", [row + extra + b"5" if extra else row]
    for end in range(len(row)):
        yield "cut", [row[:end]]
    for rubbish in RUBBISH:
        yield "rubbish", [rubbish]
        yield "new", [row, rubbish]


def check_other_rows(case: Parser, at: int, kind: str, instead: list[bytes]) -> None:
    """What row `at` has no part in is as it was, with other rows instead of it; with a new one beside it all is."""
    whole, texts = case.values(case.parse(case.text)), rows(case.text)
    without = case.values(case.parse(b"\n".join([*texts[:at], *texts[at + 1 :], b""])))
    found = case.values(case.parse(b"\n".join([*texts[:at], *instead, *texts[at + 1 :], b""])))
    others = {key for key in whole if key in without and without[key] == whole[key]}
    assert {key: found.get(key) for key in others} == {key: whole[key] for key in others}, (kind, instead)
    if kind in ("column", "new"):
        assert {key: found.get(key) for key in whole} == whole, (kind, instead)


def replaceable(case: Parser) -> list[int]:
    """The rows without which there are still others."""
    return [i for i, row in enumerate(rows(case.text)) if not row.startswith(case.needed or (b"\0",))]


@pytest.mark.parametrize("name", PARSERS)
def test_an_odd_row_leaves_all_other_rows_values(name: str) -> None:
    """Exchanged for rubbish, doubled, cut anywhere, with a further column, and beside a row that nobody knows."""
    case = PARSERS[name]
    for at in replaceable(case):
        for kind, instead in odd_forms(rows(case.text)[at], case.extra):
            check_other_rows(case, at, kind, instead)


@given(case=st.sampled_from(list(PARSERS.values())), rubbish=st.binary(max_size=30), data=st.data())
@settings(max_examples=200)
def test_any_bytes_for_a_row_leave_all_other_rows_values(case: Parser, rubbish: bytes, data: st.DataObject) -> None:
    """Instead of it, and beside it."""
    rubbish = rubbish.replace(b"\n", b"")
    assume(not rubbish.startswith(case.needed or (b"\0",)))
    at = data.draw(st.sampled_from(replaceable(case)))
    check_other_rows(case, at, "rubbish", [rubbish])
    check_other_rows(case, at, "new", [rows(case.text)[at], rubbish])


ODD: list[tuple[Callable[..., object], bytes, object, list[bytes]]] = [
    (
        partial(parse_flat_keyed, source="s"),
        b"a 1\nb\nc -1\nd 18446744073709551616\ne x\n",
        {b"a": 1},
        [b"b", b"c -1", b"d 18446744073709551616", b"e x"],
    ),
    (
        parse_io_stat,
        b"8:0 rbytes=x\n8:16 rbytes=1 wbytes\nrbytes=1\n8:32\n",
        {},
        [b"8:0 rbytes=x", b"8:16 rbytes=1 wbytes", b"rbytes=1"],
    ),
    (parse_io_stat, b"7:7 7:6 7:5 rbytes=1 cost.vrate=1.00\n", {"7:5": {b"rbytes": 1}}, []),
    (parse_io_stat, b"(unknown) rbytes=1 wios=2\n(unknown) rbytes=5\n", {"(unknown)": {b"rbytes": 6, b"wios": 2}}, []),
    (
        parse_blkio,
        b"(unknown) Read 1\n(unknown) Read 2\n8:0 Read -1\n8:0 Read 1 2\nTotal 9\n",
        {"(unknown)": {b"Read": 3}},
        [b"8:0 Read -1", b"8:0 Read 1 2"],
    ),
    (
        parse_mountinfo,
        b"nonsense\n31 24 0:27 /\\9 /c rw - cgroup2 c rw\n1 0 0:1 / / rw - ext4 a rw\n",
        [],
        [b"nonsense", b"31 24 0:27 /\\9 /c rw - cgroup2 c rw"],
    ),
    (parse_mountinfo, b"31 24 0-27 / /c rw - cgroup2 c rw\n", [], [b"31 24 0-27 / /c rw cgroup2 c rw"]),
    (
        parse_proc_stat,
        b"cpu 1 2 3 4 5 6 7 8\nintr x 1\nprocesses -2049562273\nctxt 5\n",
        ((1, 2, 3, 4, 5, 6, 7, 8), None, 5, None, None, None, None),
        [b"intr x 1", b"processes -2049562273"],
    ),
    (  # lxc/lxcfs#311
        parse_proc_stat,
        b"cpu  13337485 0 0 8317131874320235395 0 0 0 0 0 0\nctxt 5\n",
        (None, None, 5, None, None, None, None),
        [b"cpu  13337485 0 0 8317131874320235395 0 0 0 0 0 0"],
    ),
    (  # lxc/lxcfs#115
        partial(parse_proc_meminfo, keys=(b"SwapTotal:", b"SwapFree:")),
        b"SwapTotal:             0 kB\nSwapFree:       18446744073709551488 kB\n",
        [0, None],
        [b"SwapFree:       18446744073709551488 kB"],
    ),
    (
        partial(parse_proc_meminfo, keys=(b"SwapTotal:", b"SwapFree:")),
        b"SwapTotal:       9007199254740991 kB\nSwapFree:       9007199254740992 kB\n",
        [2**53 - 1, None],
        [b"SwapFree:       9007199254740992 kB"],
    ),
    (parse_proc_net_dev, b"Inter-|\n lo: 1 2\n", {}, [b" lo: 1 2"]),
    (
        parse_proc_net_dev,
        b"bond0: 1 2 3 18446744073709551615 0 0 0 0 5 6 -7 8 0 0 0 0\n",
        {"bond0": [1, 2, 3, None, 5, 6, None, 8]},
        [b"bond0: 1 2 3 18446744073709551615 0 0 0 0 5 6 -7 8 0 0 0 0"],
    ),
    (parse_proc_pid_io, b"read_bytes: -1\nwrite_bytes: 2\n", (None, 2), [b"read_bytes: -1"]),
    (parse_cgroup_procs, b"1\nx\n2\n", [1, 2], [b"x"]),
    (parse_pressure, b"some total=x\nfull avg10=0 total=7\n", (None, 7), [b"some total=x"]),
    (parse_pressure, b"some avg10=0 total=5 new=1\nfull avg10=0\n", (5, None), [b"full avg10=0"]),
    (parse_smaps_rollup, b"Pss: 1\nPrivate_Clean: 2 kB\nPrivate_Dirty: 3 kB\n", (None, 5), [b"Pss: 1"]),
    (
        parse_proc_sockstat6,
        b"TCP6: inuse 999999999999999999999\nUDP6: inuse 2\n",
        (None, 2),
        [b"TCP6: inuse 999999999999999999999"],
    ),
]


@pytest.mark.parametrize(("parse", "text", "expected", "odd"), ODD)
def test_odd_rows_are_told(parse: Callable[..., object], text: bytes, expected: object, odd: list[bytes]) -> None:
    """As they were read; what the kernel is known to write is not odd."""
    told: list[bytes] = []
    assert parse(text, odd=told.append) == expected
    assert told == odd


COVERED = (
    b"22 1 254:1 / / rw - ext4 /dev/vda1 rw\n"
    b"30 22 254:2 / /data/inner rw - xfs /dev/vdb rw\n"
    b"31 22 254:3 / /data rw - xfs /dev/vdc rw\n"
    b"32 31 254:4 / /data/inner2 rw - xfs /dev/vdd rw\n"
    b"33 22 254:5 / /srv rw - xfs /dev/vde rw\n"
    b"34 33 254:6 / /srv rw - xfs /dev/vdf rw\n"
    b"35 30 254:7 / /data/inner/deep rw - xfs /dev/vdg rw\n"
    b"36 22 254:8 / /database rw - xfs /dev/vdh rw\n"
)


def test_a_mount_below_a_later_one_cannot_be_seen() -> None:
    """As df: a path leads to the covering mount, whose size would be shown for the other (mount_namespaces(7))."""
    assert [mount.path for mount in parse_filesystems(COVERED)] == ["/", "/data", "/data/inner2", "/srv", "/database"]
    assert [mount.device for mount in parse_filesystems(COVERED)][3] == "/dev/vdf"


def test_a_mount_point_need_not_be_absolute() -> None:
    """As in a damaged row; nothing covers it."""
    text = COVERED + b"37 22 254:9 / docker/x rw - xfs /dev/vdi rw\n"
    assert [mount.path for mount in parse_filesystems(text)][-1] == "docker/x"


@pytest.mark.parametrize(
    "text", [b"", b"-1", b"+1", b"1_0", b" 1", b"1.0", b"9223372036854775808", b"9" * 5000, "٣".encode()]
)
def test_a_number_is_digits_in_range(text: bytes) -> None:
    """int() takes more."""
    with pytest.raises(ValueError, match=re.escape(str(text))):
        number(text)
    assert number(b"9223372036854775807") == 2**63 - 1
    assert number(b"18446744073709551615", UNSIGNED) == 2**64 - 1


def test_only_newlines_end_rows_and_only_spaces_and_tabs_part_fields() -> None:
    """Everything else may be in a name."""
    strange = "\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029\xa0".encode()
    assert rows(strange + b"\nb\n\nc") == [strange, b"b", b"", b"c"]
    assert rows(b"") == []
    assert fields(b"\ta  " + strange + b" ") == [b"a", strange]


def test_a_file_without_a_good_row_is_an_error() -> None:
    """It is no file of that kind."""
    for case in PARSERS.values():
        try:
            record = case.parse(b"\x80\n")
        except ParseError:
            continue
        assert not record or not any(value is not None for value in case.values(record).values())
