// The rows of the table at one moment: which processes were there, which had just come or gone, in which order.

const JUST_S = 3; // how long "just" is
const AROUND_S = 5; // a process that ended this shortly before the moment, or began this shortly after it, has a row too

/**
 * Rows for the processes at `t`: `present` as a source's `table` gives them, completed from `processes`, and those that
 * were there shortly before or after. `note`: "started", "ended", "to come" or "", with `noteSeconds`.
 */
export function rowsAt(present, processes, t, step = 1) {
  const known = new Map(processes.map((process) => [process.key, process]));
  const rows = present.map((row) => {
    const process = known.get(row.key);
    const age = t - row.start;
    return {
      ...row,
      parent: row.parent ?? process?.parent ?? null,
      commandLine: row.commandLine ?? process?.commandLine ?? null,
      age,
      there: true,
      ...(age <= JUST_S ? { note: 'started', noteSeconds: Math.max(0, age) } : { note: '', noteSeconds: 0 }),
    };
  });
  const there = new Set(rows.map(({ key }) => key));
  for (const process of processes) {
    if (!there.has(process.key)) {
      const absent = maybeAbsent(process, t, Math.max(AROUND_S, step));
      if (absent) {
        rows.push(absent);
      }
    }
  }
  return rows;
}

/** The row of a process that is not there at `t`, but was within `around` seconds. */
function maybeAbsent(process, t, around) {
  const end = process.end ?? process.last;
  const [note, noteSeconds] = process.first > t ? ['to come', process.first - t] : ['ended', t - end];
  if (noteSeconds > around || (note === 'ended' && process.end === null)) {
    return null;
  }
  const { key, pid, name, parent, commandLine, start, peak } = process;
  const how = note === 'ended' ? howItEnded(process) : '';
  return { key, pid, name, parent, commandLine, start, peak, age: NaN, there: false, note, noteSeconds: Math.max(0, noteSeconds), how };
}

/** What is worth saying of an end: a signal, a status other than 0. */
function howItEnded({ exitStatus, signal }) {
  if (signal) {
    return `killed by signal ${signal}`;
  }
  return exitStatus ? `exited with status ${exitStatus}` : '';
}

/** What a column sorts by; text sorts up, numbers down at first. */
export const COLUMNS = [
  { id: 'name', title: 'Process', text: true },
  { id: 'memory', title: 'Memory' },
  { id: 'cpu', title: 'CPUs' },
  { id: 'pid', title: 'PID', up: true },
  { id: 'parent', title: 'Parent', up: true },
  { id: 'age', title: 'Age' },
  { id: 'threads', title: 'Threads' },
  { id: 'read', title: 'Read' },
  { id: 'write', title: 'Written' },
];

/** A process that has gone sorts by the most memory it had: it may be the one that is looked for. */
function sortValue(row, id) {
  if (id === 'memory' && !row.there) {
    return row.peak ?? -1;
  }
  return row[id] ?? NaN;
}

function comparing(id, up) {
  const text = COLUMNS.find((column) => column.id === id).text;
  return (one, other) => {
    const [a, b] = [sortValue(one, id), sortValue(other, id)];
    if (text) {
      return (up ? 1 : -1) * String(a).localeCompare(String(b));
    }
    // What has no value comes last, either way.
    return Number.isNaN(a) - Number.isNaN(b) || (up ? a - b : b - a) || one.pid - other.pid;
  };
}

/** The rows in order; as a tree, children follow their parent, and `depth` says how far down each is. */
export function arrange(rows, { by, up, tree }) {
  const sorted = [...rows].sort(comparing(by, up));
  if (!tree) {
    return sorted.map((row) => ({ ...row, depth: 0 }));
  }
  const pids = new Set(rows.map(({ pid }) => pid));
  const children = groupByParent(sorted);
  const found = [];
  const seen = new Set();
  const visit = (row, depth) => {
    if (seen.has(row.key)) {
      return; // a PID that was used again can make a circle
    }
    seen.add(row.key);
    found.push({ ...row, depth });
    for (const child of children.get(row.pid) ?? []) {
      visit(child, depth + 1);
    }
  };
  sorted.filter((row) => !pids.has(row.parent) || row.parent === row.pid).forEach((row) => visit(row, 0));
  sorted.forEach((row) => visit(row, 0));
  return found;
}

function groupByParent(rows) {
  const groups = new Map();
  for (const row of rows) {
    groups.set(row.parent, [...(groups.get(row.parent) ?? []), row]);
  }
  return groups;
}
