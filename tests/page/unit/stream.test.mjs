// Server-sent events out of pieces, and how long to wait before the next attempt.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { load } from './browser.mjs';

const { pause, reader } = await load('live.js');

const TEXT = ': comment\n\nevent: panel\ndata: {"a":1}\n\r\nevent: event\r\nid: 9f3c2a41-184\r\ndata: {"b":\r\ndata: 2}\r\n\r\ndata:x: y\n\n';
const EVENTS = [
  { name: 'panel', data: '{"a":1}', id: null },
  { name: 'event', data: '{"b":\n2}', id: '9f3c2a41-184' },
  { name: '', data: 'x: y', id: null },
];

test('events come out the same wherever their text is cut', () => {
  for (let size = 1; size <= TEXT.length; size += 1) {
    const take = reader();
    const found = [];
    for (let at = 0; at < TEXT.length; at += size) found.push(...take(TEXT.slice(at, at + size)));
    assert.deepEqual(found, EVENTS, `pieces of ${size}`);
  }
});

test('what is not complete is no event', () => {
  const take = reader();
  assert.deepEqual(take('event: end\ndata: {}\n'), []);
  assert.equal(take('\n').length, 1);
});

test('the wait doubles from 0.25 s to 5 s, and up to a half of it is taken off by chance', () => {
  assert.deepEqual([0, 1, 2, 3, 4, 5, 60].map((attempt) => pause(attempt, 0)), [250, 500, 1000, 2000, 4000, 5000, 5000]);
  assert.equal(pause(0, 1), 125);
});
