// What is drawn: the lines, by metric, and the panels that show them.

/**
 * A line: `rate` for counters; `tree`: the metric has the label `tree`; `by`: one line for each value of that label.
 * Both kinds of source, a running sidecar and a report's own data, make their values from this table.
 */
const line = (metric, label, more = {}) => ({ metric, label, rate: false, tree: true, by: null, ...more });
const rate = (metric, label, more = {}) => line(metric, label, { rate: true, ...more });

export const LINES = {
  memory: line('proctree_resident_memory_bytes', 'all processes'),
  memoryHighest: line('proctree_resident_memory_max_bytes', 'highest of late, between samples too'),
  memoryLimit: line('cgroup_memory_limit_effective_bytes', 'limit'),
  cpu: rate('proctree_cpu_seconds_total', 'all processes'),
  cpuLimit: line('cgroup_cpus_effective', 'limit'),
  read: rate('proctree_io_read_bytes_total', 'read'),
  write: rate('proctree_io_write_bytes_total', 'written'),
  processes: line('proctree_processes', 'processes'),
  threads: line('proctree_threads', 'threads'),
  descriptors: line('proctree_open_fds', 'descriptors'),
  waiting: rate('proctree_cpu_waiting_seconds_total', 'waiting for a CPU'),
  throttled: rate('cgroup_cpu_throttled_seconds_total', 'throttled'),
  cpuPressure: rate('cgroup_pressure_cpu_waiting_seconds_total', 'CPU pressure'),
  memoryPressure: rate('cgroup_pressure_memory_waiting_seconds_total', 'memory pressure'),
  ioPressure: rate('cgroup_pressure_io_waiting_seconds_total', 'IO pressure'),
  gpuUse: line('gpu_utilization_ratio', 'in use', { tree: false, by: 'uuid' }),
  gpuMemory: line('gpu_memory_used_bytes', 'used', { tree: false, by: 'uuid' }),
};

/** Values of single processes. */
export const PROCESS_VALUES = {
  memory: { metric: 'proctree_process_resident_memory_bytes', rate: false },
  cpu: { metric: 'proctree_process_cpu_seconds_total', rate: true },
};

/**
 * `stacked`: a value of PROCESS_VALUES, by process, below its lines; the first of them is the total. `dashed`: limits and
 * maxima. `tall`: where the answer is most often found. A panel without any data is not shown.
 */
export const PANELS = [
  { id: 'memory', title: 'Memory by process', unit: 'bytes', stacked: 'memory', tall: true,
    lines: ['memory', 'memoryLimit', 'memoryHighest'], dashed: ['memoryLimit', 'memoryHighest'] },
  { id: 'cpu', title: 'CPUs by process', unit: 'cpus', stacked: 'cpu', tall: true,
    lines: ['cpu', 'cpuLimit'], dashed: ['cpuLimit'] },
  { id: 'io', title: 'Storage', unit: 'byteRate', lines: ['read', 'write'] },
  { id: 'counts', title: 'Processes, threads, descriptors', unit: 'count', lines: ['processes', 'threads', 'descriptors'] },
  { id: 'waiting', title: 'Waiting and throttled, seconds a second', unit: 'number',
    lines: ['waiting', 'throttled', 'cpuPressure', 'memoryPressure', 'ioPressure'] },
  { id: 'gpu', title: 'GPUs in use', unit: 'ratio', lines: ['gpuUse'] },
  { id: 'gpuMemory', title: 'Memory of GPUs', unit: 'bytes', lines: ['gpuMemory'] },
];

/** The colours of Okabe and Ito, which people with any colour vision tell apart; see page.css for the rest's grey. */
export const COLOURS = ['#0072b2', '#e69f00', '#009e73', '#cc79a7', '#56b4e9', '#d55e00', '#f0e442'];
