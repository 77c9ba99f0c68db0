"""The sum of a counter over block devices, which come and go and are built on each other.

What passes a mapped device (LVM, dm-crypt, RAID) is counted there and on the disks below it, and must not be counted
twice; and the sum must not fall when a device goes.
"""

from collections.abc import Collection, Mapping

# So many devices that are gone are remembered.
_MOST = 1024


class DeviceSum:
    """What went to all devices together, those that are gone too.

    A device that comes back with more than it had goes on; one with less is another device, or counts anew. Of a device
    that others are built on counts what did not pass those.
    """

    def __init__(self, name: str) -> None:
        """`name`: the counter among a device's numbers."""
        self._name = name
        self.gone = 0.0  # what the newest reading alone would not give
        self._shown = 0.0
        self._forgotten = 0.0
        self._last: dict[str, float] = {}
        self._totals: dict[str, float] = {}  # what each device has counted; none falls

    def add_up(
        self, devices: Mapping[str, Mapping[str, float]], below: Mapping[str, Collection[str]] | None = None
    ) -> float:
        """The sum, given each device's numbers. `below`: the devices that a device is built on, those gone too."""
        for device, numbers in devices.items():
            count, last = numbers.get(self._name, 0.0), self._last.get(device, 0.0)
            self._totals[device] = self._totals.pop(device, 0.0) + (count - last if count >= last else count)
            self._last[device] = count
        own = _own(self._totals, below or {})
        for device in list(self._totals)[: max(0, len(self._totals) - len(devices) - _MOST)]:
            self._forgotten += own.pop(device)
            del self._totals[device], self._last[device]
        self._shown = max(self._shown, self._forgotten + sum(own.values()))
        there = {device: numbers.get(self._name, 0.0) for device, numbers in devices.items()}
        self.gone = max(0.0, self._shown - sum(_own(there, below or {}).values()))
        return self._shown

    def resume(self, gone: float) -> None:
        """Before the first reading: a predecessor's `gone`."""
        self._forgotten = gone


def _own(totals: Mapping[str, float], below: Mapping[str, Collection[str]]) -> dict[str, float]:
    """What of each device's total did not pass a device that is built on it."""
    passed = dict.fromkeys(totals, 0.0)
    for device, total in totals.items():
        for lower in below.get(device, ()):
            if lower in passed:
                passed[lower] += total
    return {device: max(0.0, total - passed[device]) for device, total in totals.items()}
