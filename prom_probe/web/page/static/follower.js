// From raw samples of the last seconds to new values: rates are made here, so that being live costs the sidecar little.

import { LINES, PROCESS_VALUES } from './panels.js';
import { processKey } from './processes.js';
import { ratesOf } from './rates.js';

const FORGET_S = 60;

const LINE_OF = new Map(Object.entries(LINES).map(([id, line]) => [line.metric, { id, ...line }]));
const VALUE_OF = new Map(Object.entries(PROCESS_VALUES).map(([kind, value]) => [value.metric, { kind, ...value }]));

export class Follower {
  #seen = new Map(); // series -> its last [t, value]

  /** `since`: the time up to which everything is known. */
  constructor(since) {
    this.newest = since; // the time of the newest sample
  }

  /** How many seconds have to be asked for: all that is new, and of each series the sample before that. */
  secondsSince(now, interval) {
    return Math.ceil(Math.max(0, now - this.newest) + 1.5 * interval);
  }

  /** Whether so much is missing that it is cheaper to load the whole range anew. */
  behind(now, interval) {
    return now - this.newest > FORGET_S + interval && this.#seen.size > 0;
  }

  /** New values only: [{line, name, t, value}] and [{kind, process, t, value}], from what a source's `follow` gives. */
  take(answer) {
    const starts = new Map();
    for (const { metric, values } of answer) {
      if (metric.__name__ === 'proctree_process_start_time_seconds') {
        starts.set(`${metric.pid} ${metric.comm}`, values.at(-1)[1]);
      }
    }
    const sums = new Map(); // what the modes of a counter add up to
    for (const { metric, values } of answer) {
      const line = LINE_OF.get(metric.__name__);
      const ofProcess = VALUE_OF.get(metric.__name__);
      const start = starts.get(`${metric.pid} ${metric.comm}`);
      if (!line && (!ofProcess || start === undefined)) {
        continue;
      }
      for (const [t, value] of this.#fresh(metric, values, (line ?? ofProcess).rate, start)) {
        const target = line
          ? { line: line.id, name: line.by ? (metric[line.by] ?? '') : '' }
          : { kind: ofProcess.kind, process: { key: processKey(Number(metric.pid), start), pid: Number(metric.pid), name: metric.comm, start } };
        const key = `${line ? `${line.id} ${target.name}` : `${ofProcess.kind} ${target.process.key}`} ${t}`;
        const sum = sums.get(key) ?? { ...target, t, value: 0 };
        sum.value += value;
        sums.set(key, sum);
      }
    }
    this.#forget();
    return [...sums.values()];
  }

  /** Samples that are new, as they are or by the second. `start`: when the process began. */
  #fresh(metric, values, rate, start) {
    const series = JSON.stringify(metric);
    const last = this.#seen.get(series);
    const fresh = values.filter(([t]) => !last || t > last[0]);
    if (fresh.length) {
      this.#seen.set(series, fresh.at(-1));
      this.newest = Math.max(this.newest, fresh.at(-1)[0]);
    }
    return rate ? ratesOf(fresh, last, start) : fresh;
  }

  #forget() {
    for (const [series, [t]] of this.#seen) {
      if (t < this.newest - FORGET_S) {
        this.#seen.delete(series);
      }
    }
  }
}
