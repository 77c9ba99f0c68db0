"""The sum of a counter over block devices: it never falls, and counts once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from prom_probe.collectors.cgroup.device_sum import DeviceSum

_READINGS = st.lists(st.dictionaries(st.sampled_from("abcd"), st.integers(0, 50), max_size=4), max_size=12)


def _add_up(total: DeviceSum, counts: dict[str, int], below: dict[str, list[str]] | None = None) -> float:
    return total.add_up({device: {"n": float(count)} for device, count in counts.items()}, below)


@given(
    readings=_READINGS, below=st.dictionaries(st.sampled_from("abcd"), st.lists(st.sampled_from("abcd"), max_size=2))
)
def test_it_never_falls(readings: list[dict[str, int]], below: dict[str, list[str]]) -> None:
    """Whatever comes, goes, begins anew, and is built on what, in a circle too."""
    total = DeviceSum("n")
    sums = [_add_up(total, counts, below) for counts in readings]
    assert sums == sorted(sums)


@given(readings=_READINGS)
def test_devices_by_themselves_add_up_to_what_each_has_counted(readings: list[dict[str, int]]) -> None:
    """From one reading to the next that has the device; with less than before it begins at 0."""
    total, expected, last = DeviceSum("n"), 0, dict[str, int]()
    for counts in readings:
        for device, count in counts.items():
            expected += count - last.get(device, 0) if count >= last.get(device, 0) else count
        last |= counts
        assert _add_up(total, counts) == expected


def test_of_a_disk_counts_what_passed_no_volume_on_it() -> None:
    """Two volumes on one disk; a RAID over two disks, whose share nobody tells, takes nothing away from the sum."""
    volumes = DeviceSum("n")
    assert _add_up(volumes, {"disk": 30, "one": 10, "two": 15}, {"one": ["disk"], "two": ["disk"]}) == 30
    raid, below = DeviceSum("n"), {"raid": ["a", "b"]}
    assert _add_up(raid, {"a": 10, "b": 10}, below) == 20
    assert _add_up(raid, {"a": 10, "b": 10, "raid": 5}, below) == 20


def test_a_successor_goes_on_with_what_is_gone() -> None:
    """A volume is gone; what passed it is in its disk's number, and counts once."""
    total, below = DeviceSum("n"), {"volume": ["disk"]}
    assert _add_up(total, {"disk": 70, "volume": 60}, below) == 70
    assert _add_up(total, {"disk": 75}, below) == 75
    assert total.gone == 0
    assert _add_up(total, {"disk": 75, "other": 5}, below) == 80
    assert _add_up(total, {"disk": 75}, below) == 80
    successor = DeviceSum("n")
    successor.resume(total.gone)
    assert _add_up(successor, {"disk": 76}) == 81
    assert successor.gone == total.gone == 5


def test_only_so_many_that_are_gone_are_remembered() -> None:
    """What they had stays in the sum."""
    total = DeviceSum("n")
    for number in range(1500):
        assert _add_up(total, {f"7:{number}": 2, "8:0": number}) == 2 * (number + 1) + number
    assert len(total._totals) == len(total._last) == 1026
    assert _add_up(total, {"7:1499": 3, "8:0": 1499}) == 3000 + 1499 + 1
