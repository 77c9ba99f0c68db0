"""Which GPUs a machine has, told by its files."""

from __future__ import annotations

from pathlib import Path

import pytest

from prom_probe.collectors.base import Context
from prom_probe.collectors.gpu.sources import make_sources
from prom_probe.sources.gpu_detect import detect_gpus
from tests.support.fake_gpu import FakeCards


def test_a_machine_without_one(tmp_path: Path) -> None:
    """Nor with no sysfs at all, nor with the device files that NVML leaves where there is no driver."""
    assert detect_gpus(str(tmp_path / "proc"), str(tmp_path / "sys")) == frozenset()
    FakeCards(tmp_path / "sys")
    assert detect_gpus(str(tmp_path / "proc"), str(tmp_path / "sys")) == frozenset()


@pytest.mark.parametrize("file", ["sys/module/nvidia/initstate", "proc/driver/nvidia/version"])
def test_nvidia_by_its_kernel_module(tmp_path: Path, file: str) -> None:
    """Either file is enough: a container may see only one."""
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).touch()
    assert detect_gpus(str(tmp_path / "proc"), str(tmp_path / "sys")) == {"nvidia"}


@pytest.mark.parametrize(
    ("vendor", "driver", "found"),
    [
        ("0x1002", "amdgpu", {"amd"}),
        ("0x8086", "xe", {"intel"}),
        ("0x8086", "i915", {"intel"}),
        ("0x10de", "nvidia", set()),  # NVML's, where the module is in use
        ("0x10de", "nouveau", set()),  # tells nothing of its clients
        ("", "panfrost", {"drm"}),
        ("0x1a03", "ast", set()),  # a server's management controller
        ("0x1af4", "virtio-pci", set()),
    ],
)
def test_cards_by_vendor_and_driver(tmp_path: Path, vendor: str, driver: str, found: set[str]) -> None:
    """Connectors and render nodes are no cards."""
    cards = FakeCards(tmp_path / "sys")
    cards.card(0, vendor=vendor, driver=driver)
    (tmp_path / "sys/class/drm/card0-DP-1").mkdir()
    (tmp_path / "sys/class/drm/renderD128").mkdir()
    assert detect_gpus(str(tmp_path / "proc"), str(tmp_path / "sys")) == found


def test_a_named_vendor_is_not_looked_for(tmp_path: Path) -> None:
    """And automatic detection gives each source once, also when another comes later."""
    cards = FakeCards(tmp_path / "sys")
    context = Context(sysfs=str(tmp_path / "sys"), procfs=str(tmp_path / "proc"), gpu="intel")
    assert [source.name for source in make_sources(context, ())] == ["intel"]
    context.gpu = "auto"
    cards.card(0, vendor="0x1002", driver="amdgpu")
    assert [source.name for source in make_sources(context, ())] == ["amd"]
    cards.card(1, vendor="0x8086", driver="xe")
    assert [source.name for source in make_sources(context, ("amd",))] == ["intel"]
