// PromQL for the lines and values of panels.js, and for the table of processes.

import { LINES, PROCESS_VALUES } from './panels.js';

/** A string of PromQL's: JSON's escapes are a part of Go's. */
export function quoted(text) {
  return JSON.stringify(text);
}

function selector(metric, tree, more = '') {
  const matchers = [tree === null ? '' : `tree=${quoted(tree)}`, more].filter(Boolean).join(',');
  return matchers ? `${metric}{${matchers}}` : metric;
}

/** How far back irate needs to look to see two samples that are `interval` seconds apart, one of them late. */
function rateWindow(interval) {
  return `${Math.max(3, Math.ceil(2.5 * interval))}s`;
}

/** The greatest value within each step; as it is where every sample has a step of its own. */
function greatest(expr, window, interval) {
  if (window.step <= interval) {
    return expr;
  }
  return `max_over_time((${expr})[${window.step}s:${Math.max(1, Math.floor(interval))}s])`;
}

/** A value a second between a counter's last two samples: smoothing would hide a process that was busy in one second alone. */
function perSecond(series, interval) {
  return `irate(${series}[${rateWindow(interval)}])`;
}

function lineExpression(id, tree, window, interval) {
  const { metric, rate, tree: ofTree, by } = LINES[id];
  const series = selector(metric, ofTree ? tree : null);
  const value = rate ? `sum by (${by ?? 'tree'}) (${perSecond(series, interval)})` : series;
  const whole = greatest(value, window, interval);
  // `or` looks at labels alone, not at names: without `q`, all but the first of these would be dropped.
  return `label_replace(${whole}, "q", ${quoted(id)}, "", "")`;
}

/** Several lines in one query; each series of the answer has the label `q`, the line's name in LINES. */
export function linesExpression(ids, tree, window, interval) {
  return ids.map((id) => lineExpression(id, tree, window, interval)).join(' or ');
}

/** CPU seconds a second, by process. A process seen once has no rate: its whole time by its age stands for that. */
function processCpu(tree, pids, interval) {
  const which = pids === null ? '' : `pid=~${quoted(pids.join('|'))}`;
  const counter = selector(PROCESS_VALUES.cpu.metric, tree, which);
  const start = selector('proctree_process_start_time_seconds', tree, which);
  const fresh = `${Math.max(1, Math.ceil(interval))}s`;
  return (
    `sum by (pid, comm) (${perSecond(counter, interval)}) or sum by (pid, comm) (last_over_time(${counter}[${fresh}]))` +
    ` / on (pid, comm) clamp_min(time() - max by (pid, comm) (last_over_time(${start}[${fresh}])), 1)`
  );
}

/** A value of PROCESS_VALUES for some processes, one series for each PID. */
export function processExpression(value, tree, pids, window, interval) {
  const { metric, rate } = PROCESS_VALUES[value];
  const series = rate ? processCpu(tree, pids, interval) : selector(metric, tree, `pid=~${quoted(pids.join('|'))}`);
  return `max by (pid) (${greatest(series, window, interval)})`;
}

/** The PIDs of the `count` processes with most of a value within the step that ends at the query's time. */
export function leadersExpression(value, tree, count, step, interval) {
  const { metric, rate } = PROCESS_VALUES[value];
  const seconds = Math.max(step, interval);
  const series = selector(metric, tree);
  const amount = rate ? `rate(${series}[${Math.max(3, seconds)}s])` : `max_over_time(${series}[${seconds}s])`;
  return `topk(${count}, sum by (pid) (${amount}))`;
}

const TABLE_METRICS = [
  'proctree_process_info',
  'proctree_process_memory_peak_bytes',
  'proctree_process_open_fds',
  'proctree_process_resident_memory_bytes',
  'proctree_process_start_time_seconds',
  'proctree_process_threads',
];

/** All of the table's cells at one moment; series without a name have the label `q`. */
export function tableExpression(tree, interval) {
  const gauges = `{__name__=~${quoted(TABLE_METRICS.join('|'))},tree=${quoted(tree)}}`;
  const rates = { cpu: processCpu(tree, null, interval) };
  for (const way of ['read', 'write']) {
    rates[way] = perSecond(selector(`proctree_process_io_${way}_bytes_total`, tree), interval);
  }
  return [gauges, ...Object.entries(rates).map(([q, expr]) => `label_replace(${expr}, "q", ${quoted(q)}, "", "")`)].join(' or ');
}

const FOLLOWED_PROCESS_METRICS = [
  PROCESS_VALUES.memory.metric,
  PROCESS_VALUES.cpu.metric,
  'proctree_process_start_time_seconds',
];

/** The raw samples of the last seconds of everything that is drawn: one cheap query, the rates are made here. */
export function followExpression(tree, seconds) {
  const names = [...FOLLOWED_PROCESS_METRICS, ...Object.values(LINES).map((each) => each.metric)].sort();
  const orWithout = `${tree.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}|`; // what belongs to no tree, a GPU, has no such label
  return `{__name__=~${quoted(names.join('|'))},tree=~${quoted(orWithout)}}[${seconds}s]`;
}
