// Units, times, the address: what a person reads.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { formatAxisTimes, formatMoment, formatOffset } from '../static/time.js';
import { shortCommand } from '../static/processes.js';
import { formatBytes, formatByteRate, formatCpus, formatDuration, formatNumber, formatProcesses } from '../static/units.js';
import { DEFAULT_STATE, readHash, writeHash } from '../static/url.js';

const table = (format, rows) => rows.forEach(([value, text]) => assert.equal(format(value), text));

test('bytes in binary units', () => {
  table(formatBytes, [[0, '0 B'], [1023, '1023 B'], [1024, '1 KiB'], [1536, '1.50 KiB'], [250 * 2 ** 20, '250 MiB'],
    [2 ** 30 - 1, '1.00 GiB'], [1.5 * 2 ** 50, '1.50 PiB'], [NaN, '–'], [undefined, '–']]);
  assert.equal(formatByteRate(2 ** 20), '1 MiB/s');
});

test('numbers', () => {
  table(formatCpus, [[0, '0.00'], [1.234, '1.23'], [NaN, '–']]);
  table(formatNumber, [[0, '0'], [12.34, '12.3'], [0.001, '0.001'], [123.4, '123'], [2e7, '2.00e+7'], [Infinity, '–']]);
});

test('durations in their two largest units', () => {
  table(formatDuration, [[0.34, '0.3 s'], [45, '45 s'], [60, '1 min'], [200, '3 min 20 s'], [7500, '2 h 5 min'], [90000, '1 d 1 h'], [NaN, '–']]);
});

test('times are local and say by how much', () => {
  // The tests run with TZ=Asia/Kolkata, which is five and a half hours ahead.
  assert.equal(formatOffset(0), '+05:30');
  assert.equal(formatMoment(1_700_000_000, 1_700_000_000), '03:43:20 +05:30');
  assert.equal(formatMoment(1_700_000_000, 1_800_000_000), '2023-11-15 03:43:20 +05:30');
  assert.deepEqual(formatAxisTimes([1_700_000_000, 1_700_000_030]), ['03:43:20', '03:43:50']);
  assert.deepEqual(formatAxisTimes([1_699_986_600 - 3600, 1_699_986_600]), ['23:00', '00:00\n2023-11-15']);
});

test('the address comes back as it was written', () => {
  const states = [
    { ...DEFAULT_STATE, tree: 'app' },
    { tree: 'a&b=c #"', last: null, from: 1000, to: 2000.5, at: 1234.567, live: false, draw: ['max(x{a="b"})', 'y'] },
    { tree: null, last: 900, from: null, to: null, at: null, live: false, draw: [] },
  ];
  for (const state of states) {
    assert.deepEqual(readHash(writeHash(state)), state);
  }
});

test('an address that cannot be read is not an error', () => {
  assert.equal(readHash(''), null);
  assert.deepEqual(readHash('#from=9&to=1&at=x&last=-4'), { ...DEFAULT_STATE, live: false });
});

test('command lines without their program\'s directory', () => {
  table(shortCommand, [['/usr/bin/python3 /work/train.py', 'python3 /work/train.py'], ['train /x', 'train /x'], ['/', '/'], ['', '']]);
  table(formatProcesses, [[1, '1 process'], [0, '0 processes'], [12, '12 processes']]);
});
