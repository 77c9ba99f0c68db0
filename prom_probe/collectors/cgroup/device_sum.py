"""The sum of a counter over devices that come and go, which must not fall when one goes."""

from collections.abc import Mapping

# So many devices that are gone are remembered.
_MOST = 1024


class DeviceSum:
    """What all devices together have counted, those that are gone too.

    A device that comes back with more than it had goes on; one with less is another device, or counts anew.
    """

    def __init__(self, name: str) -> None:
        """`name`: the counter among a device's numbers."""
        self._name = name
        self._sum = 0.0
        self._last: dict[str, float] = {}

    def add_up(self, devices: Mapping[str, Mapping[str, float]]) -> float:
        """The sum, given each device's numbers."""
        for device, numbers in devices.items():
            count, last = numbers.get(self._name, 0.0), self._last.pop(device, 0.0)
            self._sum += count - last if count >= last else count
            self._last[device] = count
        while len(self._last) > len(devices) + _MOST:
            del self._last[next(iter(self._last))]  # whose reading is the oldest
        return self._sum
