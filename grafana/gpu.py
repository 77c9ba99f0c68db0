"""What the GPU dashboard shows."""

from __future__ import annotations

from grafana.annotations import WORKER_RESTARTS, XIDS
from grafana.board import INSTANCE, JOB, OF_TREE, OURS, RATE, TREE, Board, Panel

_OF_GPU = f'{OURS}, uuid=~"$gpu"'
_OF_BOTH = f'{OF_TREE}, uuid=~"$gpu"'
_WORKER = f'{OURS}, worker="gpu"'


def _by_index(expr: str) -> str:
    """The same, each GPU told by the number that everybody calls it by: its other labels have the UUID alone."""
    return f"{expr} * on (job, instance, uuid) group_left (index) gpu_info{{{_OF_GPU}}}"


def _rate(name: str, labels: str) -> str:
    return f"sum by (job, instance, uuid, {labels}) (rate({name}{{{_OF_GPU}}}{RATE}))"


def _increase(name: str, labels: str) -> str:
    return f"sum by (job, instance, uuid{labels}) (increase({name}{{{_OF_GPU}}}[1h]))"


# What may still be allocated. AMD's drivers tell nothing of what they keep.
_RESERVED = f"(gpu_memory_reserved_bytes{{{_OF_GPU}}} or 0 * gpu_memory_total_bytes{{{_OF_GPU}}})"
_USABLE = f"(gpu_memory_total_bytes{{{_OF_GPU}}} - {_RESERVED})"
_USED, _USED_MAX = f"gpu_memory_used_bytes{{{_OF_GPU}}}", f"gpu_memory_used_max_bytes{{{_OF_GPU}}}"
_HOT = ((83, "yellow"), (90, "red"))

GPU = Board(
    "gpu",
    "prom_probe: GPU",
    "What the GPUs do, what each watched tree has of them, and whether they are well.",
    (
        JOB,
        INSTANCE,
        ("gpu", "GPU", 'label_values(gpu_info{job=~"$job", instance=~"$instance"}, uuid)'),
        TREE,
    ),
    (
        (
            "Now",
            (
                Panel(
                    "stat",
                    "Utilisation",
                    "percentunit",
                    ((f'avg(gpu_utilization_ratio{{{_OF_GPU}, engine="gpu"}})', "utilisation"),),
                    "Part of the time in which any kernel ran, the mean of all GPUs.",
                ),
                Panel(
                    "stat",
                    "Memory used",
                    "percentunit",
                    ((f"max({_USED} / {_USABLE})", "used"),),
                    "Of what may be allocated, on the GPU that is fullest.",
                    ((0.9, "yellow"), (0.97, "red")),
                ),
                Panel(
                    "stat",
                    "Least headroom",
                    "bytes",
                    ((f"min({_USABLE} - {_USED_MAX})", "headroom"),),
                    "What was left of the memory in the fullest second of the window, whoever scraped when.",
                ),
                Panel(
                    "stat",
                    "Power",
                    "watt",
                    ((f"sum(gpu_power_watts{{{_OF_GPU}}})", "power"),),
                    "What all GPUs draw together.",
                ),
                Panel(
                    "stat",
                    "Hottest",
                    "celsius",
                    ((f"max(gpu_temperature_celsius{{{_OF_GPU}}})", "temperature"),),
                    "The highest of all sensors.",
                    _HOT,
                ),
                Panel(
                    "stat",
                    "Lost GPUs",
                    "short",
                    ((f"count(gpu_up{{{_OF_GPU}}}) - sum(gpu_up{{{_OF_GPU}}})", "lost"),),
                    "GPUs that were seen and do not answer.",
                    ((1, "red"),),
                ),
            ),
        ),
        (
            "Utilisation and memory",
            (
                Panel(
                    "wide",
                    "Utilisation",
                    "percentunit",
                    ((_by_index(f'gpu_utilization_ratio{{{_OF_GPU}, engine="gpu"}}'), "{{instance}} GPU {{index}}"),),
                    "Part of the time in which any kernel ran, over the driver's last 1/6 to 1 s. Absent with MIG.",
                    top=1,
                    empty="The driver tells none (MIG, Intel)",
                ),
                Panel(
                    "wide",
                    "Memory",
                    "bytes",
                    (
                        (_by_index(_USED), "{{instance}} GPU {{index}} used"),
                        (_by_index(_USED_MAX), "{{instance}} GPU {{index}} highest of the window"),
                        (_by_index(_USABLE), "{{instance}} GPU {{index}} limit"),
                    ),
                    "Allocated memory, the highest of any second in the window, and what may be allocated at most: all"
                    " that there is less what the driver keeps.",
                    empty="The GPU has no memory of its own",
                ),
                Panel(
                    "graph",
                    "Headroom",
                    "bytes",
                    ((_by_index(f"({_USABLE} - {_USED_MAX})"), "{{instance}} GPU {{index}}"),),
                    "What was left of the memory in the fullest second of the window: a batch can be that much larger.",
                    empty="The GPU has no memory of its own",
                ),
                Panel(
                    "graph",
                    "Memory bandwidth in use",
                    "percentunit",
                    (
                        (
                            _by_index(f"gpu_memory_bandwidth_utilization_ratio{{{_OF_GPU}}}"),
                            "{{instance}} GPU {{index}}",
                        ),
                    ),
                    "Part of the time in which memory was read or written.",
                    top=1,
                    empty="The driver tells none",
                ),
                Panel(
                    "graph",
                    "Other engines",
                    "percentunit",
                    (
                        (
                            _by_index(f'gpu_utilization_ratio{{{_OF_GPU}, engine!="gpu"}}'),
                            "{{instance}} GPU {{index}} {{engine}}",
                        ),
                    ),
                    "Encoder, decoder and their like.",
                    top=1,
                    empty="The driver tells none",
                ),
            ),
        ),
        (
            "Watched trees",
            (
                Panel(
                    "wide",
                    "Memory of each tree",
                    "bytes",
                    (
                        (
                            _by_index(f"proctree_gpu_memory_bytes{{{_OF_BOTH}}}"),
                            "{{instance}} {{tree}} on GPU {{index}}",
                        ),
                        (
                            _by_index(f"proctree_gpu_memory_max_bytes{{{_OF_BOTH}}}"),
                            "{{instance}} {{tree}} on GPU {{index}}, highest of the window",
                        ),
                    ),
                    "GPU memory of all processes of the tree, and the highest of any second in the window.",
                    empty="The driver's processes are not known, or are not ours",
                ),
                Panel(
                    "wide",
                    "Utilisation of each tree",
                    "percentunit",
                    (
                        (
                            _by_index(f"proctree_gpu_utilization_ratio{{{_OF_BOTH}}}"),
                            "{{instance}} {{tree}} on GPU {{index}} {{engine}}",
                        ),
                    ),
                    "Part of the engine's time that the tree's processes had.",
                    top=1,
                    empty="The driver does not tell it by process",
                ),
                Panel(
                    "wide",
                    "Memory of the largest processes",
                    "bytes",
                    ((f"topk(10, gpu_process_memory_bytes{{{_OF_BOTH}}})", "{{instance}} {{tree}} {{pid}}"),),
                    "GPU memory of each of the ten largest processes.",
                    empty="Only straight to the sidecar, or with --expose.per-process",
                ),
                Panel(
                    "wide",
                    "Utilisation of the busiest processes",
                    "percentunit",
                    (
                        (
                            f"topk(10, gpu_process_utilization_ratio{{{_OF_BOTH}}})",
                            "{{instance}} {{tree}} {{pid}} {{engine}}",
                        ),
                    ),
                    "Part of the engine's time that each of the ten busiest processes had.",
                    top=1,
                    empty="Only straight to the sidecar, or with --expose.per-process",
                ),
            ),
        ),
        (
            "Power, heat and clocks",
            (
                Panel(
                    "graph",
                    "Power",
                    "watt",
                    (
                        (_by_index(f"gpu_power_watts{{{_OF_GPU}}}"), "{{instance}} GPU {{index}}"),
                        (_by_index(f"gpu_power_limit_watts{{{_OF_GPU}}}"), "{{instance}} GPU {{index}} limit"),
                    ),
                    "What the board draws, and the limit in force: near it the clocks are held down.",
                ),
                Panel(
                    "graph",
                    "Temperature",
                    "celsius",
                    (
                        (
                            _by_index(f"gpu_temperature_celsius{{{_OF_GPU}}}"),
                            "{{instance}} GPU {{index}} {{sensor}}",
                        ),
                    ),
                    "Each sensor. Most GPUs hold their clocks down from 83 to 90 degrees on, memory from 95.",
                    _HOT,
                ),
                Panel(
                    "graph",
                    "Fan",
                    "percentunit",
                    ((_by_index(f"gpu_fan_speed_ratio{{{_OF_GPU}}}"), "{{instance}} GPU {{index}}"),),
                    "The speed that the fan is meant to have, of its highest.",
                    top=1,
                    empty="The GPU has no fan of its own",
                ),
                Panel(
                    "wide",
                    "Clocks",
                    "hertz",
                    ((_by_index(f"gpu_clock_hertz{{{_OF_GPU}}}"), "{{instance}} GPU {{index}} {{domain}}"),),
                    "Frequency of each part of the GPU.",
                ),
                Panel(
                    "wide",
                    "Clocks held down",
                    "percentunit",
                    (
                        (
                            _by_index(_rate("gpu_throttle_seconds_total", "reason")),
                            "{{instance}} GPU {{index}} {{reason}}",
                        ),
                    ),
                    "Part of the time in which the clocks were held down, by reason; reasons may overlap.",
                    ((0.2, "yellow"), (0.5, "red")),
                    empty="The driver tells none",
                ),
            ),
        ),
        (
            "Traffic and errors",
            (
                Panel(
                    "graph",
                    "PCI Express",
                    "Bps",
                    (
                        (
                            _by_index(_rate("gpu_pcie_bytes_total", "direction")),
                            "{{instance}} GPU {{index}} {{direction}}",
                        ),
                    ),
                    "Bytes a second, as the GPU sees it.",
                    empty="The driver tells none",
                ),
                Panel(
                    "graph",
                    "Memory errors and Xids",
                    "short",
                    (
                        (
                            _by_index(_increase("gpu_ecc_errors_total", ", type")),
                            "{{instance}} GPU {{index}} {{type}}",
                        ),
                        (
                            _by_index(_increase("gpu_xid_errors_total", ", xid")),
                            "{{instance}} GPU {{index}} Xid {{xid}}",
                        ),
                    ),
                    "In the last hour: memory errors that ECC corrected or could not, and errors that the driver"
                    " reported, by their Xid.",
                    ((1, "red"),),
                    empty="The driver tells none",
                ),
                Panel(
                    "graph",
                    "PCI Express replays",
                    "short",
                    ((_by_index(_increase("gpu_pcie_replays_total", "")), "{{instance}} GPU {{index}}"),),
                    "Transfers that were repeated, in the last hour: a bad slot or riser.",
                    ((100, "red"),),
                    empty="The driver tells none",
                ),
            ),
        ),
        (
            "The GPU worker",
            (
                Panel(
                    "table",
                    "GPUs",
                    "short",
                    ((f"gpu_info{{{_OF_GPU}}}", ""),),
                    "Which GPU is which.",
                ),
                Panel(
                    "graph",
                    "GPUs that answer",
                    "short",
                    ((_by_index(f"gpu_up{{{_OF_GPU}}}"), "{{instance}} GPU {{index}}"),),
                    "1 while the GPU can be read; 0 if it is lost, needs a reset, or its driver does not answer.",
                    top=1,
                ),
                Panel(
                    "graph",
                    "Time of a sample",
                    "s",
                    ((f"gpu_sample_duration_seconds{{{OURS}}}", "{{instance}} all GPUs"),),
                    "Time that the newest sample took in the drivers; a call of 5 s counts as hung.",
                    ((1, "yellow"), (5, "red")),
                ),
                Panel(
                    "graph",
                    "Faults and restarts",
                    "short",
                    (
                        (
                            f"sum by (job, instance) (increase(prom_probe_worker_restarts_total{{{_WORKER}}}[1h]))",
                            "{{instance}} restarts of the worker",
                        ),
                        (
                            f"sum by (job, instance, call, code) (increase(gpu_errors_total{{{OURS}}}[1h]))",
                            "{{instance}} {{call}} {{code}}",
                        ),
                    ),
                    "In the last hour: worker processes that died, and calls of the driver that failed, by its name"
                    " of the error.",
                    ((1, "red"),),
                ),
            ),
        ),
    ),
    annotations=(XIDS, WORKER_RESTARTS),
)
