// Where the page's data comes from: a running sidecar, asked over HTTP.
//
// A report has another class with the same methods over data of its own. All times are Unix seconds; a process has a
// `key`, its PID and start, since a PID can be used again.

import { LINES } from './panels.js';
import { processFrom, tableRows } from './processes.js';
import { followExpression, leadersExpression, linesExpression, processExpression, tableExpression } from './promql.js';
import { cellsFrom, emptyCells, parseValue } from './window.js';

const CELLS_AT_ONCE = 200_000; // series x seconds that one query may look at

export class HttpSource {
  #ahead = 0; // seconds that the sidecar's clock is ahead of the reader's

  /** `api`: see api.js. */
  constructor(api) {
    this.api = api;
    this.interval = 1;
    this.canFollow = true; // new samples come while it is watched
    this.canQuery = true; // it answers PromQL
  }

  /** Now, by the sidecar's clock: samples have its time. */
  clock() {
    return Date.now() / 1000 + this.#ahead;
  }

  /** {command, host, start, end, exit_status, signal, trees, interval, version}: what is watched, and since when. */
  async run() {
    const [run, { serverTime }] = await Promise.all([this.api.ask('run'), this.api.ask('status/runtimeinfo')]);
    this.#ahead = (Date.parse(serverTime) - Date.now()) / 1000;
    this.interval = run.interval;
    return run;
  }

  /** [first, last]: the times between which there are samples; null where there are none. */
  async span() {
    const { minTime, maxTime } = (await this.api.ask('status/tsdb', { limit: 1 })).headStats;
    return minTime <= maxTime ? [minTime / 1000, maxTime / 1000] : null;
  }

  async trees() {
    return this.api.ask('label/tree/values', { 'match[]': 'proctree_processes' });
  }

  /** Every process that had samples between two times; see processes.js for what is known of each. */
  async processes(tree, start, end, signal) {
    return (await this.api.ask('processes', { tree, start, end }, { signal })).map(processFrom);
  }

  /** [{t, type, pid, text}], oldest first. */
  async events(tree, start, end, signal) {
    const events = await this.api.ask('events', { start, end }, { signal });
    return events.filter((event) => event.tree === null || event.tree === tree);
  }

  /** Line id -> [{name, cells}]: `name` is "" unless the line is one of several, `cells` are on the window's grid. */
  async lines(ids, tree, window, signal) {
    const found = new Map(ids.map((id) => [id, []]));
    for (const { metric, values } of await this.#range(linesExpression(ids, tree, window, this.interval), window, signal)) {
      const { by } = LINES[metric.q];
      found.get(metric.q).push({ name: by ? (metric[by] ?? '') : '', cells: cellsFrom(window, values) });
    }
    return found;
  }

  /** Key of each process -> cells, for a value of PROCESS_VALUES; a PID's samples go to the process that had it then. */
  async byProcess(value, tree, processes, window, signal) {
    const cells = new Map(processes.map(({ key }) => [key, emptyCells(window)]));
    const atOnce = Math.max(1, Math.floor(CELLS_AT_ONCE / (window.end - window.start)));
    for (let from = 0; from < processes.length; from += atOnce) {
      const pids = processes.slice(from, from + atOnce).map(({ pid }) => pid);
      const answer = await this.#range(processExpression(value, tree, pids, window, this.interval), window, signal);
      for (const { metric, values } of answer) {
        for (const process of processes.filter(({ pid }) => pid === Number(metric.pid))) {
          const alive = values.filter(([t]) => process.first <= t && t - window.step <= process.last);
          cells.set(process.key, cellsFrom(window, alive));
        }
      }
    }
    return cells;
  }

  /** The PIDs of the `count` processes with most of a value in the step that ends at `t`. */
  async leaders(value, tree, count, t, step, signal) {
    const answer = await this.#instant(leadersExpression(value, tree, count, step, this.interval), t, signal);
    return answer.map(({ metric }) => Number(metric.pid));
  }

  /** What the table shows at `t`: a row for each process that was there; see rows.js. */
  async table(tree, t, signal) {
    return tableRows(await this.#instant(tableExpression(tree, this.interval), t, signal));
  }

  /** The raw samples of the last `seconds`: [{metric, values: [[t, number], …]}]. */
  async follow(tree, seconds, signal) {
    const answer = await this.#instant(followExpression(tree, seconds), this.clock(), signal);
    return answer.map(({ metric, values }) => ({ metric, values: values.map(([t, text]) => [t, parseValue(text)]) }));
  }

  /** PromQL at one moment, as the API answers it. */
  async query(query, t, signal) {
    return this.api.ask('query', { query, time: t }, { signal, post: true });
  }

  async queryRange(query, { start, end, step }, signal) {
    return this.api.ask('query_range', { query, start, end, step }, { signal, post: true });
  }

  /** Names of metrics, of labels of a metric, values of a label: for completion. */
  async metricNames(match) {
    return this.api.ask('label/__name__/values', match ? { 'match[]': match } : {});
  }

  async labelNames(metric) {
    return this.api.ask('labels', metric ? { 'match[]': metric } : {});
  }

  async labelValues(label, metric) {
    return this.api.ask(`label/${encodeURIComponent(label)}/values`, metric ? { 'match[]': metric } : {});
  }

  async metadata(metric) {
    return (await this.api.ask('metadata', { metric }))[metric]?.[0] ?? {};
  }

  async #range(query, window, signal) {
    return (await this.queryRange(query, window, signal)).result;
  }

  async #instant(query, t, signal) {
    return (await this.query(query, t, signal)).result;
  }
}
