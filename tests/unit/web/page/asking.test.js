// Requests: how many at a time, again when busy, errors; PromQL and its completion.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Api, ApiError, Queue } from '../static/api.js';
import { completionAt, matching } from '../static/completion.js';
import { followExpression, linesExpression, processExpression } from '../static/promql.js';

const answer = (status, body) => new Response(typeof body === 'string' ? body : JSON.stringify(body), { status });

test('so many at a time, in order', async () => {
  const queue = new Queue(2);
  const begun = [];
  const ends = [];
  const task = (name) => queue.run(() => { begun.push(name); return new Promise((end) => ends.push(() => end(name))); });
  const all = ['a', 'b', 'c'].map(task);
  await Promise.resolve();
  assert.deepEqual(begun, ['a', 'b']);
  ends[1]();
  assert.equal(await all[1], 'b');
  await new Promise(setImmediate);
  assert.deepEqual(begun, ['a', 'b', 'c']);
});

test('what is no longer wanted is not begun, and a failure gives its place back', async () => {
  const queue = new Queue(1);
  const stopping = new AbortController();
  const first = queue.run(() => Promise.reject(new Error('no')));
  const second = queue.run(() => assert.fail('begun'), stopping.signal);
  stopping.abort();
  await assert.rejects(first, { message: 'no' });
  await assert.rejects(second, { name: 'AbortError' });
  assert.equal(await queue.run(async () => 7), 7);
});

test('a busy sidecar is asked once more', async () => {
  for (const status of [422, 503]) {
    const answers = [answer(status, { status: 'error', error: 'too much' }), answer(200, { status: 'success', data: 7 })];
    assert.equal(await new Api(async () => answers.shift()).ask('x'), 7);
  }
  let asked = 0;
  const api = new Api(async () => { asked++; return answer(422, { status: 'error', error: 'too much' }); });
  await assert.rejects(api.ask('x'), { status: 422, message: 'too much' });
  assert.equal(asked, 2);
});

test('errors can be read', async () => {
  const failing = [
    [async () => answer(400, { status: 'error', error: 'bad "query"' }), 400, 'bad "query"'],
    [async () => answer(403, 'Host is not allowed'), 403, 'Host is not allowed'],
    [async () => { throw new TypeError('Failed to fetch'); }, 0, 'The sidecar does not answer.'],
  ];
  for (const [fetchIt, status, message] of failing) {
    await assert.rejects(new Api(fetchIt).ask('x'), (error) => error instanceof ApiError && error.status === status && error.message === message);
  }
});

test('parameters, in the address or in a form', async () => {
  const seen = [];
  const api = new Api(async (url, { body }) => { seen.push([url, String(body ?? '')]); return answer(200, { status: 'success', data: 0 }); }, 'http://x');
  await api.ask('labels', { 'match[]': ['a', 'b'] });
  await api.ask('query', { query: '1+1' }, { post: true });
  assert.deepEqual(seen, [['http://x/api/v1/labels?match%5B%5D=a&match%5B%5D=b', ''], ['http://x/api/v1/query', 'query=1%2B1']]);
});

test('expressions quote what comes from outside', () => {
  const fine = { step: 1 };
  const tree = 'a"} or vector(1) #\\';
  assert.match(linesExpression(['memory'], tree, fine, 1), /\{tree="a\\"\} or vector\(1\) #\\\\"\}/);
  assert.match(followExpression('a.b', 3), /tree=~"a\\\\\.b\|"/);
});

test('above a second a point is the greatest of its step', () => {
  assert.doesNotMatch(processExpression('memory', 't', [1, 2], { step: 1 }, 1), /max_over_time/);
  assert.match(processExpression('memory', 't', [1, 2], { step: 5 }, 1), /max_over_time\(.*pid=~"1\|2".*\[5s:1s\]\)/);
  assert.match(linesExpression(['cpu'], 't', { step: 10 }, 5), /max_over_time\(.*irate\(.*\[13s\]\).*\[10s:5s\]\)/);
});

const at = (text) => completionAt(text.replace('|', ''), text.indexOf('|'));

test('what can be completed where', () => {
  const cases = [
    ['proc|', 'metric', 'proc'],
    ['sum(rate(pro|', 'metric', 'pro'],
    ['up{|', 'label', ''],
    ['up{job="x", in|', 'label', 'in'],
    ['up{job=~"a|', 'value', 'a'],
    ['sum by (tr|', 'label', 'tr'],
  ];
  for (const [text, kind, word] of cases) {
    const place = at(text);
    assert.deepEqual([place.kind, place.word], [kind, word], text);
    assert.equal(place.from, text.indexOf('|') - word.length);
  }
  assert.deepEqual([at('up{job="|').metric, at('up{job="|').label], ['up', 'job']);
  for (const text of ['|', 'up{job="x"|', 'up{job |', '1 + |']) {
    assert.equal(at(text), null, text);
  }
});

test('what begins as typed comes before what contains it', () => {
  assert.deepEqual(matching(['max', 'a_mem', 'mem_b', 'mem'], 'mem'), ['mem_b', 'a_mem']);
  assert.equal(matching(Array.from({ length: 50 }, (_, index) => `m${index}`), 'm').length, 12);
});
