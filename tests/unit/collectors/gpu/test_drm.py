"""AMD's, Intel's and other cards over trees of files."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prom_probe.collectors.base import Context
from prom_probe.collectors.gpu.collector import GpuCollector
from prom_probe.collectors.process.membership import encode_members
from prom_probe.model.watch import Watch
from prom_probe.sources.amdgpu_metrics import ENERGY_UNIT_J, parse_energy
from prom_probe.sources.drm_fdinfo import parse_drm_client
from prom_probe.sources.errors import ParseError
from prom_probe.sources.kfd import parse_kfd_properties
from tests.support.collector_harness import Machine
from tests.support.fake_gpu import FakeCards, drm_fd

AMD = {"vendor": "0x1002", "driver": "amdgpu", "address": "0000:03:00.0"}
INTEL = {"vendor": "0x8086", "driver": "xe", "address": "0000:00:02.0"}
AMD_LABELS = 'driver_version="6.8",index="0",name="Radeon Pro",pci_bus_id="0000:03:00.0",uuid="abc123",vendor="amd"'


def gpu_metrics(minor: int, at: int, energy: int) -> bytes:
    table = bytearray(at + 8 + 40)
    struct.pack_into("<HBB", table, 0, len(table), 1, minor)
    struct.pack_into("<Q", table, at, energy)
    return bytes(table)


AMD_FILES: dict[str, str | bytes | int] = {
    "device/unique_id": "abc123",
    "device/product_name": "Radeon Pro",
    "device/gpu_busy_percent": 80,
    "device/mem_busy_percent": 25,
    "device/mem_info_vram_total": 16 << 30,
    "device/mem_info_vram_used": 3 << 30,
    "device/gpu_metrics": gpu_metrics(4, 24, 65536 * 10),
    "device/hwmon/hwmon4/temp1_input": 47000,
    "device/hwmon/hwmon4/temp1_label": "edge",
    "device/hwmon/hwmon4/temp2_input": 52500,
    "device/hwmon/hwmon4/temp2_label": "junction",
    "device/hwmon/hwmon4/power1_average": 140_000_000,
    "device/hwmon/hwmon4/power1_cap": 300_000_000,
    "device/hwmon/hwmon4/freq1_input": 2_100_000_000,
    "device/hwmon/hwmon4/freq1_label": "sclk",
    "device/hwmon/hwmon4/pwm1": 51,
}


class Gpus:
    """A machine with cards, and the collector over it."""

    def __init__(self, root: Path, **trees: tuple[int, ...]) -> None:
        self.machine = Machine(root)
        self.cards = FakeCards(root / "sys")
        self.trees = trees
        module = root / "sys" / "module" / "amdgpu"
        module.mkdir(parents=True)
        (module / "version").write_text("6.8\n")

    def make(self, **settings: object) -> GpuCollector:
        context: Callable[..., Context] = self.machine.context
        return GpuCollector(
            context(
                Watch("app", "comm", "app"),
                sysfs=str(self.cards.sysfs),
                gpu_patience_s=10.0,  # a busy machine may take its time; nothing here hangs
                read_members=lambda: encode_members(
                    ((tree, pid) for tree, pids in self.trees.items() for pid in pids), self.trees
                ),
                **settings,
            )
        )

    def collect(self, collector: GpuCollector, times: int = 1) -> dict[str, float]:
        row = self.machine.collect(collector, times)
        return {series.replace(", ", ","): value for series, value in row.items()}


def test_amd(tmp_path: Path) -> None:
    """Files of one number, hwmon, and the binary table's energy."""
    gpus = Gpus(tmp_path)
    gpus.cards.card(0, **AMD, files=AMD_FILES)
    row = gpus.collect(gpus.make())
    uuid = 'uuid="abc123"'
    assert (
        row
        | {
            f"gpu_info{{{AMD_LABELS}}}": 1,
            f"gpu_up{{{uuid}}}": 1,
            f"gpu_suspended{{{uuid}}}": 0,
            f'gpu_utilization_ratio{{engine="gpu",{uuid}}}': 0.8,
            f"gpu_memory_bandwidth_utilization_ratio{{{uuid}}}": 0.25,
            f"gpu_memory_total_bytes{{{uuid}}}": 16 << 30,
            f"gpu_memory_used_bytes{{{uuid}}}": 3 << 30,
            f'gpu_temperature_celsius{{sensor="edge",{uuid}}}': 47,
            f'gpu_temperature_celsius{{sensor="junction",{uuid}}}': 52.5,
            f"gpu_power_watts{{{uuid}}}": 140,
            f"gpu_power_limit_watts{{{uuid}}}": 300,
            f"gpu_fan_speed_ratio{{{uuid}}}": 0.2,
            f'gpu_clock_hertz{{domain="sclk",{uuid}}}': 2.1e9,
            f"gpu_energy_joules_total{{{uuid}}}": 10,
        }
        == row
    )
    assert not any("errors" in series or "process" in series for series in row if "readable" not in series)


@pytest.mark.parametrize("clock", ["gt_cur_freq_mhz", "gt/gt0/rps_cur_freq_mhz", "device/tile0/gt0/freq0/cur_freq"])
def test_intel(tmp_path: Path, clock: str) -> None:
    """Of i915 and of xe."""
    gpus = Gpus(tmp_path)
    hwmon = "device/hwmon/hwmon2"
    files: dict[str, str | bytes | int] = {
        clock: 1450,
        f"{hwmon}/energy1_input": 7_500_000,
        f"{hwmon}/power1_max": 120_000_000,
    }
    gpus.cards.card(0, **INTEL, files=files)
    row = gpus.collect(gpus.make())
    uuid = 'uuid="0000:00:02.0"'
    assert row[f'gpu_clock_hertz{{domain="gt",{uuid}}}'] == 1450e6
    assert row[f"gpu_energy_joules_total{{{uuid}}}"] == 7.5
    assert row[f"gpu_power_limit_watts{{{uuid}}}"] == 120
    assert row[f"gpu_up{{{uuid}}}"] == 1


def test_a_suspended_card_is_not_woken(tmp_path: Path) -> None:
    """Nothing but its identity and its power state is read; readings come with its waking."""
    gpus = Gpus(tmp_path)
    identity = ("device/unique_id", "device/product_name")
    card = gpus.cards.card(0, **AMD, status="suspended", files={name: AMD_FILES[name] for name in identity})
    sensors = [card / name for name in AMD_FILES if name not in identity]
    for sensor in sensors:
        sensor.mkdir(parents=True)  # to read a directory is an error, which would be counted
    collector = gpus.make()
    row = gpus.collect(collector, 3)
    assert row['gpu_suspended{uuid="abc123"}'] == row['gpu_up{uuid="abc123"}'] == 1
    assert not any(series.startswith(("gpu_power", "gpu_temperature", "gpu_utilization")) for series in row)
    assert not any(series.startswith("gpu_errors") for series in row)
    for sensor in sensors:
        sensor.rmdir()
    gpus.cards.card(0, **AMD, status="active", files=AMD_FILES)
    row = gpus.collect(collector)
    assert row['gpu_suspended{uuid="abc123"}'] == 0
    assert row['gpu_power_watts{uuid="abc123"}'] == 140


def test_a_damaged_reading_costs_only_itself(tmp_path: Path) -> None:
    """It is counted, told once, and told when it is over."""
    gpus = Gpus(tmp_path)
    gpus.cards.card(0, **AMD, files=AMD_FILES | {"device/gpu_busy_percent": "garbage"})
    collector = gpus.make()
    row = gpus.collect(collector, 5)
    assert row['gpu_errors_total{call="device/gpu_busy_percent",code="PARSE"}'] == 5
    assert 'gpu_utilization_ratio{engine="gpu",uuid="abc123"}' not in row
    assert row['gpu_power_watts{uuid="abc123"}'] == 140
    assert len([line for level, line in gpus.machine.log if level == "warn"]) == 1
    gpus.cards.card(0, **AMD, files={"device/gpu_busy_percent": 50})
    row = gpus.collect(collector, 4)
    assert row['gpu_utilization_ratio{engine="gpu",uuid="abc123"}'] == 0.5
    assert [level for level, _ in gpus.machine.log] == ["warn", "info"]


def test_rocm_processes(tmp_path: Path) -> None:
    """By the topology's PCI address; summed by tree, others' left out."""
    gpus = Gpus(tmp_path, app=(100, 101), idle=(200,))
    gpus.cards.card(0, **AMD, files=AMD_FILES)
    gpus.cards.kfd(4711, domain=0, location=0x300, used={100: 1000, 101: 200, 999: 5})
    row = gpus.collect(gpus.make())
    assert row['proctree_gpu_memory_bytes{tree="app",uuid="abc123"}'] == 1200
    assert row['proctree_gpu_processes{tree="app",uuid="abc123"}'] == 2
    assert row['proctree_gpu_memory_bytes{tree="idle",uuid="abc123"}'] == 0
    assert row['gpu_process_memory_bytes{pid="101",tree="app",uuid="abc123"}'] == 200
    assert not any("999" in series for series in row)
    assert row['prom_probe_source_readable{source="gpu_processes"}'] == 1


def fdinfo(client: int, ns: int, *, device: str = "0000:03:00.0", memory: int = 1024) -> dict[str, str | int]:
    return {
        "drm_driver": "amdgpu",
        "drm_pdev": device,
        "drm_client_id": client,
        "drm_engine_gfx": f"{ns} ns",
        "drm_engine_capacity_gfx": 1,
        "drm_resident_vram": f"{memory} KiB",
        "drm_resident_gtt": "99 MiB",
    }


def test_engine_seconds_by_process_and_tree(tmp_path: Path) -> None:
    """A client counts once, whoever has it open; a value that falls is held; what ended stays counted in the tree."""
    gpus = Gpus(tmp_path, app=(100, 101))
    gpus.cards.card(0, **AMD, files=AMD_FILES)
    proc = gpus.machine.proc
    for pid in (100, 101):
        proc.process(pid, fds=0)
    drm_fd(proc.root, 100, 5, **fdinfo(1, 2_000_000_000))
    drm_fd(proc.root, 100, 6, **fdinfo(1, 2_000_000_000))  # a duplicate
    collector = gpus.make()
    process, tree = (
        'gpu_process_engine_seconds_total{engine="gfx",pid="%d",tree="app"}',
        ('proctree_gpu_engine_seconds_total{engine="gfx",tree="app"}'),
    )
    row = gpus.collect(collector)
    assert row[process % 100] == 2
    assert row[tree] == 0, "what was used before we began is no increase"
    assert row['proctree_gpu_memory_bytes{tree="app",uuid="abc123"}'] == 1 << 20
    drm_fd(proc.root, 100, 5, **fdinfo(1, 3_000_000_000))
    drm_fd(proc.root, 100, 6, **fdinfo(1, 3_000_000_000))
    assert gpus.collect(collector)[tree] == 1
    drm_fd(proc.root, 100, 5, **fdinfo(1, 1_000_000_000))
    drm_fd(proc.root, 100, 6, **fdinfo(1, 1_000_000_000))
    row = gpus.collect(collector)
    assert (row[process % 100], row[tree]) == (3, 1)
    # The child has inherited the client, and goes on alone.
    drm_fd(proc.root, 101, 5, **fdinfo(1, 4_000_000_000))
    gpus.trees["app"] = (101,)
    collector_row = gpus.collect(collector, 11)
    assert collector_row[tree] == 2
    # A restart counts nothing twice.
    successor = gpus.make()
    successor.restore(collector.checkpoint())
    assert gpus.collect(successor)[tree] == 2


def test_cycles_are_a_ratio(tmp_path: Path) -> None:
    """xe counts cycles, its own and all."""
    gpus = Gpus(tmp_path, app=(100,))
    gpus.cards.card(0, **INTEL, files={})
    gpus.machine.proc.process(100, fds=0)
    collector = gpus.make()
    fields: dict[str, str | int] = {
        "drm_driver": "xe",
        "drm_pdev": "0000:00:02.0",
        "drm_client_id": 7,
        "drm_resident_system": "4 MiB",
    }
    drm_fd(gpus.machine.proc.root, 100, 9, **fields, drm_cycles_rcs=100, drm_total_cycles_rcs=1000)
    gpus.collect(collector)
    drm_fd(gpus.machine.proc.root, 100, 9, **fields, drm_cycles_rcs=400, drm_total_cycles_rcs=2000)
    row = gpus.collect(collector)
    uuid = 'uuid="0000:00:02.0"'
    assert row[f'gpu_process_utilization_ratio{{engine="rcs",pid="100",tree="app",{uuid}}}'] == pytest.approx(0.3)
    assert row[f'proctree_gpu_utilization_ratio{{engine="rcs",tree="app",{uuid}}}'] == pytest.approx(0.3)
    assert row[f'proctree_gpu_memory_bytes{{tree="app",{uuid}}}'] == 4 << 20, "no memory of its own: all regions"


def test_a_device_that_is_not_on_pci(tmp_path: Path) -> None:
    """Its clients name none: they are the one card's."""
    gpus = Gpus(tmp_path, app=(100,))
    gpus.cards.card(0, driver="panfrost")
    gpus.machine.proc.process(100, fds=0)
    drm_fd(gpus.machine.proc.root, 100, 9, drm_driver="panfrost", drm_client_id=3, drm_total_memory="8 MiB")
    row = gpus.collect(gpus.make())
    assert row['proctree_gpu_memory_bytes{tree="app",uuid="device"}'] == 8 << 20
    assert any('vendor="panfrost"' in series for series in row)


def test_descriptors_that_cannot_be_listed(tmp_path: Path) -> None:
    """No sums instead of too small ones, and a reason."""
    gpus = Gpus(tmp_path, app=(100,))
    gpus.cards.card(0, **AMD, files=AMD_FILES)
    gpus.machine.proc.process(100, fds=0)
    descriptors = gpus.machine.proc.root / "100/fd"
    descriptors.rmdir()
    descriptors.write_text("")
    row = gpus.collect(gpus.make(), 2)
    assert row['gpu_errors_total{call="fdinfo",code="ENOTDIR"}'] == 2
    assert row['gpu_power_watts{uuid="abc123"}'] == 140
    assert row['prom_probe_source_readable{source="gpu_processes"}'] == 0
    assert not any(series.startswith("proctree_gpu") for series in row)


@pytest.mark.parametrize(("minor", "at"), [(4, 24), (5, 88), (6, 16), (7, 24)])
def test_the_energy_of_each_version(minor: int, at: int) -> None:
    """Where kgd_pp_interface.h has it."""
    energy = parse_energy(gpu_metrics(minor, at, 12345))
    assert energy == 12345
    assert energy * ENERGY_UNIT_J == pytest.approx(12345 * 15.259e-6, rel=1e-4)
    assert parse_energy(gpu_metrics(minor, at, (1 << 64) - 1)) is None


def test_tables_without_energy_and_damaged_ones() -> None:
    """Older versions have none that is of one unit; a table that is cut off is an error."""
    assert parse_energy(gpu_metrics(3, 24, 1)) is None
    assert parse_energy(struct.pack("<HBB", 100, 2, 1) + bytes(96)) is None
    for data in (b"", b"\1\2\3", gpu_metrics(4, 24, 1)[:28]):
        with pytest.raises(ParseError):
            parse_energy(data)


@given(st.binary(max_size=300))
def test_parsers_take_any_bytes(data: bytes) -> None:
    """A result or a ParseError, nothing else."""
    parsers: tuple[Callable[[bytes], object], ...] = (parse_energy, parse_drm_client, parse_kfd_properties)
    for parse in parsers:
        try:
            parse(data)
        except ParseError:
            pass


def test_a_client_that_cannot_be_read() -> None:
    """An odd row costs itself; a file without a client is none."""
    assert parse_drm_client(b"pos: 0\nflags: 02\n") is None
    odd: list[bytes] = []
    rows = b"drm-engine-gfx: many ns\n", b"drm-resident-vram: 4 PiB\n"
    client = parse_drm_client(b"drm-client-id: 4\ndrm-cycles-rcs: 7\n" + b"".join(rows), odd.append)
    assert client is not None
    assert (client.client, client.cycles, client.engine_ns, client.resident) == ("4", {"rcs": 7}, {}, {})
    assert odd == [row[:-1] for row in rows]


def test_a_named_vendor_without_a_card(tmp_path: Path) -> None:
    """The source does not open, says why, and finds a card that comes."""
    gpus = Gpus(tmp_path)
    collector = gpus.make(gpu="amd")
    row = gpus.collect(collector)
    assert row['gpu_errors_total{call="list",code="NO_DEVICE"}'] == 1
    assert row['prom_probe_source_readable{source="gpu_amd"}'] == 0
    gpus.cards.card(0, **AMD, files=AMD_FILES)
    row = gpus.collect(collector, 2)
    assert row['gpu_up{uuid="abc123"}'] == 1
