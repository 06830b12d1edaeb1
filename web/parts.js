// Preact, small things of every view, and events in words.

import { meaning, number, parts, t, when, why } from './talk.js';
import { useEffect, useRef, useState } from './vendor/hooks.js';
import htm from './vendor/htm.js';
import { h, render } from './vendor/preact.js';

export const html = htm.bind(h);
export { render, useEffect, useRef, useState };

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

/** What comes from outside: it can neither be markup nor turn the direction of what stands beside it. */
export const Outside = ({ children }) => html`<bdi>${children}</bdi>`;

export const Time = ({ at }) => {
  const utc = new Date(at).toISOString();
  return html`<time dateTime=${utc} title=${utc}>${when(at)}</time>`;
};

export const Say = ({ name, ...values }) => parts(name, values);
export const Since = ({ at, name = 'since' }) => html`<${Say} name=${name} time=${html`<${Time} at=${at} />`} />`;
export const AsOf = ({ at }) => at && html`<p class="quiet"><${Since} name="asOf" at=${at} /></p>`;
export const Quiet = ({ children }) => html`<p class="quiet">${children}</p>`;

export const Fact = ({ name, children }) => html`<div><dt>${name}</dt><dd>${children}</dd></div>`;

/** What is wrong and what to do; in the gateway's words where its code is not known. */
export function Wrong({ place, code, message, since = null, children = null }) {
  const [what, cure] = t(`${place}.${code}`).split('|');
  const text = html`<p>${children}<b>${cure === undefined ? html`<${Outside}>${message ?? code}<//>` : what}</b> ${cure}
    ${since && html` <span class="quiet"><${Since} at=${since} /></span>`}</p>`;
  return cure === undefined || !message ? text : html`<${More} text=${text}><${Outside}>${message}<//><//>`;
}
export const More = ({ text, children }) => html`<details><summary>${text}</summary>${children}</details>`;
export const InItsWords = ({ children }) => children && html`<${More} text=${t('inItsWords')}><${Outside}>${children}<//><//>`;

/** A button that has something done and says beside it what came of it; a forbidden one says why. */
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

/** The clipboard is there in a secure context alone, which not every certificate makes. */
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
  'line.changed': ({ to, value, unit }) => [lineTone(to), value !== null && `${number(value)} ${unit}`, lineLetter(to)],
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
  'journal.pruned': ({ cause }) => ['bad', cause],
};

/** @param {GatewayEvent} event */
export function describe({ type, data }) {
  const short = type.replace(/^(intercom|gateway)\./, '');
  const [tone, detail, letter] = LOOKS[short]?.(data) ?? ['info'];
  const name = `happened.${short.replace('.', '_')}${isOver(data) ? '_over' : ''}`;
  const title = t(name, {
    ...data,
    decision: meaning('decisions', data.decision),
    by: data.by ? t(`by.${data.by.kind}`, { id: data.by.id }) : '',
    to: meaning(short === 'input.changed' ? 'inputs' : 'lineStates', data.to).split('|').at(-1),
    state: lineState(data.state),
    cause: meaning('suspects', data.cause),
    n: data.lines?.length,
    seconds: number((data.offset_ms ?? 0) / 1000),
  });
  return {
    tone,
    letter,
    title: title === name ? type : title,
    detail: [detail].flat().filter(Boolean).join(' · '),
  };
}

export function Newest({ event }) {
  const { tone, letter, title, detail } = describe(event);
  return html`<${Mark} tone=${tone} letter=${letter} />
    <p><b>${title}</b>${detail && html` · <${Outside}>${detail}<//>`}</p>
    <p class="quiet">${event.subject && html`<${Outside}>${event.subject}<//> · `}<${Time} at=${event.time} /></p>`;
}

export const Decision = ({ event: { data } }) =>
  data.decision && html`<b class=${data.decision}>${t(`decisions.${data.decision}`)}</b> `;

export const lineState = (state) => meaning('lineStates', state).split('|').at(-1);
const lineLetter = (state) => t(`lineStates.${state}`).slice(0, 1);

const LINES = {
  on_hook: 'good', off_hook: 'info', door_button: 'info', busy: 'info', short: 'bad', break: 'bad', unknown: 'warn',
};
export const lineTone = (state) => LINES[state] ?? 'idle';
export const LineMark = ({ state }) => html`<${Mark} tone=${lineTone(state)} letter=${lineLetter(state)} />`;
