// Which processes are chosen, and the table's rows.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { processFrom, processKey, tableRows } from '../static/processes.js';
import { arrange, rowsAt } from '../static/rows.js';
import { chooseProcesses, Palette } from '../static/selection.js';

const WINDOW = { start: 1000, end: 1300, step: 1, length: 301 };

function process(pid, peak, { first = 1000, last = 1300, cpuSeconds = 0, end = null, start = first, parent = 1 } = {}) {
  return { key: processKey(pid, start), pid, parent, name: `p${pid}`, names: [], commandLine: null, start, first, last, end, peak, cpuSeconds };
}

test('who led at the greatest second has a place beside the largest', () => {
  const many = Array.from({ length: 20 }, (_, index) => process(100 + index, 1000 + index));
  const brief = process(7, 5000, { first: 1100, last: 1101, end: 1101 });
  const busy = process(8, 10, { cpuSeconds: 200 });
  const leaders = { memory: { pids: [7], t: 1101 } };
  const pids = chooseProcesses([...many, brief, busy], WINDOW, { leaders }).map(({ pid }) => pid);
  assert.equal(pids.length, 7);
  assert.ok(pids.includes(7));
  assert.ok(pids.includes(8));
  assert.deepEqual(pids.slice(0, 2), [119, 118]); // largest first, so at the bottom
});

test('children of a second do not take all places', () => {
  const children = Array.from({ length: 50 }, (_, index) => process(200 + index, 9000, { first: 1000 + index, last: 1001 + index, end: 1001 + index }));
  const pids = chooseProcesses([...children, process(1, 1000)], WINDOW).map(({ pid }) => pid);
  assert.equal(pids[0], 1);
});

test('who was asked for comes first; a PID that was used again means whoever had it then', () => {
  const [old, young] = [process(5, 10, { first: 1000, last: 1010, end: 1010 }), process(5, 10, { first: 1100, last: 1300 })];
  const chosen = chooseProcesses([old, young, process(6, 99)], WINDOW, { leaders: { memory: { pids: [5], t: 1005 } }, most: 1 });
  assert.deepEqual(chosen, [old]);
  assert.deepEqual(chooseProcesses([old, young], WINDOW, { pinned: [young.key], most: 1 }), [young]);
});

test('a colour stays for as long as its process is chosen', () => {
  const palette = new Palette(['red', 'green']);
  palette.assign(['a', 'b']);
  palette.assign(['b', 'c']);
  assert.deepEqual(['a', 'b', 'c'].map((key) => palette.colourOf(key)), [undefined, 'green', 'red']);
  palette.assign(['b', 'c', 'd']);
  assert.equal(palette.colourOf('d'), undefined);
});

test("rows from the API's answer", () => {
  const labels = { tree: 't', pid: '5', comm: 'a' };
  const answer = [
    { metric: { __name__: 'proctree_process_resident_memory_bytes', ...labels }, value: [1, '7'] },
    { metric: { __name__: 'proctree_process_start_time_seconds', ...labels }, value: [1, '1000.5'] },
    { metric: { __name__: 'proctree_process_info', ...labels, ppid: '4', cmdline: 'a b' }, value: [1, '1'] },
    { metric: { pid: '5', comm: 'a', q: 'cpu' }, value: [1, '0.5'] },
    { metric: { pid: '6', comm: 'without a start', q: 'cpu' }, value: [1, '0.5'] },
  ];
  assert.deepEqual(tableRows(answer), [
    { key: '5@1000.50', pid: 5, name: 'a', parent: 4, commandLine: 'a b', memory: 7, start: 1000.5, cpu: 0.5 },
  ]);
});

test('a process of the API', () => {
  const raw = { pid: 5, ppid: 4, comm: ['sh', 'python'], cmdline: null, start: 1, first: 2, last: 3, end: null, memory_peak_bytes: 9, cpu_seconds: 1, exit_status: null, signal: null };
  const { key, name, parent, peak } = processFrom(raw);
  assert.deepEqual({ key, name, parent, peak }, { key: '5@1.00', name: 'python', parent: 4, peak: 9 });
});

test('who was just there, or soon will be, has a row', () => {
  const there = { key: processKey(1, 1198), pid: 1, start: 1198, name: 'p1', parent: null, commandLine: null, memory: 5 };
  const known = [
    process(1, 5, { start: 1198, first: 1198, parent: 77 }),
    { ...process(2, 6, { last: 1197, end: 1197.5 }), signal: 9 },
    process(3, 7, { first: 1203 }),
    process(4, 8, { last: 1190, end: 1190.5 }),
    process(5, 9, { first: 1210 }),
    process(6, 9, { last: 1199 }), // it lives: its newest sample is only not here yet
  ];
  const rows = rowsAt([there], known, 1200);
  assert.deepEqual(rows.map(({ pid, there: is, note, noteSeconds }) => [pid, is, note, noteSeconds]), [
    [1, true, 'started', 2], [2, false, 'ended', 2.5], [3, false, 'to come', 3],
  ]);
  assert.equal(rows[0].parent, 77);
  assert.equal(rows[1].how, 'killed by signal 9');
});

const ROWS = [
  { key: 'a', pid: 1, parent: 0, name: 'init', memory: 5, there: true },
  { key: 'b', pid: 2, parent: 1, name: 'b', memory: 50, there: true },
  { key: 'c', pid: 3, parent: 2, name: 'c', memory: NaN, there: true },
  { key: 'd', pid: 4, parent: 1, name: 'd', memory: 70, there: true },
  { key: 'e', pid: 5, parent: 9, name: 'e', peak: 60, there: false },
];

test('rows are sorted; what has no value comes last, what has gone counts by its peak', () => {
  const order = (by, up) => arrange(ROWS, { by, up, tree: false }).map(({ pid }) => pid);
  assert.deepEqual(order('memory', false), [4, 5, 2, 1, 3]);
  assert.deepEqual(order('memory', true), [1, 2, 5, 4, 3]);
  assert.deepEqual(order('name', true), [2, 3, 4, 5, 1]);
});

test('as a tree, children follow their parent; a circle of parents ends', () => {
  const arranged = arrange(ROWS, { by: 'memory', up: false, tree: true });
  assert.deepEqual(arranged.map(({ pid, depth }) => [pid, depth]), [[5, 0], [1, 0], [4, 1], [2, 1], [3, 2]]);
  const circle = [{ key: 'a', pid: 1, parent: 2, memory: 1, there: true }, { key: 'b', pid: 2, parent: 1, memory: 2, there: true }];
  assert.equal(arrange(circle, { by: 'memory', up: false, tree: true }).length, 2);
});
