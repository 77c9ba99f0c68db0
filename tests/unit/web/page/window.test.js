import assert from 'node:assert/strict';
import { test } from 'node:test';

import { cellOf, cellsFrom, greatestCell, parseValue, stepFor, timesOf, windowOf } from '../static/window.js';

test('a step is round, at least the interval, and leaves at most 1200 points', () => {
  for (const [seconds, interval, step] of [
    [60, 1, 1], [1200, 1, 1], [1201, 1, 2], [3600, 1, 5], [28800, 1, 30], [60, 5, 5], [60, 0.5, 1], [864000, 1, 1800], [9e6, 1, 10800],
  ]) {
    assert.equal(stepFor(seconds, interval), step, `${seconds} ${interval}`);
  }
});

test('a window is aligned to its step and covers the range', () => {
  const window = windowOf(1003.4, 4603.1);
  assert.deepEqual(window, { start: 1000, end: 4605, step: 5, length: 722 });
  assert.equal(timesOf(window).at(-1), 4605);
  assert.equal(windowOf(7, 7).length, 2);
});

test('a cell has what was within the step before its time', () => {
  const window = windowOf(1000, 4600);
  assert.deepEqual([1000, 1000.1, 1005, 1005.01, 999, 994].map((t) => cellOf(window, t) + 0), [0, 1, 1, 2, 0, -1]);
});

test('values get to their cells; what lies outside is left out', () => {
  const window = { start: 10, end: 13, step: 1, length: 4 };
  assert.deepEqual([...cellsFrom(window, [[10, '1'], [12, '+Inf'], [14, '9'], [9, '9']])], [1, NaN, Infinity, NaN]);
});

test("Prometheus's numbers", () => {
  assert.deepEqual(['1e3', '+Inf', '-Inf'].map(parseValue), [1000, Infinity, -Infinity]);
  assert.ok(Number.isNaN(parseValue('NaN')));
});

test('the greatest of some cells', () => {
  const cells = Float64Array.of(NaN, 3, 9, 4, NaN);
  assert.equal(greatestCell(cells), 2);
  assert.equal(greatestCell(cells, 3, 99), 3);
  assert.equal(greatestCell(cells, -5, 1), 1);
  assert.equal(greatestCell(cells, 4, 4), -1);
});
