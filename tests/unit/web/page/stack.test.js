import assert from 'node:assert/strict';
import { test } from 'node:test';

import { stackUp, withNulls } from '../static/stack.js';

test('bands are summed from the bottom up, and the rest reaches the total', () => {
  assert.deepEqual(stackUp([[1, 2], [10, 20]], [100, 200]), [[1, 2], [11, 22], [100, 200]]);
});

test('a process that is not there counts 0, so that one lone second is drawn', () => {
  assert.deepEqual(stackUp([[NaN, 5, NaN]], [7, 9, 7]), [[0, 5, 0], [7, 9, 7]]);
});

test('nothing is known where the total is not known', () => {
  assert.deepEqual(stackUp([[1, 1, 1]], [NaN, 3, NaN]), [[null, 1, null], [null, 3, null]]);
});

test('maxima that sum to more than the total leave no rest below 0', () => {
  assert.deepEqual(stackUp([[6], [6]], [10]), [[6], [12], [12]]);
});

test('without a band there is the total alone', () => {
  assert.deepEqual(stackUp([], [3, NaN]), [[3, null]]);
});

test('lines have null where there is no value', () => {
  assert.deepEqual(withNulls(Float64Array.of(1, NaN, 0)), [1, null, 0]);
});
