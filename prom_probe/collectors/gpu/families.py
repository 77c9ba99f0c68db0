"""The metrics of GPUs and of what processes use of them."""

from prom_probe.model.definition import Definition, define

# fmt: off
INFO = define("gpu_info", "gauge", "", "Constant 1: which GPU it is.",
    labels="uuid index vendor name pci_bus_id driver_version", source="NVML; /sys/class/drm/card*/device",
    definition="1 for each GPU that was seen. `uuid` is NVML's, else AMD's unique_id, else the PCI address; `index` is "
    "NVML's, else the number of the DRM card.")
UP = define("gpu_up", "gauge", "", "Whether the GPU answers.", labels="uuid", source="NVML; sysfs",
    definition="1 if the last sample of the GPU worked, a suspended one's too; 0 if the GPU is lost, needs a reset, or "
    "its driver has not answered for 5 s or can no longer be initialised.")
SUSPENDED = define("gpu_suspended", "gauge", "", "Whether the GPU sleeps; it is not woken to be read.", labels="uuid",
    source="/sys/class/drm/card*/device/power/runtime_status",
    definition="1 if runtime power management has suspended the device; its other readings are absent then.")
ERRORS = define("gpu_errors_total", "counter", "", "Driver calls that failed.", labels="call code",
    source="NVML return codes; errno",
    definition="Count by call and by the name of the error, a call that has not returned for 5 s as HUNG. What a GPU "
    "or driver does not support is not an error, nor is an idle GPU without utilisation samples.")
SAMPLE_DURATION = define("gpu_sample_duration_seconds", "gauge", "seconds",
    "Time that the newest sample of all GPUs took in their drivers.", source="the monotonic clock",
    definition="Sum over the vendors' sources of the time from a sample's first call to the return of the last.")
FIRST_SAMPLE = define("prom_probe_gpu_first_sample_seconds", "gauge", "seconds",
    "Time from the start of the GPU worker to its first sample.", source="the monotonic clock",
    definition="Importing the driver's library and its initialisation included; absent until there is a sample.")

# A GPU's own readings, by the name in a `Key`. The key's second part is the value of the label besides `uuid`.
READINGS: dict[str, Definition] = {
    "utilization_ratio": define("gpu_utilization_ratio", "gauge", "ratio",
        "Share of the time in which the engine was busy.", labels="uuid engine",
        source="NVML utilization rates; gpu_busy_percent",
        definition="As the driver gives it, over its last 1/6 to 1 s; engine gpu is any kernel at all, the others "
        "are encoder, decoder, jpeg and ofa. Absent with MIG."),
    "memory_bandwidth_utilization_ratio": define("gpu_memory_bandwidth_utilization_ratio", "gauge", "ratio",
        "Share of the time in which memory was read or written.", labels="uuid",
        source="NVML utilization rates; mem_busy_percent",
        definition="As the driver gives it, over its last 1/6 to 1 s."),
    "memory_total_bytes": define("gpu_memory_total_bytes", "gauge", "bytes", "Memory of the GPU.", labels="uuid",
        source="NVML memory info; mem_info_vram_total",
        definition="Device memory, what the driver reserves included; absent where it is the machine's own."),
    "memory_used_bytes": define("gpu_memory_used_bytes", "gauge", "bytes", "Memory of the GPU in use.", labels="uuid",
        source="NVML memory info; mem_info_vram_used",
        definition="Device memory that is allocated, without what the driver reserves (drivers before 510 "
        "count that too)."),
    "memory_reserved_bytes": define("gpu_memory_reserved_bytes", "gauge", "bytes",
        "Memory of the GPU that the driver and the firmware keep.", labels="uuid", source="NVML memory info, version 2",
        definition="As the driver gives it."),
    "temperature_celsius": define("gpu_temperature_celsius", "gauge", "celsius", "Temperature.", labels="uuid sensor",
        source="NVML; hwmon temp*_input",
        definition="Sensors gpu and memory of NVML; edge, junction and mem of AMD; of others as hwmon labels them."),
    "power_watts": define("gpu_power_watts", "gauge", "watts", "Power that the GPU draws.", labels="uuid",
        source="NVML power usage; hwmon power1_average, power1_input",
        definition="Of the whole board; NVML's is an average of 1 s since Ampere."),
    "power_limit_watts": define("gpu_power_limit_watts", "gauge", "watts", "Power that the GPU may draw.",
        labels="uuid", source="NVML enforced power limit; hwmon power1_cap, power1_max",
        definition="The limit in force."),
    "fan_speed_ratio": define("gpu_fan_speed_ratio", "gauge", "ratio",
        "Speed that the fan is meant to have, of its highest.", labels="uuid", source="NVML fan speed; hwmon pwm1",
        definition="As the driver gives it; NVML's may exceed 1. Absent without a fan of its own."),
    "energy_joules_total": define("gpu_energy_joules_total", "counter", "joules", "Energy that the GPU has used.",
        labels="uuid", source="NVML field 83; gpu_metrics 1.4 to 1.7; hwmon energy1_input",
        definition="Since the driver was loaded."),
    "clock_hertz": define("gpu_clock_hertz", "gauge", "hertz", "Clock frequency.", labels="uuid domain",
        source="NVML clock info; hwmon freq*_input; gt_cur_freq_mhz, freq0/cur_freq",
        definition="Domains graphics, sm, memory and video of NVML; sclk and mclk of AMD; gt of Intel."),
    "pcie_bytes_total": define("gpu_pcie_bytes_total", "counter", "bytes",
        "Bytes over PCI Express, as the GPU sees it.", labels="uuid direction", source="NVML fields 197, 198",
        definition="Directions transmit and receive; the driver's counters wrap, their increases are added up."),
    "pcie_replays_total": define("gpu_pcie_replays_total", "counter", "",
        "Transfers over PCI Express that were repeated.", labels="uuid", source="NVML field 94",
        definition="As the driver counts them."),
    "throttle_seconds_total": define("gpu_throttle_seconds_total", "counter", "seconds",
        "Time in which the clocks were held down.", labels="uuid reason", source="NVML fields 74 to 77, 79, 269 to 271",
        definition="By reason, as the driver counts it; reasons may overlap."),
    "ecc_errors_total": define("gpu_ecc_errors_total", "counter", "", "Memory errors that ECC found.",
        labels="uuid type", source="NVML fields 3, 4",
        definition="Types corrected (single bit) and uncorrected (double bit), since the driver was loaded."),
    "xid_errors_total": define("gpu_xid_errors_total", "counter", "", "Errors that the driver reported, by Xid.",
        labels="uuid xid", source="NVML events",
        definition="Count of Xid events since prom_probe began; absent before the first."),
    "mig_memory_total_bytes": define("gpu_mig_memory_total_bytes", "gauge", "bytes", "Memory of the GPU instance.",
        labels="uuid gpu_instance", source="NVML memory info of the MIG device", definition="As the driver gives it."),
    "mig_memory_used_bytes": define("gpu_mig_memory_used_bytes", "gauge", "bytes", "Memory of the GPU instance in use.",
        labels="uuid gpu_instance", source="NVML memory info of the MIG device", definition="As the driver gives it."),
}

MIG_INFO = define("gpu_mig_info", "gauge", "", "Constant 1: a MIG device.",
    labels="uuid mig_uuid gpu_instance compute_instance", source="NVML MIG devices",
    definition="1 for each MIG device that is there now.")

_WINDOW = "in the last --expose.max-window; kept for as long when it is gone"
MEMORY_USED_MAX = define("gpu_memory_used_max_bytes", "gauge", "bytes",
    "The most memory of the GPU that was in use in the rolling window.", labels="uuid",
    source=READINGS["memory_used_bytes"].family.name,
    definition=f"Largest gpu_memory_used_bytes of all samples {_WINDOW}.")
_SUM = "Sum over the tree's processes that the driver lists"
TREE_PROCESSES = define("proctree_gpu_processes", "gauge", "", "Processes of the tree that use the GPU.",
    labels="tree uuid", source="NVML process lists; KFD; DRM fdinfo",
    definition="Count of the tree's processes that the driver lists for the GPU.")
TREE_MEMORY = define("proctree_gpu_memory_bytes", "gauge", "bytes", "GPU memory that the tree uses.",
    labels="tree uuid", source="NVML process lists; KFD; DRM fdinfo",
    definition=f"{_SUM}; what processes share through a common DRM client counts once.")
TREE_MEMORY_MAX = define("proctree_gpu_memory_max_bytes", "gauge", "bytes",
    "The most GPU memory that the tree used in the rolling window.", labels="tree uuid", source=TREE_MEMORY.family.name,
    definition=f"Largest proctree_gpu_memory_bytes of all samples {_WINDOW}.")
TREE_UTILIZATION = define("proctree_gpu_utilization_ratio", "gauge", "ratio",
    "Share of the engine's time that the tree used.", labels="tree uuid engine",
    source="NVML process utilization; DRM fdinfo cycles",
    definition=f"{_SUM}, whose utilisation counts only if they are also in the process list; absent where the driver "
    "does not give it (MIG among others).")
TREE_ENGINE_SECONDS = define("proctree_gpu_engine_seconds_total", "counter", "seconds",
    "Time of the engine that the tree used.", labels="tree engine", source="DRM fdinfo drm-engine-*",
    definition="Increases of the tree's DRM clients, added up since prom_probe began; what ended stays counted.")
PROCESS_MEMORY = define("gpu_process_memory_bytes", "gauge", "bytes", "GPU memory that the process uses.",
    labels="uuid tree pid", source="NVML process lists; KFD vram_*; DRM fdinfo drm-resident-*",
    definition="Device memory; of a GPU without any of its own, all memory regions.")
PROCESS_UTILIZATION = define("gpu_process_utilization_ratio", "gauge", "ratio",
    "Share of the engine's time that the process used.", labels="uuid tree pid engine",
    source="NVML process utilization; DRM fdinfo drm-cycles-*",
    definition="The driver's newest value since the last sample, 0 for a listed process without one; of xe, cycles "
    "over all cycles since the last sample.")
PROCESS_ENGINE_SECONDS = define("gpu_process_engine_seconds_total", "counter", "seconds",
    "Time of the engine that the process used.", labels="tree pid engine", source="DRM fdinfo drm-engine-*",
    definition="Sum over the process's DRM clients, each held at its maximum.")

DEFINITIONS = (
    INFO,
    UP,
    SUSPENDED,
    ERRORS,
    SAMPLE_DURATION,
    *READINGS.values(),
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
