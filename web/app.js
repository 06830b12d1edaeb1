// The frame of every view, and the first one.

import {
  Act, AsOf, Decision, describe, Dialog, Fact, html, InItsWords, Mark, Newest, Outside, Quiet, Say, Since, Time, useEffect,
  useRef, useState, Wrong,
} from './parts.js';
import { isStale } from './state.js';
import { meaning, moment, number, t, when } from './talk.js';

const ICONS = {
  home: 'M4 11 12 4l8 7v9h-5v-6H9v6H4z',
  lines: 'M4 4h6v6H4zM14 4h6v6h-6zM4 14h6v6H4zM14 14h6v6h-6z',
  events: 'M4 6h16M4 12h16M4 18h10',
  flats: 'M6 20V4h12v16M3 20h18M10 8h4M10 12h4M11 20v-4h2v4',
  commissioning: 'M4 6l2 2 3-4M4 13l2 2 3-4M4 20l2 2 3-4M12 6h8M12 13h8M12 20h8',
};
/** The others come early: a gateway that is updated no longer has them. */
const views = { home: Home };

const current = () => {
  const name = location.hash.slice(2);
  return name in ICONS ? name : 'home';
};

/** @param {{page: Page}} props */
export function App({ page }) {
  const { state } = page;
  const [view, setView] = useState(current());
  const [, draw] = useState({});
  const heading = useRef(/** @type {any} */ (null));
  const isThere = state.health !== null;
  moment.utc = state.utc;
  moment.now = Date.now();
  const toggle = () => page.dispatch({ type: 'utc' });

  useEffect(() => {
    const turn = () => {
      setView(current());
      scrollTo(0, 0);
      heading.current.focus({ preventScroll: true });
    };
    const touch = (event) => {
      if (!event.target.closest('time')) return;
      event.preventDefault(); // It may stand in details.
      toggle();
    };
    const timer = setInterval(() => draw({}), 1000);
    addEventListener('hashchange', turn);
    addEventListener('click', touch);
    return () => {
      clearInterval(timer);
      removeEventListener('hashchange', turn);
      removeEventListener('click', touch);
    };
  }, []);
  const isWanted = isThere || view !== 'home';
  useEffect(() => {
    if (isWanted && !views.lines) import('./views.js').then((others) => (Object.assign(views, others), draw({})), () => {});
  }, [isWanted, view]);

  const name = state.self?.gateway ?? t('title');
  const View = views[view];
  useEffect(() => {
    document.title = `${t(`nav.${view}`)} · ${name}`;
  });

  return html`
    <header>
      <div>
        <h1><${Outside}>${name}<//></h1>
        ${/live|connecting/.test(state.phase) && html`<span class="phase ${state.phase}">${t(`phases.${state.phase}`)}</span>`}
        <button type="button" aria-pressed=${state.utc} onClick=${toggle}>
          ${state.offset !== null && when(moment.now + state.offset)}<span class="unseen"> ${t('showUtc')}</span></button>
      </div>
      ${!/live|connecting/.test(state.phase) && html`<p class="lost">${t(`phases.${state.phase}`)} <${Since} name="phases.grey" at=${state.heard} /></p>`}
      <section aria-label=${t('newest')}>${state.events[0]
        ? html`<${Newest} event=${state.events[0]} />` : html`<${Quiet}>${t('nothingYet')}<//>`}</section>
    </header>
    <nav aria-label=${t('views')}><ul>
      ${Object.entries(ICONS).map(([name, icon]) => html`<li key=${name}>
        <a href=${`#/${name}`} aria-current=${name === view ? 'page' : null}>
          <svg viewBox="0 0 24 24" aria-hidden="true"><path d=${icon} /></svg>${t(`nav.${name}`)}</a></li>`)}
    </ul></nav>
    <main>
      <h2 tabindex="-1" ref=${heading}>${t(`nav.${view}`)}</h2>
      ${View ? html`<${View} page=${page} />` : html`<${Quiet}>${t('wait')}<//>`}
    </main>
    <footer>
      ${state.self && html`<${Quiet}><${Say} name="token" token=${html`<${Outside}>${state.self.token.name}<//>`} />
        ${state.self.token.read_only && ` (${t('readOnly')})`} · ${t('version', { version: state.self.version })}<//>`}
      <button type="button" onClick=${() => page.leave('out')}>${t('signOut')}</button>
    </footer>`;
}

const TONES = { online: 'good', offline: 'bad', insecure: 'warn' };

/** @param {{page: Page}} props */
function Home({ page }) {
  const { state } = page;
  const panels = Object.values(state.panels);
  return html`
    <${Health} state=${state} />
    ${panels.length === 0 && html`<${Quiet}>${t(state.health ? 'home.noPanels' : 'wait')}<//>`}
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
  const [letter, word] = meaning('panelStates', panel.state).split('|');
  const stale = isStale(state, panel);
  const old = stale || panel.state !== 'online';
  const tone = TONES[panel.state] ?? 'idle';
  const swipe = state.swipes[name];
  const lock = hasLock(state, name);
  return html`<article class="card" aria-labelledby=${`panel-${name}`}>
    <div class="head ${stale && 'stale'}"><${Mark} tone=${tone} letter=${letter} />
      <div><h3 id=${`panel-${name}`}><${Outside}>${name}<//></h3><${Quiet}>${t('panel.intercom', { n: panel.intercom })}<//></div>
      <div><b class=${tone}>${word}</b><${Quiet}><${Since} at=${panel.since} /><//></div></div>
    ${(panel.error_code ?? panel.error) && html`<div class="trouble"><${Wrong} place="troubles" code=${panel.error_code} message=${panel.error} /></div>`}
    ${(swipe || lock) && html`<div class="swipe"><${Quiet}>${t('panel.swipe')}<//>${swipe
      ? html`<${Swipe} event=${swipe} />` : html`<${Quiet}>${t('panel.noSwipe')}<//>`}</div>`}
    <dl class=${old && 'stale'}><${Facts} state=${state} panel=${panel} /></dl>
    ${old && html`<${AsOf} at=${stale ? state.heard : panel.last_seen} />`}
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
    ${row?.minute.round_trip_ms?.p50 != null && fact('panel.roundTrip', false, `${Math.round(row.minute.round_trip_ms.p50)} ${t('ms')}`)}
    ${errors && html`<${Fact} name=${t('panel.errors')}>${number(100 * (errors.at(-1) ?? 0), 1)} % <${Sparkline} values=${errors} /><//>`}`;
}

/** The scale begins at 1 %: one error is no mountain. */
function Sparkline({ values }) {
  const top = Math.max(0.01, ...values);
  const path = values.map((value, place) => `${60 - values.length + place} ${(15 - (14 * value) / top).toFixed(1)}`);
  const label = t('panel.most', { n: number(100 * Math.max(...values), 1) });
  return html`<svg class="sparkline" viewBox="0 0 60 16" role="img" aria-label=${label}><path d=${`M${path.join('L')}`} /></svg>`;
}

/** @param {{device?: Device | null}} props */
const About = ({ device }) => device && html`<${Quiet}><${Outside}>${[device.vendor, device.model].filter(Boolean).join(' ')}<//>
  ${['firmware', 'serial'].map((what) => device[what] && html` · ${t(`panel.${what}`)} <${Outside}>${device[what]}<//>`)}<//>`;

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

/** Commissioning knows which panels have a lock. @param {State} state @param {string} name */
const hasLock = ({ commissioning, lines }, name) => commissioning
  ? commissioning.items.some(({ group, panel }) => group === 'lock' && panel === name)
  : !Object.values(lines).some(({ panel }) => panel === name);

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
