"""The columns of devices, which come and go."""

from array import array
from collections.abc import Callable, Collection, Iterable
from typing import Protocol, TypeVar

from prom_probe.model.definition import DROPPED_DEVICES, Definition
from prom_probe.model.family import Column, column
from prom_probe.model.layout import Group, Layout

# The most devices of a kind that get series; a node may have hundreds of virtual ones.
MAX_DEVICES = 64

T = TypeVar("T")


def choose_devices(devices: Collection[T], is_hardware: Callable[[T], bool]) -> Collection[T]:
    """As many as get series: those that stand for hardware first, otherwise in their order."""
    if len(devices) <= MAX_DEVICES:
        return devices
    return sorted(devices, key=lambda device: not is_hardware(device))[:MAX_DEVICES]


class DroppedDevices:
    """How many devices of each kind are without series."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._groups: dict[str, Group] = {}

    def write(self, kind: str, count: int) -> None:
        group = self._groups.get(kind)
        if group is None:
            if not count:
                return
            group = self._groups[kind] = self._layout.add((column(DROPPED_DEVICES.family, kind=kind),))
        self._layout.row[group.start] = count


class MakeColumns(Protocol):
    def __call__(self, definitions: Iterable[Definition], **labels: str) -> tuple[Column, ...]: ...


class Devices:
    """A group of columns for each device, with the same families, and the label `device` unless others are given."""

    def __init__(self, layout: Layout, make_columns: MakeColumns, definitions: Iterable[Definition]) -> None:
        self._layout = layout
        self._make_columns = make_columns
        self._definitions = tuple(definitions)
        self._groups: dict[str, Group] = {}

    def write(self, device: str, values: Iterable[float], /, **labels: str) -> None:
        """One value for each family, in their order. `labels` are used when the device is new."""
        group = self._groups.get(device)
        if group is None:
            if len(self._groups) >= MAX_DEVICES:
                return
            group = self._groups[device] = self._layout.add(
                self._make_columns(self._definitions, **labels or {"device": device})
            )
        self._layout.row[group.start : group.start + len(self._definitions)] = array("d", values)

    def keep(self, devices: Iterable[str]) -> None:
        """End the series of all other devices."""
        for gone in self._groups.keys() - devices:
            self._layout.retire(self._groups.pop(gone))
