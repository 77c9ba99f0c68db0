// Processes and rows of the table, from the API's words to the page's.

import { parseValue } from './window.js';

/** A process is its PID and its start, since a PID can be used again. */
export const processKey = (pid, start) => `${pid}@${start.toFixed(2)}`;

/** A process of /api/v1/processes in the page's words. `end`: null while it lives. */
export function processFrom(raw) {
  return {
    key: processKey(raw.pid, raw.start),
    pid: raw.pid,
    parent: raw.ppid,
    name: raw.comm.at(-1) ?? '',
    names: raw.comm,
    commandLine: raw.cmdline,
    start: raw.start,
    first: raw.first,
    last: raw.last,
    end: raw.end,
    peak: raw.memory_peak_bytes,
    cpuSeconds: raw.cpu_seconds,
    exitStatus: raw.exit_status,
    signal: raw.signal,
  };
}

/** A command line without its program's directory, which is long and seldom tells processes apart. */
export function shortCommand(commandLine) {
  return commandLine.replace(/^\S*\/(?=\S)/, '');
}

const CELL_OF = {
  proctree_process_memory_peak_bytes: 'peak',
  proctree_process_open_fds: 'descriptors',
  proctree_process_resident_memory_bytes: 'memory',
  proctree_process_start_time_seconds: 'start',
  proctree_process_threads: 'threads',
};

/** One row for each PID and start from the answer to `tableExpression`. */
export function tableRows(answer) {
  const rows = new Map();
  for (const { metric, value } of answer) {
    const { pid, comm } = metric;
    if (pid === undefined) {
      continue;
    }
    const key = `${pid} ${comm}`;
    const row = rows.get(key) ?? { pid: Number(pid), name: comm, parent: null, commandLine: null };
    rows.set(key, row);
    if (metric.__name__ === 'proctree_process_info') {
      row.parent = Number(metric.ppid);
      row.commandLine = metric.cmdline || null;
    } else {
      row[CELL_OF[metric.__name__] ?? metric.q] = parseValue(value[1]);
    }
  }
  return [...rows.values()]
    .filter((row) => row.start !== undefined)
    .map((row) => ({ ...row, key: processKey(row.pid, row.start) }));
}
