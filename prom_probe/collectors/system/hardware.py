"""The system collector's hardware: clock frequencies and temperatures, which some devices are slow to give."""

from prom_probe.collectors.system import device_families as families
from prom_probe.collectors.system.devices import Devices, choose_devices
from prom_probe.collectors.system.rounds import RoundsSection
from prom_probe.collectors.system.section import Host
from prom_probe.sources.cpufreq import Frequency, list_cpufreq_policies, read_cpufreq
from prom_probe.sources.hwmon import Sensor, list_sensors, read_temperature

_EVERY_S = 5.0


class Frequencies(RoundsSection[str, Frequency | None]):
    source = "cpufreq"
    optional = True

    def __init__(self, host: Host) -> None:
        super().__init__(host, read_cpufreq, _EVERY_S)
        self._group = host.layout.add(host.columns(families.FREQUENCIES))

    def list_items(self) -> list[str]:
        return list_cpufreq_policies(self._host.context.sysfs)

    def name(self, item: str) -> str:
        return item

    def show(self, answers: dict[str, Frequency | None]) -> None:
        policies = [policy for policy in answers.values() if policy is not None]
        cpus = sum(policy.cpus for policy in policies)
        if not cpus:
            self.end()
            return
        mean = sum(policy.current * policy.cpus for policy in policies) / cpus
        fastest = max(policy.current for policy in policies)
        self.write((mean * 1e3, fastest * 1e3, max(policy.limit for policy in policies) * 1e3))


class Temperatures(RoundsSection[Sensor, float | None]):
    source = "hwmon"
    optional = True

    def __init__(self, host: Host) -> None:
        super().__init__(host, _celsius, _EVERY_S)
        self._devices = Devices(host.layout, host.columns, (families.TEMPERATURE,))

    def list_items(self) -> list[Sensor]:
        return list_sensors(self._host.context.sysfs)

    def name(self, item: Sensor) -> str:
        return item.path

    def show(self, answers: dict[Sensor, float | None]) -> None:
        present = {sensor.name: celsius for sensor, celsius in answers.items() if celsius is not None}
        chosen = choose_devices(present, lambda name: True)
        self._devices.keep(chosen)
        for name in chosen:
            self._devices.write(name, (present[name],), sensor=name)
        self._host.dropped.write("temperature", len(present) - len(chosen))

    def end(self) -> None:
        self._devices.keep(())


def _celsius(sensor: Sensor) -> float | None:
    """None while the sensor's device sleeps. Raises PermissionError, ParseError."""
    try:
        return read_temperature(sensor.path) / 1e3
    except PermissionError:
        raise
    except OSError:
        return None
