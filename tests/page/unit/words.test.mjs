// Both languages say the same things, and every code of the contract has its words.

import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { test } from 'node:test';

import { load, web } from './browser.mjs';

const { isPast, setMoment, speak: take, stamp, t, when } = await load('talk.js');
const { describe, lineState, sign, still, withUnit } = await load('app.js');
const texts = (await load('texts.js')).default;
const [en, ru] = ['en', 'ru'];
const speak = (/** @type {string} */ language) => take(texts, { language });
const api = JSON.parse(await readFile(new URL('../../../src/api/openapi.json', import.meta.url), 'utf8'));
const schemas = api.components.schemas;

/** All texts of a language by their full names, of a plural its last form. */
const flat = (/** @type {string} */ language) => Object.fromEntries([...speak(language)]
  .map(([name, text]) => [name.replace(/\.(one|few|many|other)$/, ''), text]));
const holes = (text) => [...text.matchAll(/\{(\w+)\}/g)].map(([, name]) => name).sort();

test('Russian has every text that English has, with the same values', () => {
  const [english, russian] = [flat(en), flat(ru)];
  // What stands in the HTML and in the code is English already.
  const names = Object.keys(russian).filter((name) => !/^(form|letters|units)\./.test(name));
  assert.deepEqual(names.sort(), Object.keys(english).sort());
  for (const [name, text] of Object.entries(english)) {
    assert.deepEqual(holes(russian[name]), holes(text), name);
    assert.equal(russian[name].split('|').length, text.split('|').length, name);
  }
});

test('every text is used, and every text that is used is there', async () => {
  const files = ['index.html', ...(await readdir(web)).filter((name) => name.endsWith('.js'))];
  const code = (await Promise.all(files.map((name) => readFile(new URL(name, web), 'utf8')))).join('\n');
  const found = (/** @type {RegExp} */ pattern) => [...code.matchAll(pattern)].map(([, name]) => name);
  const words = new Set(found(/["']([\w.]+)["']/g));
  // `place.${word}`, or the place that a function is given; some are chosen or put together.
  const places = new Set(['kinds', 'inputs', ...found(/`(\w[\w.]*)\.\$\{/g), ...found(/\b(?:meaning\(|sign\(|place=)["'](\w[\w.]*)["']/g)]);
  const done = found(/['"](\w+)['"] \| /g).concat('identify').map((what) => `${what}.done`);
  const isUsed = (name) => words.has(name) || done.includes(name) || places.has(name.slice(0, name.lastIndexOf('.')));
  const english = flat(en);
  assert.deepEqual(Object.keys(english).filter((name) => !isUsed(name)), []);
  const named = [...found(/\bt\('([\w.]+)'/g), ...found(/\bname="(\w+\.[\w.]+)"/g)];
  assert.ok(named.length > 50);
  assert.deepEqual(named.filter((name) => !(name in english)), []);
  const form = found(/data-text="([\w.]+)"/g);
  const russian = flat(ru);
  assert.deepEqual(form.filter((name) => !(name in russian)), []);
});

test('every code of health, of panels, of refusals and of states has words', async () => {
  const names = Object.keys(flat(en));
  const words = (place) => names.flatMap((name) => (name.startsWith(`${place}.`) ? name.slice(place.length + 1) : []));
  for (const code of schemas.KnownHealthCode.enum) assert.ok(words('health').includes(code), code);
  for (const state of schemas.KnownLineState.enum) assert.ok(words('lineStates').includes(state), state);
  for (const state of schemas.KnownPanelState.enum) assert.ok(words('panelStates').includes(state), state);
  const refusals = ['NotOpened', 'NotIdentified', 'NotMeasured', 'TooFast'].flatMap((name) => schemas[name].properties.code.anyOf[0].enum);
  for (const code of refusals) assert.ok(words('refusals').includes(code), code);
  const troubles = await readFile(new URL('../../../src/domain/trouble.rs', import.meta.url), 'utf8');
  const codes = [...troubles.matchAll(/=> "([a-z_]+)",/g)].map(([, code]) => code);
  assert.ok(codes.length > 10);
  for (const code of codes) assert.ok(words('troubles').includes(code), code);
});

test('every type of event has words, and one that is not known is shown by its name', async () => {
  speak(en);
  const source = await readFile(new URL('../../../src/domain/event.rs', import.meta.url), 'utf8');
  const types = [...source.matchAll(/= "((?:intercom|gateway)\.[a-z._]+)"/g)].map(([, type]) => type);
  assert.ok(types.length > 20);
  const decided = (type) => (/swiped|code/.test(type) ? { decision: 'granted' } : {});
  const data = { reason: 'key_known', flats: [{ id: 1, flat: 1 }], by: { kind: 'key', id: 1 }, to: 'short', state: 'break', lines: [1, 2], value: 1, unit: 'V', active: true };
  for (const type of types) assert.notEqual(describe({ type, data: { ...data, ...decided(type) } }).title, type, type);
  assert.equal(describe({ type: 'intercom.new.thing', data: {} }).title, 'intercom.new.thing');
});

test('plurals are those of the language', () => {
  speak(en);
  assert.equal(t('flats.found', { n: 1 }), '1 flat');
  assert.equal(t('flats.found', { n: 0 }), '0 flats');
});

test('a decision is a word, a colour and a letter', () => {
  speak(en);
  const swipe = (decision, reason) => describe({ type: 'intercom.key.swiped', data: { decision, reason, flats: [] } });
  assert.deepEqual(swipe('denied', 'key_unknown'), { tone: 'bad', letter: 'D', title: 'Key denied', detail: 'no flat has this key' });
  assert.equal(swipe('granted', 'key_known').letter, 'G');
});

test('a time of today has no day, in UTC it says so', () => {
  setMoment(true, Date.parse('2026-11-23T22:30:00Z'));
  assert.equal(when('2026-11-23T22:00:01.123Z'), '22:00:01 UTC');
  assert.match(when('2026-11-22T22:00:01.123Z'), /22.*2026.*22:00:01 UTC/);
});

test('a time of a record has its day and its zone', () => {
  setMoment(true, Date.parse('2026-11-23T22:30:00Z'));
  assert.equal(stamp('2026-11-23T22:00:01.123Z'), '2026-11-23 22:00:01 UTC');
  setMoment(false, Date.parse('2026-11-23T22:30:00Z'));
  assert.match(stamp('2026-11-23T22:00:01.123Z'), /^2026-11-2\d \d\d:\d\d:01 \S+$/);
});

test('a date of the cloud is over by the clock of the zone in which it is meant', () => {
  const now = Date.parse('2026-11-29T16:00:00Z');
  assert.equal(isPast('2026-11-30 01:00:00', 'Asia/Tokyo', now), true);
  assert.equal(isPast('2026-11-30 01:00:01', 'Asia/Tokyo', now), false);
  assert.equal(isPast('2026-11-29 16:00:01', 'UTC', now), false);
  assert.equal(isPast('2026-11-29 10:59:59', 'America/New_York', now), true);
});

test('formatters are made once: making one for each time of a long list takes seconds', () => {
  speak(en);
  const { DateTimeFormat, NumberFormat } = Intl;
  let made = 0;
  const counted = (/** @type {any} */ Format) => function (...given) {
    made += 1;
    return new Format(...given);
  };
  Object.assign(Intl, { DateTimeFormat: counted(DateTimeFormat), NumberFormat: counted(NumberFormat) });
  const { toLocaleString } = Date.prototype;
  Date.prototype.toLocaleString = () => assert.fail('a formatter for one time');
  try {
    for (let at = 0; at < 1000; at += 1) [when(at * 1e8), stamp(at), withUnit(at / 3, 'V')];
  } finally {
    Object.assign(Intl, { DateTimeFormat, NumberFormat });
    Date.prototype.toLocaleString = toLocaleString;
  }
  assert.ok(made <= 8, `${made} formatters`);
});

test('what is given the same is not drawn again, but where times are shown otherwise', () => {
  const instance = /** @type {any} */ ({});
  setMoment(false, 0);
  still(() => null).call(instance, { state: 'on_hook', flat: 3 });
  assert.equal(instance.shouldComponentUpdate({ state: 'on_hook', flat: 3 }), false);
  assert.equal(instance.shouldComponentUpdate({ state: 'off_hook', flat: 3 }), true);
  setMoment(true, 0);
  assert.equal(instance.shouldComponentUpdate({ state: 'on_hook', flat: 3 }), true);
});

test('a word that the page does not know is shown as the gateway says it', () => {
  for (const language of [en, ru]) {
    speak(language);
    assert.deepEqual(sign('panelStates', 'weird'), ['?', 'weird']);
    assert.equal(lineState('new_state'), 'new_state');
    const { title, letter } = describe({ type: 'intercom.line.changed', data: { flat: 5, to: 'new_state', value: null } });
    assert.ok(title.endsWith('new_state'), title);
    assert.equal(letter, '?');
    assert.match(describe({ type: 'intercom.key.swiped', data: { decision: 'maybe', reason: 'x' } }).title, /maybe$/);
    assert.match(describe({ type: 'intercom.door.unlocked', data: { by: { kind: 'robot', id: null } } }).title, / robot$/);
  }
});

test('Russian has the units and the causes that it can have', () => {
  speak(ru);
  assert.equal(withUnit(5.5, 'V'), '5.5 В');
  const pruned = (cause) => describe({ type: 'gateway.journal.pruned', data: { cause } }).detail;
  assert.equal(pruned('the journal holds its most, max_events = 1000'), 'журнал полон: max_events = 1000');
  assert.equal(pruned('another sentence'), 'another sentence');
});
