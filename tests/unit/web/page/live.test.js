// New samples: rates, cells that move on, and what is asked for.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Follower } from '../static/follower.js';
import { Recording } from '../static/recording.js';

const OF = { tree: 't', pid: '5', comm: 'a' };
const START = { metric: { __name__: 'proctree_process_start_time_seconds', ...OF }, values: [[1000, 900.5]] };
const cpu = (mode, ...values) => ({ metric: { __name__: 'proctree_process_cpu_seconds_total', ...OF, mode }, values });

test('a counter becomes a rate, its modes together, each sample once', () => {
  const follower = new Follower(999);
  assert.deepEqual(follower.take([START, cpu('user', [1000, 5]), cpu('system', [1000, 1])]), []);
  const taken = follower.take([START, cpu('user', [1000, 5], [1001, 5.5]), cpu('system', [1001, 1.25])]);
  assert.deepEqual(taken.map(({ kind, process, t, value }) => [kind, process.key, t, value]), [['cpu', '5@900.50', 1001, 0.75]]);
  assert.deepEqual(follower.take([START, cpu('user', [1001, 5.5])]), []);
  assert.equal(follower.newest, 1001);
});

test('a process seen once has a rate of its whole life; a counter that begins anew does not go back', () => {
  const follower = new Follower(999);
  const young = { ...START, values: [[1000, 999]] };
  assert.equal(follower.take([young, cpu('user', [1000, 0.5])])[0].value, 0.5);
  assert.equal(follower.take([young, cpu('user', [1001, 0.25])])[0].value, 0.25);
});

test('lines and gauges are taken as they are', () => {
  const follower = new Follower(999);
  const answer = [{ metric: { __name__: 'proctree_resident_memory_bytes', tree: 't' }, values: [[1000, 7]] },
    { metric: { __name__: 'gpu_utilization_ratio', uuid: 'g1' }, values: [[1000, 0.5]] }];
  assert.deepEqual(follower.take(answer), [
    { line: 'memory', name: '', t: 1000, value: 7 }, { line: 'gpuUse', name: 'g1', t: 1000, value: 0.5 },
  ]);
});

test('as much is asked for as is missing', () => {
  const follower = new Follower(1000);
  assert.equal(follower.secondsSince(1001.5, 1), 3);
  assert.equal(follower.secondsSince(1010, 5), 18);
  assert.equal(follower.behind(1030, 1), false);
});

test('a recording moves on and forgets', () => {
  const recording = new Recording({ start: 1000, end: 1004, step: 1, length: 5 });
  const process = { key: '5@900.50', pid: 5, name: 'a', start: 900.5 };
  recording.events = [{ t: 1000 }, { t: 1003 }];
  recording.putLine('memory', '', 1003.2, 7);
  recording.putValue('memory', process, 1003.2, 6);
  recording.moveTo(1006);
  assert.deepEqual(recording.window, { start: 1002, end: 1006, step: 1, length: 5 });
  assert.deepEqual([...recording.cellsOf('memory')], [NaN, NaN, 7, NaN, NaN]);
  assert.deepEqual([...recording.values.memory.get(process.key)], [NaN, NaN, 6, NaN, NaN]);
  assert.deepEqual(recording.events, [{ t: 1003 }]);
  assert.equal(recording.currentRows(1003.2)[0].memory, 6);
  assert.deepEqual(recording.currentRows(1006), []);
  assert.equal(recording.processes.get(process.key).end, 1003.2);
  recording.moveTo(1010);
  assert.equal(recording.processes.size, 0);
});

test('of a step the greatest value stays', () => {
  const recording = new Recording({ start: 1000, end: 1020, step: 5, length: 5 });
  for (const [t, value] of [[1001, 3], [1002, 9], [1005, 4]]) {
    recording.putLine('memory', '', t, value);
  }
  assert.equal(recording.cellsOf('memory')[1], 9);
});

test('what was asked for arrives although the window has moved on', () => {
  const recording = new Recording({ start: 1000, end: 1004, step: 1, length: 5 });
  const asked = recording.window;
  recording.moveTo(1006);
  recording.takeValues('memory', 'k', Float64Array.of(1, 2, 3, NaN, NaN), asked);
  assert.deepEqual([...recording.values.memory.get('k')], [3, NaN, NaN, NaN, NaN]);
});
