// The reducer: what is known after what was told.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { load } from './browser.mjs';

const { asOf, collapse, errorShare, initial, isOld, isStale, kindOf, passes, reduce } = await load('state.js');

const JOURNAL = '9f3c2a41';
const event = (sequence, more = {}, journal = JOURNAL) => ({
  id: `${journal}-${sequence}`,
  type: 'intercom.key.swiped',
  subject: 'entrance-1',
  sequence: String(sequence).padStart(20, '0'),
  time: '2026-11-23T22:00:01.123Z',
  ...more,
  data: { journal, uptime_ms: sequence, decision: 'granted', key: 'A', raw: 'A', ...more.data },
});
const told = (state, name, data) => reduce(state, { type: 'stream', name, data, at: 2000 });
const live = (state, at = 1000) => reduce(state, { type: 'phase', phase: 'live', at });
const after = (...actions) => actions.reduce(reduce, initial);
const panel = (name, state = 'online') => ({ panel: name, intercom: 1, state });

test('what this connection has not told is stale, and what it tells again is not', () => {
  const first = told(live(initial), 'panel', panel('entrance-1'));
  assert.equal(isStale(first, first.panels['entrance-1']), false);
  const lost = reduce(first, { type: 'phase', phase: 'lost', at: 5000 });
  assert.equal(isStale(lost, lost.panels['entrance-1']), true);
  assert.equal(lost.heard, 5000);
  assert.equal(reduce(lost, { type: 'phase', phase: 'lost', at: 9000 }).heard, 5000, 'since when is not moved by each attempt');
  const again = live(lost);
  assert.equal(isStale(again, again.panels['entrance-1']), true, 'connected is not yet told');
  const fresh = told(again, 'panel', panel('entrance-1'));
  assert.equal(isStale(fresh, fresh.panels['entrance-1']), false);
});

test('a panel that the list does not have is gone', () => {
  const state = reduce(told(told(live(initial), 'panel', panel('a')), 'panel', panel('b')), { type: 'panels', data: [panel('a')] });
  assert.deepEqual(Object.keys(state.panels), ['a']);
});

test('a line keeps its place in the cabinet when the stream tells of it, and is old while its panel is away', () => {
  const list = { type: 'lines', data: [{ intercom: 1, flat: 3, state: 'on_hook', panel: 'risers', line: 13 }] };
  let state = reduce(told(live(initial), 'panel', panel('risers')), list);
  state = told(state, 'line', { intercom: 1, flat: 3, state: 'off_hook' });
  assert.deepEqual([state.lines['1/3'].line, state.lines['1/3'].state], [13, 'off_hook']);
  assert.equal(isOld(state, state.lines['1/3']), false);
  state = told(state, 'panel', panel('risers', 'offline'));
  assert.equal(isOld(state, state.lines['1/3']), true);
});

test('events are there once, the newest first, whatever order they come in', () => {
  const page = { data: [event(1), event(2), event(3)], journal: JOURNAL, oldest: 1, last: 3, next: 4 };
  let state = told(live(initial), 'event', event(5));
  state = told(told(state, 'event', event(4)), 'event', event(4));
  state = reduce(state, { type: 'events', data: page });
  assert.deepEqual(state.events.map(({ sequence }) => Number(sequence)), [5, 4, 3, 2, 1]);
  assert.equal(state.oldest, 1);
});

test('events of a new journal are newer than all of the one before', () => {
  const state = told(told(live(initial), 'event', event(900)), 'event', event(1, {}, '00000002'));
  assert.deepEqual(state.events.map(({ id }) => id), ['00000002-1', `${JOURNAL}-900`]);
});

test('the last swipe of a panel is the one with the highest number', () => {
  let state = told(live(initial), 'event', event(7, { data: { decision: 'denied' } }));
  state = reduce(state, { type: 'events', data: { data: [event(6)], journal: JOURNAL, oldest: 6 } });
  assert.equal(state.swipes['entrance-1'].data.decision, 'denied');
  const opened = { type: 'intercom.door.opened', data: { decision: undefined } };
  assert.equal(told(state, 'event', event(8, opened)).swipes['entrance-1'].id, `${JOURNAL}-7`);
});

test('of a gap only what is really missing is told', () => {
  const answer = (...numbers) => ({ data: numbers.map((number) => event(number)), journal: JOURNAL, oldest: 1 });
  const gaps = (gap, data) => after({ type: 'events', data, gap }).gaps.map(({ from, to }) => [from, to]);
  const gap = { journal: JOURNAL, from: 4, to: 9 };
  assert.deepEqual(gaps(gap, answer(4, 5, 6)), []);
  assert.deepEqual(gaps(gap, answer(8, 9, 10)), [[4, 7]]);
  assert.deepEqual(gaps(gap, answer(20)), [[4, 9]]);
  assert.deepEqual(gaps(gap, answer()), [[4, 9]]);
  assert.deepEqual(gaps({ ...gap, from: 1, to: 0 }, answer(1, 2)), [], 'another journal, of which all is kept');
  assert.deepEqual(gaps({ ...gap, journal: '00000002' }, answer(4)), [[4, 9]]);
});

test('what repeats itself is one group with its number, and something else between ends it', () => {
  const denied = (sequence) => event(sequence, { data: { decision: 'denied' } });
  const groups = collapse([denied(9), denied(8), event(7), denied(6)]);
  assert.deepEqual(groups.map(({ newest, first, times }) => [Number(newest.sequence), Number(first.sequence), times]), [[9, 8, 2], [7, 7, 1], [6, 6, 1]]);
  const other = event(5, { data: { decision: 'denied', key: 'B', raw: 'B' } });
  assert.equal(collapse([denied(6), other]).length, 2, 'another key is another swipe');
  const line = (sequence, raw) => ({ ...event(sequence), type: 'intercom.line.changed', data: { flat: 3, to: 'short', raw, value: raw / 10 } });
  assert.equal(collapse([line(2, 5), line(1, 6)]).length, 1, 'the same state of the same line, however measured');
});

test('a reason that goes on keeps its beginning, and a new one has its own', () => {
  const first = told(live(initial), 'health', { status: 'degraded', since: 'T1', reasons: [{ code: 'broker' }] });
  const both = told(first, 'health', { status: 'degraded', since: 'T2', reasons: [{ code: 'broker' }, { code: 'panel_offline', panel: 'a' }] });
  assert.deepEqual(both.health.reasons.map(({ since }) => since), ['T1', 'T2']);
});

test('the share of errors counts commands, and none is no error', () => {
  assert.equal(errorShare({ exchanges: 0, timeouts: 0, broken: 0, wrong: 0 }), 0);
  assert.equal(errorShare({ exchanges: 0, timeouts: 5, broken: 0, wrong: 0 }), 1);
  assert.equal(errorShare({ exchanges: 90, timeouts: 5, broken: 3, wrong: 2 }), 0.1);
});

test('a sample of another line than the watched one is not kept', () => {
  let state = reduce(live(initial), { type: 'watch', line: '1/3' });
  state = told(state, 'sample', { intercom: 1, flat: 4, value: 1, at: '2026-11-23T22:00:01.123Z' });
  assert.equal(state.samples.length, 0);
  state = told(state, 'sample', { intercom: 1, flat: 3, value: 6.2, at: '2026-11-23T22:00:01.123Z' });
  assert.deepEqual(state.samples, [{ at: Date.parse('2026-11-23T22:00:01.123Z'), value: 6.2 }]);
});

test('filters tell kinds apart', () => {
  const kinds = { 'intercom.keypad.entered': 'keys', 'intercom.door.held': 'doors', 'intercom.line.wiring': 'lines', 'intercom.input.changed': 'panels', 'gateway.sync.applied': 'gateway' };
  for (const [type, kind] of Object.entries(kinds)) assert.equal(kindOf(type), kind, type);
  assert.ok(passes(event(1), { panel: '', kind: 'keys', decision: 'granted' }));
  assert.ok(!passes(event(1), { panel: 'other', kind: '', decision: '' }));
});

const self = (at) => ({ type: 'self', data: { gateway: 'g', time: new Date(at).toISOString() }, at });
const bus = (name, at) => ({ type: 'stream', name: 'bus', data: { bus: name, panels: [] }, at });

test('a bus that tells no more while the gateway answers is gone, and a frozen gateway takes none away', () => {
  let state = [bus('a', 1000), bus('b', 1000), bus('a', 6000), self(6500)].reduce(reduce, live(initial));
  assert.deepEqual(Object.keys(state.buses), ['a', 'b']);
  state = reduce(state, self(10_000));
  assert.deepEqual(Object.keys(state.buses), ['a']);
  const again = reduce(live(state, 30_000), self(30_100));
  assert.deepEqual(Object.keys(again.buses), ['a'], 'it has not had the time to tell this connection');
});

test('an answer that says nothing new is no new state, so that nothing is drawn', () => {
  const outbox = () => ({ type: 'outbox', data: { last: 3, uplink: { connected: true } } });
  const state = [self(1000), outbox()].reduce(reduce, live(initial));
  assert.equal(reduce(state, outbox()), state);
  assert.equal(reduce(state, self(6020)), state, 'its time goes on as ours does');
  assert.notEqual(reduce(state, { ...self(9000), at: 6000 }), state, 'its clock was set');
});

test('what is grey is from the newest time that is known of its panel', () => {
  const line = { intercom: 1, flat: 3, state: 'on_hook', panel: 'risers', measured_at: '2026-11-23T22:00:05Z' };
  let state = reduce(live(initial), { type: 'lines', data: [line] });
  state = told(state, 'panel', { ...panel('risers', 'offline'), last_seen: '2026-11-23T22:00:03Z' });
  const at = Date.parse(line.measured_at);
  assert.equal(asOf(state, 'risers'), at);
  state = reduce(state, { type: 'watch', line: '1/3' });
  state = told(state, 'sample', { intercom: 1, flat: 3, value: 6, at: '2026-11-23T22:00:07Z' });
  assert.deepEqual([asOf(state, 'risers'), state.lines['1/3'].value], [at + 2000, 6]);
  assert.equal(asOf(reduce(state, { type: 'phase', phase: 'lost', at: at + 9000 }), 'risers'), at + 9000);
});
