"""/sys/devices/system/cpu/cpufreq: how fast the CPUs run (Documentation/admin-guide/pm/cpufreq.rst)."""

import os
from typing import NamedTuple

from prom_probe.sources.descriptors import read_once
from prom_probe.sources.errors import ParseError
from prom_probe.sources.text import number

SOURCE = "/sys/devices/system/cpu/cpufreq"
_CPUFREQ = "devices/system/cpu/cpufreq"


class Frequency(NamedTuple):
    """A policy: the CPUs that share a clock."""

    cpus: int  # how many are online
    current: int  # kHz
    limit: int  # kHz, the hardware's


def list_cpufreq_policies(sysfs: str) -> list[str]:
    """Directories, in order. Raises OSError: FileNotFoundError where the platform does not show frequencies."""
    names = [name for name in os.listdir(f"{sysfs}/{_CPUFREQ}") if name.startswith("policy") and name[6:].isdigit()]
    if not names:
        raise FileNotFoundError(2, "no frequency is shown", f"{sysfs}/{_CPUFREQ}")
    return [f"{sysfs}/{_CPUFREQ}/{name}" for name in sorted(names, key=lambda name: int(name[6:]))]


def read_cpufreq(policy: str) -> Frequency | None:
    """The frequency of a policy's directory; None while all its CPUs are offline. Raises OSError, ParseError."""
    cpus = read_once(f"{policy}/affected_cpus")
    if not cpus.strip():
        return None
    return parse_cpufreq(cpus, read_once(f"{policy}/scaling_cur_freq"), read_once(f"{policy}/cpuinfo_max_freq"))


def parse_cpufreq(affected_cpus: bytes, scaling_cur_freq: bytes, cpuinfo_max_freq: bytes) -> Frequency:
    """Raises ParseError."""
    try:
        return Frequency(len(affected_cpus.split()), number(scaling_cur_freq.strip()), number(cpuinfo_max_freq.strip()))
    except ValueError:
        raise ParseError(SOURCE, b" ".join((affected_cpus, scaling_cur_freq, cpuinfo_max_freq))) from None
