"""The metrics of GPUs and of what processes use of them."""

from typing import NamedTuple

from prom_probe.model.definition import Definition, define
from prom_probe.model.family import MetricType


class Reading(NamedTuple):
    """A family of one GPU's series: besides `uuid` they have the label `label`, where there is one."""

    definition: Definition
    label: str


def _gpu(
    name: str, type_: MetricType, unit: str, help_: str, *, label: str = "", source: str, definition: str
) -> Reading:
    return Reading(
        define(
            f"gpu_{name}",
            type_,
            unit,
            help_,
            labels=f"uuid {label}",
            source=source,
            definition=definition,
        ),
        label,
    )


INFO = define(
    "gpu_info",
    "gauge",
    "",
    "Constant 1: which GPU it is.",
    labels="uuid index vendor name pci_bus_id driver_version",
    source="NVML; /sys/class/drm/card*/device",
    definition="1 for each GPU that was seen. `uuid` is NVML's, else AMD's unique_id, else the PCI address; `index` is "
    "NVML's, else the number of the DRM card.",
)
UP = define(
    "gpu_up",
    "gauge",
    "",
    "Whether the GPU answers.",
    labels="uuid",
    source="NVML; sysfs",
    definition="1 if the last sample of the GPU worked, a suspended one's too; 0 if the GPU is lost, needs a reset, or "
    "its driver has not answered for 5 s or cannot be initialised any more.",
)
SUSPENDED = define(
    "gpu_suspended",
    "gauge",
    "",
    "Whether the GPU sleeps; it is not woken to be read.",
    labels="uuid",
    source="/sys/class/drm/card*/device/power/runtime_status",
    definition="1 if runtime power management has suspended the device; its other readings are absent then.",
)
ERRORS = define(
    "gpu_errors_total",
    "counter",
    "",
    "Driver calls that failed.",
    labels="call code",
    source="NVML return codes; errno",
    definition="Count by call and by the name of the error, a call that has not returned for 5 s as HUNG. What a GPU "
    "or driver does not support is no error, nor is an idle GPU without utilisation samples.",
)
SAMPLE_DURATION = define(
    "gpu_sample_duration_seconds",
    "gauge",
    "seconds",
    "Time that the newest sample of all GPUs took in their drivers.",
    source="the monotonic clock",
    definition="Sum over the vendors' sources of the time from a sample's first call to the return of the last.",
)
FIRST_SAMPLE = define(
    "prom_probe_gpu_first_sample_seconds",
    "gauge",
    "seconds",
    "Time from the start of the GPU worker to its first sample.",
    source="the monotonic clock",
    definition="Importing the driver's library and its initialisation included; absent until there is a sample.",
)

# By short name, in the order in which they are shown.
READINGS: dict[str, Reading] = {
    reading.definition.family.name.removeprefix("gpu_"): reading
    for reading in (
        _gpu(
            "utilization_ratio",
            "gauge",
            "ratio",
            "Share of the time in which the engine was busy.",
            label="engine",
            source="NVML utilization rates; gpu_busy_percent",
            definition="As the driver gives it, over its last 1/6 to 1 s; engine gpu is any kernel at all, the others "
            "are encoder, decoder, jpeg and ofa. Absent with MIG.",
        ),
        _gpu(
            "memory_bandwidth_utilization_ratio",
            "gauge",
            "ratio",
            "Share of the time in which memory was read or written.",
            source="NVML utilization rates; mem_busy_percent",
            definition="As the driver gives it, over its last 1/6 to 1 s.",
        ),
        _gpu(
            "memory_total_bytes",
            "gauge",
            "bytes",
            "Memory of the GPU.",
            source="NVML memory info; mem_info_vram_total",
            definition="Device memory, what the driver reserves included; absent where it is the machine's own.",
        ),
        _gpu(
            "memory_used_bytes",
            "gauge",
            "bytes",
            "Memory of the GPU in use.",
            source="NVML memory info; mem_info_vram_used",
            definition="Device memory that is allocated, without what the driver reserves (drivers before 510 "
            "count that too).",
        ),
        _gpu(
            "memory_reserved_bytes",
            "gauge",
            "bytes",
            "Memory of the GPU that the driver and the firmware keep.",
            source="NVML memory info, version 2",
            definition="As the driver gives it.",
        ),
        _gpu(
            "temperature_celsius",
            "gauge",
            "celsius",
            "Temperature.",
            label="sensor",
            source="NVML; hwmon temp*_input",
            definition="Sensors gpu and memory of NVML; edge, junction and mem of AMD; of others as hwmon labels them.",
        ),
        _gpu(
            "power_watts",
            "gauge",
            "watts",
            "Power that the GPU draws.",
            source="NVML power usage; hwmon power1_average, power1_input",
            definition="Of the whole board; NVML's is an average of 1 s since Ampere.",
        ),
        _gpu(
            "power_limit_watts",
            "gauge",
            "watts",
            "Power that the GPU may draw.",
            source="NVML enforced power limit; hwmon power1_cap, power1_max",
            definition="The limit in force.",
        ),
        _gpu(
            "fan_speed_ratio",
            "gauge",
            "ratio",
            "Speed that the fan is meant to have, of its highest.",
            source="NVML fan speed; hwmon pwm1",
            definition="As the driver gives it; NVML's may exceed 1. Absent without a fan of its own.",
        ),
        _gpu(
            "energy_joules_total",
            "counter",
            "joules",
            "Energy that the GPU has used.",
            source="NVML field 83; gpu_metrics 1.4 to 1.7; hwmon energy1_input",
            definition="Since the driver was loaded.",
        ),
        _gpu(
            "clock_hertz",
            "gauge",
            "hertz",
            "Clock frequency.",
            label="domain",
            source="NVML clock info; hwmon freq*_input; gt_cur_freq_mhz, freq0/cur_freq",
            definition="Domains graphics, sm, memory and video of NVML; sclk and mclk of AMD; gt of Intel.",
        ),
        _gpu(
            "pcie_bytes_total",
            "counter",
            "bytes",
            "Bytes over PCI Express, as the GPU sees it.",
            label="direction",
            source="NVML fields 197, 198",
            definition="Directions transmit and receive; the driver's counters wrap, their increases are added up.",
        ),
        _gpu(
            "pcie_replays_total",
            "counter",
            "",
            "Transfers over PCI Express that were repeated.",
            source="NVML field 94",
            definition="As the driver counts them.",
        ),
        _gpu(
            "throttle_seconds_total",
            "counter",
            "seconds",
            "Time in which the clocks were held down.",
            label="reason",
            source="NVML fields 74 to 77, 79, 269 to 271",
            definition="By reason, as the driver counts it; reasons may overlap.",
        ),
        _gpu(
            "ecc_errors_total",
            "counter",
            "",
            "Memory errors that ECC found.",
            label="type",
            source="NVML fields 3, 4",
            definition="Types corrected (single bit) and uncorrected (double bit), since the driver was loaded.",
        ),
        _gpu(
            "xid_errors_total",
            "counter",
            "",
            "Errors that the driver reported, by Xid.",
            label="xid",
            source="NVML events",
            definition="Count of Xid events since prom_probe began; absent before the first.",
        ),
        _gpu(
            "mig_memory_total_bytes",
            "gauge",
            "bytes",
            "Memory of the GPU instance.",
            label="gpu_instance",
            source="NVML memory info of the MIG device",
            definition="As the driver gives it.",
        ),
        _gpu(
            "mig_memory_used_bytes",
            "gauge",
            "bytes",
            "Memory of the GPU instance in use.",
            label="gpu_instance",
            source="NVML memory info of the MIG device",
            definition="As the driver gives it.",
        ),
    )
}

MIG_INFO = define(
    "gpu_mig_info",
    "gauge",
    "",
    "Constant 1: a MIG device.",
    labels="uuid mig_uuid gpu_instance compute_instance",
    source="NVML MIG devices",
    definition="1 for each MIG device that is there now.",
)

_WINDOW = "in the last --expose.max-window; kept for as long when it is gone"
MEMORY_USED_MAX = define(
    "gpu_memory_used_max_bytes",
    "gauge",
    "bytes",
    "The most memory of the GPU that was in use in the rolling window.",
    labels="uuid",
    source="gpu_memory_used_bytes",
    definition=f"Largest gpu_memory_used_bytes of all samples {_WINDOW}.",
)
TREE_MEMORY_MAX = define(
    "proctree_gpu_memory_max_bytes",
    "gauge",
    "bytes",
    "The most GPU memory that the tree used in the rolling window.",
    labels="tree uuid",
    source="proctree_gpu_memory_bytes",
    definition=f"Largest proctree_gpu_memory_bytes of all samples {_WINDOW}.",
)

_SUM = "Sum over the tree's processes that the driver lists"
TREE_PROCESSES = define(
    "proctree_gpu_processes",
    "gauge",
    "",
    "Processes of the tree that use the GPU.",
    labels="tree uuid",
    source="NVML process lists; KFD; DRM fdinfo",
    definition="Count of the tree's processes that the driver lists for the GPU.",
)
TREE_MEMORY = define(
    "proctree_gpu_memory_bytes",
    "gauge",
    "bytes",
    "GPU memory that the tree uses.",
    labels="tree uuid",
    source="NVML process lists; KFD; DRM fdinfo",
    definition=f"{_SUM}; what processes share through a common DRM client counts once.",
)
TREE_UTILIZATION = define(
    "proctree_gpu_utilization_ratio",
    "gauge",
    "ratio",
    "Share of the engine's time that the tree used.",
    labels="tree uuid engine",
    source="NVML process utilization; DRM fdinfo cycles",
    definition=f"{_SUM}, whose utilisation counts only if they are also in the process list; absent where the driver "
    "does not give it (MIG among others).",
)
TREE_ENGINE_SECONDS = define(
    "proctree_gpu_engine_seconds_total",
    "counter",
    "seconds",
    "Time of the engine that the tree used.",
    labels="tree engine",
    source="DRM fdinfo drm-engine-*",
    definition="Increases of the tree's DRM clients, added up since prom_probe began; what ended stays counted.",
)
PROCESS_MEMORY = define(
    "gpu_process_memory_bytes",
    "gauge",
    "bytes",
    "GPU memory that the process uses.",
    labels="uuid tree pid",
    source="NVML process lists; KFD vram_*; DRM fdinfo drm-resident-*",
    definition="Device memory; of a GPU without any of its own, all memory regions.",
)
PROCESS_UTILIZATION = define(
    "gpu_process_utilization_ratio",
    "gauge",
    "ratio",
    "Share of the engine's time that the process used.",
    labels="uuid tree pid engine",
    source="NVML process utilization; DRM fdinfo drm-cycles-*",
    definition="The driver's newest value since the last sample, 0 for a listed process without one; of xe, cycles "
    "over all cycles since the last sample.",
)
PROCESS_ENGINE_SECONDS = define(
    "gpu_process_engine_seconds_total",
    "counter",
    "seconds",
    "Time of the engine that the process used.",
    labels="tree pid engine",
    source="DRM fdinfo drm-engine-*",
    definition="Sum over the process's DRM clients, each held at its maximum.",
)

DEFINITIONS = (
    INFO,
    UP,
    SUSPENDED,
    ERRORS,
    SAMPLE_DURATION,
    *(reading.definition for reading in READINGS.values()),
    MIG_INFO,
    MEMORY_USED_MAX,
    TREE_PROCESSES,
    TREE_MEMORY,
    TREE_MEMORY_MAX,
    TREE_UTILIZATION,
    TREE_ENGINE_SECONDS,
    PROCESS_MEMORY,
    PROCESS_UTILIZATION,
    PROCESS_ENGINE_SECONDS,
    FIRST_SAMPLE,
)
