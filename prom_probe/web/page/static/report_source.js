// Where a report's data comes from: the samples that the file has inside. It answers what HttpSource answers.

import { LINES, PROCESS_VALUES } from './panels.js';
import { processFrom } from './processes.js';
import { ratesOf } from './rates.js';
import { cellOf, emptyCells } from './window.js';

// A sample stands for this many intervals, unless another comes: collections are not quite evenly spaced.
const HELD_INTERVALS = 1.5;

// A row of the table: its cells' metrics.
const ROW_VALUES = {
  memory: PROCESS_VALUES.memory,
  cpu: PROCESS_VALUES.cpu,
  threads: { metric: 'proctree_process_threads', rate: false },
  read: { metric: 'proctree_process_io_read_bytes_total', rate: true },
  write: { metric: 'proctree_process_io_write_bytes_total', rate: true },
};

/** The samples of a series with from < t <= to, as [t, value]. */
function between({ times, values }, from, to) {
  const found = [];
  for (let place = firstAfter(times, from); place < times.length && times[place] <= to; place++) {
    found.push([times[place], values[place]]);
  }
  return found;
}

/** The place of the first time that is after `t`. */
function firstAfter(times, t) {
  let [low, high] = [0, times.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] > t) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

export class ReportSource {
  #series = new Map(); // metric and tree -> label -> series
  #processes = new Map(); // tree -> its processes

  /** `about` and `series`: see packed.js. */
  constructor(about, series) {
    this.about = about;
    this.interval = about.run.interval;
    this.canFollow = false;
    this.canQuery = false;
    for (const each of series) {
      const key = `${each.metric} ${each.tree}`;
      this.#series.set(key, (this.#series.get(key) ?? new Map()).set(each.label, each));
    }
    for (const tree of about.run.trees) {
      this.#processes.set(tree, about.processes.filter((process) => process.tree === tree).map(processFrom));
    }
  }

  clock() {
    return this.about.span[1];
  }

  async run() {
    return this.about.run;
  }

  async span() {
    return this.about.span;
  }

  async trees() {
    return this.about.run.trees;
  }

  async processes(tree, start, end) {
    return this.#processesOf(tree).filter(({ first, last }) => last >= start && first <= end);
  }

  async events(tree, start, end) {
    return this.about.events.filter((event) => (event.tree === null || event.tree === tree) && event.t >= start && event.t <= end);
  }

  async lines(ids, tree, window) {
    return new Map(ids.map((id) => {
      const { metric, rate, tree: ofTree, by } = LINES[id];
      const lines = [...this.#find(metric, ofTree ? tree : '').values()].map((series) => {
        const samples = this.#samples(series, rate, window.start - window.step, window.end);
        return { name: by ? series.label : '', cells: this.#cells(samples, window) };
      });
      return [id, lines];
    }));
  }

  async byProcess(value, tree, processes, window) {
    return new Map(processes.map((process) => [process.key, this.#cells(this.#ofProcess(PROCESS_VALUES[value], tree, process, window.start - window.step, window.end), window)]));
  }

  async leaders(value, tree, count, t, step) {
    const there = this.#processesOf(tree).filter(({ first, last }) => first <= t && last > t - step);
    const amounts = there.map((process) => {
      const samples = this.#ofProcess(PROCESS_VALUES[value], tree, process, t - step, t);
      return [process.pid, Math.max(0, ...samples.map(([, amount]) => amount))];
    });
    return amounts.sort(([, one], [, other]) => other - one).slice(0, count).map(([pid]) => pid);
  }

  async table(tree, t) {
    const from = t - HELD_INTERVALS * this.interval;
    const rows = [];
    for (const process of this.#processesOf(tree)) {
      const { key, pid, name, parent, commandLine, start, first, last, peak } = process;
      const row = { key, pid, name, parent, commandLine, start, peak };
      if (first <= t && last > from && (process.end === null || t < process.end)) {
        for (const [cell, value] of Object.entries(ROW_VALUES)) {
          row[cell] = this.#ofProcess(value, tree, process, from, t).at(-1)?.[1];
        }
        rows.push(row);
      }
    }
    return rows.filter(({ memory }) => memory !== undefined);
  }

  #processesOf(tree) {
    return this.#processes.get(tree) ?? [];
  }

  #find(metric, tree) {
    return this.#series.get(`${metric} ${tree}`) ?? new Map();
  }

  /** The samples of a value of a process: a PID's belong to the process that had it then. */
  #ofProcess({ metric, rate }, tree, { pid, start, first, last }, from, to) {
    const series = this.#find(metric, tree).get(String(pid));
    if (!series) {
      return [];
    }
    const before = first - 0.001;
    return this.#samples(series, rate, Math.max(from, before), Math.min(to, last), from <= before ? start : undefined);
  }

  /** [t, value], from < t <= to; by the second for counters. `start`: of a process whose first sample is among them. */
  #samples(series, rate, from, to, start) {
    const samples = between(series, from, to);
    if (!rate || !samples.length) {
      return samples;
    }
    const place = firstAfter(series.times, from) - 1;
    const last = start === undefined && place >= 0 ? [series.times[place], series.values[place]] : undefined;
    return ratesOf(samples, last, start);
  }

  /** The greatest value of each step. */
  #cells(samples, window) {
    const cells = emptyCells(window);
    const held = HELD_INTERVALS * this.interval;
    samples.forEach(([t, value], place) => {
      const cell = cellOf(window, t);
      if (cell < 0 || cell >= cells.length) {
        return;
      }
      if (!(cells[cell] > value)) {
        cells[cell] = value;
      }
      const next = samples[place + 1]?.[0] ?? Infinity;
      const heldTo = window.start + (cell + 1) * window.step;
      if (next > heldTo && heldTo - t < held && place + 1 < samples.length && cell + 1 < cells.length) {
        cells[cell + 1] = value;
      }
    });
    return cells;
  }
}
