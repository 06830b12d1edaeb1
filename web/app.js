// Small things of every view, events in words, the frame, and the first view.

import { asOf, hasLock, isStale } from './state.js';
import { lookUp, meaning, moment, number, parts, setMoment, t, when, why } from './talk.js';
import { useEffect, useRef, useState } from './vendor/hooks.js';
import htm from './vendor/htm.js';
import { h, render } from './vendor/preact.js';

export const html = htm.bind(h);
export { render, useEffect, useRef, useState };

/** Returns a component that is drawn again only where it is given something else. */
export const still = (Component) => /** @this {any} */ function (props) {
  const { mark } = moment;
  this.shouldComponentUpdate = (next) => mark !== moment.mark || Object.keys(next).some((name) => next[name] !== props[name]);
  return h(Component, props);
};

/** Letter, its height and shape of each tone: they say what the colour says. */
const TONES = {
  good: ['✓', 16.5, 'M12 1a11 11 0 1 0 .01 0z'],
  info: ['i', 16.5, 'M12 0 24 12 12 24 0 12z'],
  warn: ['!', 20, 'M12 1 24 23H0z'],
  bad: ['!', 16.5, 'M7 1h10l6 6v10l-6 6H7l-6-6V7z'],
  idle: ['–', 16.5, 'M2 2h20v20H2z'],
};

export const Mark = ({ tone, letter = TONES[tone][0] }) => html`<svg class="mark ${tone}" viewBox="0 0 24 24" aria-hidden="true">
  <path d=${TONES[tone][2]} /><text x="12" y=${TONES[tone][1]} text-anchor="middle">${letter}</text></svg>`;

/** What comes from outside: neither markup nor a turn of direction. */
export const Outside = ({ children }) => html`<bdi>${children}</bdi>`;

export const Time = ({ at, as = when }) => {
  const utc = new Date(at).toISOString();
  return html`<time dateTime=${utc} title=${utc}>${as(at)}</time>`;
};

export const Say = ({ name, ...values }) => parts(name, values);
export const Since = ({ at, name = 'since' }) => html`<${Say} name=${name} time=${html`<${Time} at=${at} />`} />`;
export const AsOf = ({ at }) => !!at && html`<p class="quiet"><${Since} name="asOf" at=${at} /></p>`;
export const Quiet = ({ children }) => html`<p class="quiet">${children}</p>`;

export const Fact = ({ name, children }) => html`<div><dt>${name}</dt><dd>${children}</dd></div>`;

/** What is wrong and what to do, or the gateway's own words. */
export function Wrong({ place, code, message, since = null, children = null }) {
  const [what, cure] = t(`${place}.${code}`).split('|');
  const text = html`<p>${children}<b>${cure === undefined ? html`<${Outside}>${message ?? code}<//>` : what}</b> ${cure}
    ${since && html` <span class="quiet"><${Since} at=${since} /></span>`}</p>`;
  return cure === undefined || !message ? text : html`<${More} text=${text}><${Outside}>${message}<//><//>`;
}
export const More = ({ text, children }) => html`<details><summary>${text}</summary>${children}</details>`;
export const InItsWords = ({ children }) => children && html`<${More} text=${t('inItsWords')}><${Outside}>${children}<//><//>`;

/** A button that says beside it what came of it; a forbidden one says why. */
export function Act({ label, wait = t('wait'), act, forbidden = '', say = (text) => {}, kind = '', name = undefined }) {
  const [{ busy, text, isBad }, set] = useState({ busy: false, text: '', isBad: false });
  async function click() {
    if (busy || forbidden) return;
    set({ busy: true, text: '', isBad: false });
    const [text, isBad] = await act().then((text) => [text ?? '', false], (error) => [why(error), true]);
    set({ busy: false, text, isBad });
    if (text) say(text);
  }
  return html`<button type="button" class=${kind} aria-disabled=${busy || !!forbidden} aria-label=${name} title=${forbidden}
      onClick=${click}>${busy ? wait : label}</button>
    ${text && html`<p class=${isBad ? 'outcome bad' : 'outcome'}><${Outside}>${text}<//></p>`}`;
}

export function Dialog({ title, children, close, kind = '' }) {
  const place = useRef(null);
  useEffect(() => {
    const opener = /** @type {HTMLElement} */ (document.activeElement);
    const dialog = /** @type {HTMLDialogElement} */ (/** @type {unknown} */ (place.current));
    dialog.showModal();
    return () => {
      dialog.close();
      opener.focus();
    };
  }, []);
  const cancel = (event) => {
    event.preventDefault();
    close();
  };
  return html`<dialog ref=${place} class=${kind} aria-labelledby="asked" onCancel=${cancel}
    onClick=${(event) => event.target === place.current && close()}><div><h2 id="asked">${title}</h2>${children}</div></dialog>`;
}

/** The clipboard is there in a secure context alone. */
export function Copy({ text }) {
  const [label, setLabel] = useState('copy');
  async function click() {
    const done = await navigator.clipboard?.writeText(text).then(() => true, () => false);
    setLabel(done || copied(text) ? 'copied' : 'copyFailed');
  }
  return html`<button type="button" onClick=${click}>${t(label)}</button>`;
}

function copied(text) {
  const area = Object.assign(document.createElement('textarea'), { value: text, readOnly: true });
  document.body.append(area);
  area.select();
  const done = document.execCommand('copy');
  area.remove();
  return done;
}

const decided = ({ decision, reason, flats }) => [
  decision === 'granted' ? 'good' : 'bad',
  [meaning('reasons', reason), flats?.length && t('flats.flat', { flat: flats.map(({ flat }) => flat).join(', ') })],
  meaning('letters', decision === 'granted' ? 'G' : 'D'),
];
const isOver = (/** @type {any} */ { active, cleared }) => active === false || cleared === true;
const alarm = (data) => [isOver(data) ? 'good' : 'bad'];

/** Tone, detail and letter of each type. @type {Record<string, (data: any) => any[]>} */
const LOOKS = {
  'key.swiped': decided,
  'code.entered': decided,
  'keypad.entered': () => ['info', '', '#'],
  'door.unlocked': () => ['good'],
  'door.unlock_failed': ({ cause }) => ['bad', meaning('refusals', cause)],
  'door.closed': () => ['idle'],
  'door.forced': () => ['bad'],
  'door.held': () => ['warn'],
  'line.changed': ({ to, value, unit }) => [lineTone(to), value !== null && withUnit(value, unit), lineLetter(to)],
  'line.wiring': (data) => [...alarm(data), !isOver(data) && t('lines.wiring')],
  'input.changed': ({ to }) => [/active/.test(to) ? 'info' : 'warn'],
  'panel.online': () => ['good'],
  'panel.offline': ({ cause }) => ['bad', cause],
  'panel.tamper': alarm,
  'panel.power': alarm,
  'panel.secured': () => ['good'],
  'panel.replaced': () => ['warn'],
  'panel.suspect': ({ count }) => ['bad', `×${count}`],
  'clock.stepped': () => ['warn'],
  'sync.rejected': ({ error }) => ['bad', error?.message],
  'committed.ignored': () => ['warn'],
  'journal.pruned': ({ cause }) => ['bad', cause?.replace(/^.*max_events = (\d+)$/, (_, n) => t('events.full', { n }))],
};

/** @param {GatewayEvent} event */
export function describe({ type, data }) {
  const short = type.replace(/^(intercom|gateway)\./, '');
  const [tone, detail, letter] = LOOKS[short]?.(data) ?? ['info'];
  const name = `happened.${short.replace('.', '_')}${isOver(data) ? '_over' : ''}`;
  const title = t(name, {
    ...data,
    digits: data.digits ?? '…',
    decision: meaning('decisions', data.decision),
    by: data.by ? t(`by.${data.by.kind}`, data.by) : '',
    to: short === 'input.changed' ? meaning('inputs', data.to) : lineState(data.to),
    state: lineState(data.state),
    cause: meaning('suspects', data.cause),
    n: data.lines?.length,
    seconds: number((data.offset_ms ?? 0) / 1000),
  });
  return {
    tone,
    letter,
    title: lookUp(name) ? title : type,
    detail: [detail].flat().filter(Boolean).join(' · '),
  };
}

/** What a device says of itself. @param {{device?: Device | null}} props */
export const About = ({ device }) => device && html`<${Quiet}><${Outside}>${[
    device.vendor, device.model?.replace(/model (.+) version (.+)/, (_, model, version) => t('panel.model', { model, version })),
  ].filter(Boolean).join(' ')}<//>
  ${['firmware', 'serial'].map((what) => device[what] && html` · ${t(`panel.${what}`)} <${Outside}>${device[what]}<//>`)}<//>`;

export function Newest({ event }) {
  const { tone, letter, title, detail } = describe(event);
  return html`<${Mark} tone=${tone} letter=${letter} />
    <p><b>${title}</b>${detail && html` · <${Outside}>${detail}<//>`}</p>
    <p class="quiet">${event.subject && html`<${Outside}>${event.subject}<//> · `}<${Time} at=${event.time} /></p>`;
}

export const Decision = ({ event: { data } }) =>
  data.decision && html`<b class=${data.decision}>${meaning('decisions', data.decision)}</b> `;

/** Returns letter and word of a state. */
export const sign = (place, state) => (lookUp(`${place}.${state}`) ?? `?|${state}`).split('|');
export const lineState = (state) => sign('lineStates', state)[1];
const lineLetter = (state) => sign('lineStates', state)[0];
export const withUnit = (value, unit) => `${number(value)} ${meaning('units', unit)}`;

const LINES = {
  on_hook: 'good', off_hook: 'info', door_button: 'info', busy: 'info', short: 'bad', break: 'bad', unknown: 'warn',
};
export const lineTone = (state) => LINES[state] ?? 'idle';
export const LineMark = ({ state }) => html`<${Mark} tone=${lineTone(state)} letter=${lineLetter(state)} />`;

// The frame.

const ICONS = {
  home: 'M4 11 12 4l8 7v9h-5v-6H9v6H4z',
  lines: 'M4 4h6v6H4zM14 4h6v6h-6zM4 14h6v6H4zM14 14h6v6h-6z',
  events: 'M4 6h16M4 12h16M4 18h10',
  flats: 'M6 20V4h12v16M3 20h18M10 8h4M10 12h4M11 20v-4h2v4',
  commissioning: 'M4 6l2 2 3-4M4 13l2 2 3-4M4 20l2 2 3-4M12 6h8M12 13h8M12 20h8',
};
/** The others come early: a gateway that is upgraded no longer has them. */
const views = { home: Home };
/** What of the state they show; Home: all. */
const SLICES = {
  lines: 'phase told panels lines watched samples self', events: 'told panels events gaps oldest', flats: 'self',
  commissioning: 'commissioning self',
};
const View = still(({ view, page }) => html`<${view} page=${page} />`);

/** Only it is drawn each second. @param {{page: Page}} props */
function Clock({ page }) {
  const { utc, offset } = page.state;
  const [, draw] = useState({});
  useEffect(() => {
    const timer = setInterval(() => draw({}), 1000);
    return () => clearInterval(timer);
  }, []);
  setMoment(utc, Date.now());
  return html`<button type="button" aria-pressed=${utc} onClick=${() => page.dispatch({ type: 'utc' })}>
    ${offset !== null && when(moment.now + offset)}<span class="unseen"> ${t('showUtc')}</span></button>`;
}

const current = () => {
  const name = location.hash.slice(2);
  return Object.hasOwn(ICONS, name) ? name : 'home';
};

/** @param {{page: Page}} props */
export function App({ page }) {
  const { state } = page;
  const [view, setView] = useState(current());
  const [missing, setMissing] = useState('wait');
  const heading = useRef(/** @type {any} */ (null));
  const isThere = state.health !== null;
  setMoment(state.utc, Date.now());

  useEffect(() => {
    const turn = () => {
      setView(current());
      scrollTo(0, 0);
      heading.current.focus({ preventScroll: true });
    };
    const touch = (event) => {
      if (!event.target.closest('time')) return;
      event.preventDefault(); // It may stand in details.
      page.dispatch({ type: 'utc' });
    };
    turn();
    addEventListener('hashchange', turn);
    addEventListener('click', touch);
    return () => {
      removeEventListener('hashchange', turn);
      removeEventListener('click', touch);
    };
  }, []);
  const isWanted = isThere || view !== 'home';
  useEffect(() => {
    if (isWanted && !views.lines) import('./views.js').then((others) => (Object.assign(views, others), setMissing('')), () => setMissing('upgraded'));
  }, [isWanted, view]);

  const name = state.self?.gateway ?? t('title');
  const slices = SLICES[view]?.split(' ').map((name) => [name, state[name]]) ?? [['state', state]];
  useEffect(() => {
    document.title = `${t(`nav.${view}`)} · ${name}`;
  });

  return html`
    <header>
      <div>
        <h1><${Outside}>${name}<//></h1>
        ${/live|connecting/.test(state.phase) && html`<span class="phase ${state.phase}">${t(`phases.${state.phase}`)}</span>`}
        <${Clock} page=${page} />
      </div>
      ${!/live|connecting/.test(state.phase) && html`<p class="lost">${t(`phases.${state.phase}`)}
        ${isThere && html` <${Since} name="phases.grey" at=${state.heard} />`}</p>`}
      <section aria-label=${t('newest')}>${state.events[0]
        ? html`<${Newest} event=${state.events[0]} />` : state.oldest !== null && html`<${Quiet}>${t('nothingYet')}<//>`}</section>
    </header>
    <nav aria-label=${t('views')}><ul>
      ${Object.entries(ICONS).map(([name, icon]) => html`<li key=${name}>
        <a href=${`#/${name}`} aria-current=${name === view ? 'page' : null}>
          <svg viewBox="0 0 24 24" aria-hidden="true"><path d=${icon} /></svg>${t(`nav.${name}`)}</a></li>`)}
    </ul></nav>
    <main>
      <h2 tabindex="-1" ref=${heading}>${t(`nav.${view}`)}</h2>
      ${views[view] ? html`<${View} view=${views[view]} page=${page} ...${Object.fromEntries(slices)} />`
        : html`<${Quiet}>${t(missing)}<//>`}
    </main>
    <footer>
      ${state.self && html`<${Quiet}><${Say} name="token" token=${html`<${Outside}>${state.self.token.name}<//>`} />
        ${state.self.token.read_only && ` (${t('readOnly')})`} · ${t('version', { version: state.self.version })}<//>`}
      <button type="button" onClick=${() => page.leave('out')}>${t('signOut')}</button>
    </footer>`;
}

/** @param {{page: Page}} props */
function Home({ page }) {
  const { state } = page;
  const panels = Object.values(state.panels);
  return html`
    <${Health} state=${state} />
    ${panels.length === 0 && state.phase !== 'full' && html`<${Quiet}>${t(state.health ? 'home.noPanels' : 'wait')}<//>`}
    <div class="cards">${panels.map((panel) => html`<${PanelCard} key=${panel.panel} page=${page} panel=${panel} />`)}</div>
    <div class="cards around"><${Around} state=${state} />
      ${Object.values(state.buses).map((bus) => html`<${BusCard} key=${bus.bus} state=${state} bus=${bus} />`)}</div>`;
}

/** @param {{state: State}} props */
function Health({ state }) {
  const { health } = state;
  if (!health) return null;
  const isWell = health.status === 'ok';
  const stale = isStale(state, health);
  return html`<section class="health ${isWell ? 'good' : 'warn'} ${stale && 'stale'}" aria-label=${t('home.health')}><ul>
    ${isWell && html`<li><p><${Mark} tone="good" /><b>${t('health.ok')}</b></p></li>`}
    ${health.reasons.map(({ code, message, panel, bus, since }) => html`<li><${Wrong} place="health" code=${code} message=${message} since=${since}>
      <${Mark} tone="warn" />${(panel ?? bus) && html`<b><${Outside}>${panel ?? bus}<//>: </b>`}<//></li>`)}
  </ul>${stale && html`<${AsOf} at=${state.heard} />`}</section>`;
}

/** @param {{page: Page, panel: Told<Panel>}} props */
function PanelCard({ page, panel }) {
  const { state } = page;
  const name = panel.panel;
  const [letter, word] = sign('panelStates', panel.state);
  const stale = isStale(state, panel);
  const old = stale || panel.state !== 'online';
  const tone = { online: 'good', offline: 'bad', insecure: 'warn' }[panel.state] ?? 'idle';
  const swipe = state.swipes[name];
  const lock = hasLock(state, name);
  return html`<article class="card" aria-labelledby=${`panel-${name}`}>
    <div class="head ${stale && 'stale'}"><${Mark} tone=${tone} letter=${letter} />
      <div><h3 id=${`panel-${name}`}><${Outside}>${name}<//></h3><${Quiet}>${t('panel.intercom', { n: panel.intercom })}
        ${panel.intercom_name && html` · <${Outside}>${panel.intercom_name}<//>`}<//></div>
      <div><b class=${tone}>${word}</b><${Quiet}><${Since} at=${panel.since} /><//></div></div>
    ${(panel.error_code ?? panel.error) && html`<div class="trouble"><${Wrong} place="troubles" code=${panel.error_code} message=${panel.error} /></div>`}
    ${(swipe || lock) && html`<div class="swipe"><${Quiet}>${t('panel.swipe')}<//>${swipe
      ? html`<${Swipe} event=${swipe} />` : html`<${Quiet}>${t('panel.noSwipe', { n: number(state.events.length) })}<//>`}</div>`}
    <dl class=${old && 'stale'}><${Facts} state=${state} panel=${panel} /></dl>
    ${old && html`<${AsOf} at=${asOf(state, name)} />`}
    <${About} device=${panel.device} />
    <${Actions} page=${page} panel=${panel} lock=${lock} />
  </article>`;
}

function Swipe({ event }) {
  const { tone, letter, detail } = describe(event);
  return html`<div><${Mark} tone=${tone} letter=${letter} /><p><${Decision} event=${event} /><${Outside}>${detail}<//></p>
    <${Time} at=${event.time} /></div>`;
}

/** @param {{state: State, panel: Panel}} props */
function Facts({ state, panel: { panel, door, held, tamper, power_failed } }) {
  const lines = Object.values(state.lines).filter((line) => line.panel === panel);
  const ill = lines.filter((line) => line.state === 'short' || line.state === 'break').length;
  const row = rowOf(state, panel);
  const errors = state.errors[panel];
  const fact = (name, isBad, text) => html`<${Fact} name=${t(name)}><span class=${isBad && 'bad'}>${text}</span><//>`;
  return html`
    ${door && fact('panel.door', held, t(held ? 'panel.held' : `panel.${door}`))}
    ${tamper !== null && fact('panel.case', tamper, t(tamper ? 'panel.open' : 'panel.closed'))}
    ${power_failed && fact('panel.power', true, t('panel.failed'))}
    ${lines.length > 0 && fact('nav.lines', ill > 0, ill > 0 ? t('panel.ill', { ill, n: lines.length }) : number(lines.length))}
    ${row?.minute.round_trip_ms?.p50 != null && fact('panel.roundTrip', false, `${Math.round(row.minute.round_trip_ms.p50) || '< 1'} ${t('ms')}`)}
    ${errors && html`<${Fact} name=${t('panel.errors')}>${number(100 * (errors.at(-1) ?? 0), 1)} % <${Sparkline} values=${errors} /><//>`}`;
}

/** The scale begins at 1 %: one error is no mountain. */
function Sparkline({ values }) {
  const top = Math.max(0.01, ...values);
  const path = values.map((value, place) => `${60 - values.length + place} ${(15 - (14 * value) / top).toFixed(1)}`);
  const label = t('panel.most', { n: number(100 * Math.max(...values), 1) });
  return html`<svg class="sparkline" viewBox="0 0 60 16" role="img" aria-label=${label}><path d=${`M${path.join('L')}`} /></svg>`;
}

/** @param {{page: Page, panel: Panel, lock: boolean}} props */
function Actions({ page, panel, lock }) {
  const [asks, setAsks] = useState(/** @type {Function | null} */ (null));
  const forbidden = page.state.self?.token.read_only ? t('readOnlyReason') : '';
  const name = panel.panel;
  const act = async (/** @type {'openDoor' | 'identify'} */ what) => (await page[what](panel), t(`${what}.done`, { panel: name }));
  // Resolves once it is answered.
  const asked = () => new Promise((resolve, reject) => setAsks(() => (yes) => {
    setAsks(null);
    if (yes) act('openDoor').then(resolve, reject);
    else resolve('');
  }));
  return html`<div class="actions">
    ${lock && html`<${Act} kind="primary" label=${t('openDoor.button')} act=${asked} forbidden=${forbidden} say=${page.say} />`}
    ${busOf(page.state, name)?.protocol === 'osdp' && html`<${Act} label=${t('identify.button')} act=${() => act('identify')}
      forbidden=${forbidden} say=${page.say} />`}
    ${forbidden && html`<${Quiet}>${forbidden}<//>`}
    ${asks && html`<${Dialog} title=${html`<${Say} name="openDoor.ask" panel=${html`<${Outside}>${name}<//>`} />`} close=${() => asks(false)}>
      <div class="actions"><button type="button" onClick=${() => asks(false)}>${t('cancel')}</button>
        <button type="button" class="primary" onClick=${() => asks(true)}>${t('openDoor.yes')}</button></div><//>`}
  </div>`;
}

/** @param {State} state @param {string} name */
const busOf = (state, name) => Object.values(state.buses).find((bus) => bus.panels.some(({ panel }) => panel === name));
/** @param {State} state @param {string} name */
const rowOf = (state, name) => busOf(state, name)?.panels.find(({ panel }) => panel === name);

const Small = ({ tone, title, children, stale }) => html`<section class="card ${stale && 'stale'}">
  <h3><${Mark} tone=${tone} />${title}</h3>${children}</section>`;

/** @param {{state: State}} props */
function Around({ state }) {
  const { outbox, self, sync, offset, health } = state;
  const stale = state.phase !== 'live';
  const { uplink, undelivered = 0, oldest_undelivered_at: oldest } = outbox ?? {};
  const since = health?.reasons.find(({ code }) => code === 'broker')?.since;
  const off = Math.round(Math.abs(offset ?? 0) / 1000);
  return html`
    ${uplink && html`<${Small} stale=${stale} title=${t('home.cloud')} tone=${!uplink.configured ? 'idle' : uplink.connected ? 'good' : 'bad'}>
      ${!uplink.configured ? html`<p>${t('home.alone')}</p>` : html`
        <p>${t(uplink.connected ? 'home.connected' : 'home.away')} ${!uplink.connected && since && html`<${Since} at=${since} />`}</p>
        <p>${t('home.waiting', { n: undelivered })}${oldest && html`, <${Since} at=${oldest} />`}</p>
        <${InItsWords}>${uplink.error}<//>`}<//>`}
    ${self && html`<${Small} stale=${stale} title=${t('home.clock')} tone=${self.clock === 'synchronized' ? 'good' : 'warn'}>
      <p>${t(`home.${self.clock}`)}</p>${off > 5 && html`<p>${t('home.off', { n: off })}</p>`}<${Quiet}>${self.timezone}<//><//>`}
    ${sync && html`<${Small} stale=${stale} title=${t('nav.flats')} tone=${sync.error ? 'warn' : sync.flats ? 'good' : 'idle'}>
      <p>${t('flats.found', { n: sync.flats })}${sync.revision !== null && ` · ${t('home.revision', { n: sync.revision })}`}</p>
      ${sync.applied_at && html`<${Quiet}><${Since} at=${sync.applied_at} /><//>`}
      ${sync.error && html`<p>${t('home.refused')}</p><${InItsWords}>${sync.error.message}<//>`}<//>`}`;
}

/** @param {{state: State, bus: Told<Bus>}} props */
function BusCard({ state, bus }) {
  const { minute } = bus;
  const stale = isStale(state, bus);
  const wrong = minute.timeouts + minute.broken + minute.wrong;
  return html`<${Small} stale=${stale} tone=${bus.open ? 'good' : 'bad'} title=${html`<span>${t('home.bus')} <${Outside}>${bus.bus}<//></span>`}>
    <p>${t(bus.open ? 'bus.open' : 'bus.shut')}${bus.baud && ` · ${bus.baud} ${t('bus.baud')}`}</p>
    <dl class=${!bus.open && 'stale'}>
      <${Fact} name=${t('bus.exchanges')}>${number(minute.exchanges)}<//>
      <${Fact} name=${t('bus.errors')}>${number(wrong)}${wrong > 0 && html`<${Quiet}>${t('bus.kinds', minute)}<//>`}<//>
      <${Fact} name=${t('bus.busy')}>${Math.round(100 * minute.busy_ratio)} %<//>
      ${minute.noise > 0 && html`<${Fact} name=${t('bus.noise')}>${number(minute.noise)}<//>`}
    </dl>
    <${Quiet}>${bus.protocol === 'osdp' ? 'OSDP' : 'Modbus'} · <${Outside}>${bus.port}<//><//>
    ${stale && html`<${AsOf} at=${state.heard} />`}<//>`;
}
