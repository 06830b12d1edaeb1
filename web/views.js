// The other views.

import {
  About, Act, AsOf, Copy, describe, Dialog, Fact, html, LineMark, lineState, lineTone, Mark, Outside, Quiet, Say, Since,
  still, Time, useEffect, useRef, useState, withUnit,
} from './app.js';
import { asOf, collapse, isOld, keyOf, passes } from './state.js';
import { ask, isPast, meaning, number, stamp, t, why } from './talk.js';

// Lines.

const flatOf = ({ flat }) => t('flats.flat', { flat });

/** @param {{page: Page}} props */
function Lines({ page }) {
  const { state } = page;
  const [shown, show] = useState('');
  const lines = Object.values(state.lines);
  return html`
    ${lines.length === 0 && html`<${Quiet}>${t(state.self ? 'lines.none' : 'wait')}<//>`}
    ${[...new Set(lines.map(({ panel }) => panel ?? ''))].map((name) => html`<${Cabinet} key=${name} state=${state} name=${name}
      show=${show} lines=${lines.filter(({ panel = '' }) => panel === name)} />`)}
    <ul class="legend">${[...new Set(lines.map((line) => line.state))].map((word) => html`<li key=${word}><${Sign} state=${word} /></li>`)}</ul>
    ${state.lines[shown] && html`<${Sheet} key=${shown} page=${page} line=${state.lines[shown]} close=${() => show('')} />`}`;
}

const Sign = ({ state }) => html`<${LineMark} state=${state} />${lineState(state)}`;

/** @param {{state: State, name: string, lines: Told<Line>[], show: Function}} props */
function Cabinet({ state, name, lines, show }) {
  const { columns } = state.panels[name] ?? {};
  const old = lines.some((line) => isOld(state, line));
  lines.sort((a, b) => (a.line ?? a.flat) - (b.line ?? b.flat));
  const rowOf = (line) => Math.floor((line - 1) / (columns ?? 1)) + 1;
  const top = rowOf(lines[0]?.line) - 1;
  // A line without a flat leaves its place free, as in the cabinet.
  const place = ({ line = 0 }) => columns && line && { gridColumn: ((line - 1) % columns) + 1, gridRow: rowOf(line) - top };
  return html`<section class="card" aria-labelledby=${`lines-${name}`}>
    <h3 id=${`lines-${name}`}><${Outside}>${name}<//></h3>
    <${Quiet}>${t('lines.good', { good: lines.filter((line) => line.state === 'on_hook').length, n: lines.length })}<//>
    <div class="scroll"><ul class="grid ${old && 'stale'}" style=${columns && { gridTemplateColumns: `repeat(${columns}, minmax(3rem, 6rem))` }}>
      ${lines.map((line) => html`<li key=${keyOf(line)} style=${place(line)}>
        <${Cell} name=${keyOf(line)} flat=${line.flat} state=${line.state} show=${show} /></li>`)}
    </ul></div>
    ${old && html`<${AsOf} at=${asOf(state, name)} />`}
  </section>`;
}

const Cell = still(({ name, flat, state, show }) => html`<button type="button" class=${lineTone(state)} onClick=${() => show(name)}>
  <span class="unseen">${flatOf({ flat })}: ${lineState(state)}</span>
  <span aria-hidden="true">${flat}</span><${LineMark} state=${state} /></button>`);

/** A value is old that is so much older than its panel's news, in milliseconds. */
const OLD = 10_000;

/** @param {{page: Page, line: Told<Line>, close: () => void}} props */
function Sheet({ page, line, close }) {
  const { state } = page;
  const { unit, thresholds } = line;
  const key = keyOf(line);
  const isWatched = state.watched === key;
  const isAway = isOld(state, line);
  const samples = isWatched ? state.samples : [];
  const read = (value) => (value == null ? t('lines.noValue') : withUnit(value, unit));
  const last = isAway ? asOf(state, line.panel) : Date.now() + (state.offset ?? 0);
  const measured = line.measured_at;
  const isOlder = measured && last - Date.parse(measured) > OLD;
  const old = isAway || isOlder;
  const [, draw] = useState({});
  useEffect(() => {
    const look = () => page.look(line).catch(() => {}).then(() => draw({}));
    look();
    const timer = setInterval(look, 2000);
    return () => {
      clearInterval(timer);
      page.watch(null);
    };
  }, []);
  async function measure() {
    const now = await page.measure(line);
    return `${flatOf(now)}: ${read(now.value)}, ${lineState(now.state)}`;
  }
  const step = (word, text) => html`<li class=${word === line.state && 'current'}><${Sign} state=${word} /><span>${text}</span></li>`;
  return html`<${Dialog} kind="sheet" title=${flatOf(line)} close=${close}>
    <div class="reading ${old && 'stale'}"><${LineMark} state=${line.state} />
      <div><b>${lineState(line.state)}</b><${Quiet}><${Since} at=${line.since} /><//></div>
      <strong><${Outside}>${read(line.value)}<//></strong></div>
    ${old && html`<${AsOf} at=${isOlder ? measured : last} />`}
    ${isWatched && html`${!old && html`<${Quiet}>${t('lines.watching')}<//>`}<${Plot} line=${line} samples=${samples} />`}
    <div class="actions">
      <button type="button" class="primary" aria-pressed=${isWatched} onClick=${() => page.watch(isWatched ? null : key)}>
        ${t(isWatched ? 'lines.stop' : 'lines.watch')}</button>
      <${Act} label=${t('lines.measure')} act=${measure} say=${page.say} />
      <button type="button" onClick=${close}>${t('close')}</button>
    </div>
    <section><h3>${t('lines.thresholds')}</h3><ul class="thresholds">
      ${['short', 'on_hook', 'off_hook', 'door_button'].map((word) => thresholds[`${word}_below`] !== null &&
        step(word, `< ${read(thresholds[`${word}_below`])}`))}
      ${step('break', `≥ ${read(thresholds.door_button_below ?? thresholds.off_hook_below)}`)}
    </ul><${Quiet}>${t('lines.hysteresis')} ${read(thresholds.hysteresis)}<//></section>
    <dl><${Fact} name=${t('lines.register')}>${line.raw ?? '–'}<//>
      ${measured && html`<${Fact} name=${t('lines.measured')}><${Time} at=${measured} /><//>`}
      <${Fact} name=${t('lines.place')}>${line.line} · <${Outside}>${line.panel}<//><//></dl>
  <//>`;
}

/** Seconds that are in sight. */
const SPAN = 60;
const height = 220;

let loading = null;
/** @returns {Promise<any>} */
const load = () => (loading ??= new Promise((resolve, reject) => {
  const script = document.createElement('script');
  script.src = new URL('vendor/uplot.js', import.meta.url).href;
  script.onload = () => resolve(/** @type {any} */ (globalThis).uPlot);
  script.onerror = () => reject((loading = null));
  document.head.append(script);
}));

/** @param {{line: Line, samples: {at: number, value: number | null}[]}} props */
function Plot({ line, samples }) {
  const place = useRef(/** @type {any} */ (null));
  const plot = useRef(/** @type {any} */ (null));
  const [failed, setFailed] = useState(false);
  const { hysteresis, ...thresholds } = line.thresholds;
  const limits = Object.values(thresholds).filter((value) => value !== null);
  const columns = () => [
    samples.map(({ at }) => at / 1000),
    samples.map(({ value }) => value),
    ...limits.map((limit) => samples.map(() => limit)),
  ];

  useEffect(() => {
    const element = place.current;
    let isGone = false;
    load().then((UPlot) => isGone || (plot.current = new UPlot(options(element, limits), columns(), element)), () => setFailed(true));
    const resized = new ResizeObserver(() => plot.current?.setSize({ width: element.clientWidth, height }));
    resized.observe(element);
    return () => {
      isGone = true;
      resized.disconnect();
      plot.current?.destroy();
    };
  }, []);
  useEffect(() => {
    const max = (samples.at(-1)?.at ?? Date.now()) / 1000;
    plot.current?.setData(columns(), false);
    plot.current?.setScale('x', { min: max - SPAN, max });
  }, [samples]);

  const values = samples.flatMap(({ value }) => value ?? []);
  const range = values.length > 0 && `${number(Math.min(...values))} … ${withUnit(Math.max(...values), line.unit)}`;
  return html`<figure><div ref=${place} role="img" aria-label=${t('lines.plot', { flat: line.flat })}></div>
    <${Quiet}>${failed ? t('upgraded') : range}<//></figure>`;
}

function options(element, limits) {
  // Asked for at each drawing: the colour scheme may change.
  const color = (name) => () => getComputedStyle(element).getPropertyValue(`--${name}`);
  const axis = { stroke: color('quiet'), grid: { stroke: color('line'), width: 1 }, ticks: { stroke: color('line') } };
  const curve = { points: { show: false } };
  const clock = (_, times) => times.map((time) => new Date(time * 1000).toTimeString().slice(3, 8));
  return {
    width: element.clientWidth, height,
    legend: { show: false },
    cursor: { show: false },
    scales: { y: { range: (_, low, high) => [Math.min(0, low), Math.max(...limits, high) * 1.1] } },
    axes: [{ ...axis, values: clock }, axis],
    series: [{}, { ...curve, stroke: color('accent'), width: 3 }, ...limits.map(() => ({ ...curve, stroke: color('quiet'), dash: [4, 4] }))],
  };
}

// Events.

const ROWS = 100;
const CHOICES = { kind: ['keys', 'doors', 'lines', 'panels', 'gateway'], decision: ['granted', 'denied'] };

/** @param {{page: Page}} props */
function Events({ page }) {
  const { state } = page;
  const [filter, setFilter] = useState({ panel: '', kind: '', decision: '' });
  const [paused, setPaused] = useState(/** @type {typeof state.events | null} */ (null));
  const [rows, setRows] = useState(ROWS);
  const chosen = (events) => events.filter((event) => passes(event, filter));
  const events = chosen(paused ?? state.events);
  const groups = collapse(events);
  const waiting = chosen(state.events).length - events.length;
  const isAll = groups.length <= rows && state.oldest !== null && Number(state.events.at(-1)?.sequence) <= state.oldest;
  const choice = (name, options) => html`<label>${t(`events.${name}`)}
    <select onChange=${({ target }) => setFilter({ ...filter, [name]: target.value })}>
      <option value="">${t('events.all')}</option>
      ${options.map(([value, text]) => html`<option key=${value} value=${value} selected=${filter[name] === value}>${text}</option>`)}
    </select></label>`;
  async function older() {
    setRows(rows + ROWS);
    if (groups.length <= rows + ROWS) await page.older();
  }
  return html`<div class="filters">
      ${choice('panel', Object.keys(state.panels).map((name) => [name, name]))}
      ${Object.entries(CHOICES).map(([name, words]) => choice(name, words.map((word) => [word, t(`${name}s.${word}`)])))}
      <button type="button" aria-pressed=${paused !== null} onClick=${() => setPaused(paused ? null : state.events)}>
        ${t(paused ? 'events.resume' : 'events.pause')}${paused && waiting > 0 && ` (+${waiting})`}</button></div>
    ${state.gaps.map(({ from, to }) => html`<p class="trouble">${t('events.gone', { from, to })}</p>`)}
    ${groups.length === 0 && html`<${Quiet}>${t(state.told > 0 ? 'events.none' : 'wait')}<//>`}
    <ul class="events">${groups.slice(0, rows).map((group) => html`<${Happened} key=${group.first.id} ...${group} />`)}</ul>
    ${isAll ? html`<${Quiet}>${t('events.oldest')}<//>` : html`<${Act} label=${t('events.older')} act=${older} />`}`;
}

const Happened = still(({ newest: event, first, times }) => {
  const { tone, letter, title, detail } = describe(event);
  const { subject, data } = event;
  const panel = html`<${Outside}>${subject ?? t('kinds.gateway')}<//>`;
  return html`<li><details><summary><${Mark} tone=${tone} letter=${letter} /><div>
      <p><b><${Outside}>${title}<//></b>${times > 1 && html` <b class="times">×${times}</b>`}</p>
      ${detail && html`<p class="clamp"><${Outside}>${detail}<//></p>`}
      <${Quiet}>${panel} · <${Time} at=${event.time} />${times > 1 && html`, <${Since} at=${first.time} />`}<//>
    </div></summary><pre>${event.type} ${Number(event.sequence)}${'\n'}${JSON.stringify(data, null, 1)}</pre></details>
    ${data.reversed_known && html`<p class="hint"><${Say} name="events.reversed" panel=${panel} /></p>`}
    ${data.reason === 'key_unknown' && html`<p class="key"><code>${data.key}</code><${Copy} text=${data.key} /></p>`}
  </li>`;
});

// Flats.

/** @param {{page: Page}} props */
function Flats({ page }) {
  const [found, setFound] = useState(/** @type {Paginated<FlatRow> & {search: string} | null} */ (null));
  const [wrong, setWrong] = useState('');
  const asked = useRef(0);

  async function look(search, number, before) {
    const mine = (asked.current += 1);
    const [answer, wrong] = await ask(`/api/local/v1/flats?${new URLSearchParams({ search, page: number })}`)
      .then((answer) => [answer, ''], (error) => [null, why(error)]);
    // Something else has been asked for meanwhile.
    if (mine !== asked.current) return;
    setFound(answer && { ...answer, search, data: [...before, ...answer.data] });
    setWrong(wrong);
    page.say(wrong || t('flats.found', { n: answer.meta.total }));
  }
  function submit(event) {
    event.preventDefault();
    look(event.target.elements.search.value.trim(), 1, []);
  }

  return html`<form role="search" onSubmit=${submit}>
      <label for="search">${t('flats.search')}</label>
      <div><input id="search" type="search" maxlength="99" autocomplete="off" autocapitalize="none" spellcheck=${false}
        aria-invalid=${wrong !== ''} aria-describedby="wrong" /><button class="primary">${t('flats.button')}</button></div>
      <p id="wrong" class="bad"><${Outside}>${wrong}<//></p></form>
    ${found && html`<${Quiet}>${t('flats.found', { n: found.meta.total })}<//>
      <ul class="flats">${found.data.map((row) => html`<${Found} key=${`${row.intercom_id}/${row.id}`} page=${page} row=${row} />`)}</ul>
      ${found.meta.current_page < found.meta.last_page && html`<button type="button"
        onClick=${() => look(found.search, found.meta.current_page + 1, found.data)}>${t('flats.more')}</button>`}`}`;
}

/** @param {{page: Page, row: FlatRow}} props */
function Found({ page, row: { intercom_id: intercom, id, flat: number, key_count: keys, users_count: users } }) {
  const [flat, setFlat] = useState(/** @type {Flat | null} */ (null));
  const [wrong, setWrong] = useState('');
  const toggle = ({ target }) => target.open && !flat &&
    ask(`/api/admin/v1/intercoms/${intercom}/flats/${id}`).then(setFlat, (error) => setWrong(why(error)));
  return html`<li><details class="card" onToggle=${toggle}>
    <summary><p><b>${t('flats.flat', { flat: number })}</b> · ${t('panel.intercom', { n: intercom })} · ${t('flats.counts', { keys, users })}</p></summary>
    ${flat ? html`<${All} state=${page.state} flat=${flat} />` : html`<p class=${wrong && 'bad'}><${Outside}>${wrong || t('wait')}<//></p>`}
  </details></li>`;
}

/** @param {{state: State, flat: Flat}} props */
const All = ({ state, flat }) => html`
  <${Quiet}>${t('flats.id', { id: flat.id })} · ${t(flat.properties.is_analog_line_enable ? 'flats.on' : 'flats.off')}
    ${flat.properties.is_can_manage_resistance && ` · ${t('flats.own')}`}<//>
  <h3>${t('flats.keys')}</h3>
  <ul class="rows">${flat.keys.map(({ key, user }) => html`<li><p class="key"><code>${key}</code><${Copy} text=${key} /></p>
    ${user ? html`<${Person} state=${state} user=${user} />` : html`<${Quiet}>${t('flats.nobody')}<//>`}</li>`)}</ul>
  <h3>${t('flats.users')}</h3>
  <ul class="rows">${flat.users.map((user) => html`<li><${Person} state=${state} user=${user} /></li>`)}</ul>
  <details><summary>${t('flats.document')}</summary><pre>${JSON.stringify(flat, null, 1)}</pre></details>`;

/** The cloud's dates are meant in the gateway's zone. @param {{state: State, user: User}} props */
function Person({ state: { self, offset }, user: { name, login, expired_at: until } }) {
  const zone = self?.timezone;
  const isOver = until !== null && isPast(until, zone, Date.now() + (offset ?? 0));
  const isHere = zone === Intl.DateTimeFormat().resolvedOptions().timeZone;
  return html`<p class="clamp"><${Outside}>${name}<//></p><p class="quiet clamp"><${Outside}>${login}<//>
    ${until !== null && html`<span class=${isOver && 'bad'}> · ${t('flats.until')} <${Outside}>${until} ${!isHere && zone}<//></span>`}</p>`;
}

// Commissioning.

/** @param {{page: Page}} props */
function Commissioning({ page }) {
  const record = page.state.commissioning;
  const [onlyOpen, setOnlyOpen] = useState(false);
  if (!record) return html`<${Quiet}>${t('wait')}<//>`;
  const { items } = record;
  const forbidden = page.state.self?.token.read_only ? t('readOnlyReason') : '';
  const done = items.filter((item) => item.done).length;
  const shown = items.filter((item) => !(onlyOpen && item.done));
  return html`
    <section class="card"><p class="screen">${t('work.intro')} ${forbidden}</p>
      <b>${t(record.complete ? 'work.complete' : 'work.progress', { done, all: items.length })}</b>
      <progress value=${done} max=${items.length || 1} aria-label=${t('nav.commissioning')}></progress>
      <label class="check screen"><input type="checkbox" checked=${onlyOpen} onChange=${() => setOnlyOpen(!onlyOpen)} />${t('work.onlyOpen')}</label>
    </section>
    ${[...new Set(shown.map(({ group }) => group))].map((group) => html`<section class="card" key=${group}>
      <h3>${meaning('work.groups', group)}</h3>
      <ul class="rows">${bySubject(shown.filter((item) => item.group === group)).map(([subject, items]) => html`<li>
        <b><${Outside}>${subject}<//></b><ul class="items">${items.map((item) => html`<${Entry} key=${item.id} page=${page} item=${item} forbidden=${forbidden} />`)}</ul></li>`)}</ul>
    </section>`)}
    <${Handover} record=${record} />`;
}

/** What is to be seen, and how to bring it about. */
const task = ({ kind }) => meaning('work.kinds', kind).split('|');

/** @param {Item[]} items @returns {[string, Item[]][]} */
function bySubject(items) {
  const all = new Map();
  for (const item of items) {
    const subject = `${item.intercom}/${item.flat ?? item.panel}`;
    all.set(subject, [...(all.get(subject) ?? []), item]);
  }
  return [...all.values()].map((items) => [items[0].flat !== null ? t('flats.flat', items[0]) : items[0].panel ?? '', items]);
}

const Entry = still((/** @type {{page: Page, item: Item, forbidden: string}} */ { page, item, forbidden }) => {
  const { done, by_hand } = item;
  const [what, how] = task(item);
  return html`<li><${Mark} tone=${done ? 'good' : 'idle'} />
    <div>${what}<span class="unseen">, ${t(done ? 'work.done' : 'work.open')}</span>
      ${!done && how && html`<${Quiet}>${how}<//>`}
      ${done && html`<${Quiet}><${Time} at=${done.at} as=${stamp} /> · ${done.sequence === null
        ? html`${t('work.byHand')} <${Outside}>${done.token}<//>` : `${t('work.event')} ${done.sequence}`}<//>`}</div>
    ${!done && by_hand && html`<${Act} label=${t('work.confirm')} name=${`${t('work.confirm')}: ${[item.panel, item.flat, what].filter(Boolean).join(' ')}`}
      forbidden=${forbidden} act=${() => page.confirm(item)} />`}
  </li>`;
});

/** The record to hand over. @param {{record: Commissioning}} props */
function Handover({ record }) {
  const open = record.items.filter(({ done }) => !done);
  const { gateway, time } = record;
  function save() {
    const href = URL.createObjectURL(new Blob([JSON.stringify(record, null, 2)], { type: 'application/json' }));
    Object.assign(document.createElement('a'), { href, download: `${gateway}-${time.slice(0, 10)}.json` }).click();
    setTimeout(() => URL.revokeObjectURL(href), 1000);
  }
  return html`<section class="card"><h3>${t('work.handover')}</h3>
    <dl><${Fact} name=${t('kinds.gateway')}><${Outside}>${gateway}<//> · ${record.version}<//>
      <${Fact} name=${t('work.date')}><${Time} at=${time} as=${stamp} /><//></dl>
    <ul class="rows">${record.panels.map((device) => html`<li><b><${Outside}>${device.panel}<//></b>
      <${About} device=${device} /></li>`)}</ul>
    <h3>${t('work.still')}: ${open.length}</h3>
    <ul class="still">${bySubject(open).map(([subject, items]) => html`<li><b><${Outside}>${subject}<//></b> ${items.map((item) => task(item)[0]).join(', ')}</li>`)}</ul>
    <div class="actions screen"><button type="button" onClick=${save}>${t('work.save')}</button>
      <button type="button" onClick=${() => print()}>${t('work.print')}</button></div>
  </section>`;
}

export { Lines as lines, Events as events, Flats as flats, Commissioning as commissioning };
