// Preact, and small things of every view. What comes from outside is text within <bdi> (`Outside`): it can neither be
// markup nor turn the writing direction of what stands beside it.

import { why } from './api.js';
import { parts, t, when } from './words.js';
import { useEffect, useRef, useState } from './vendor/hooks.js';
import htm from './vendor/htm.js';
import { h, render } from './vendor/preact.js';

export const html = htm.bind(h);
export { render, useEffect, useRef, useState };

const SHAPES = {
  good: 'M12 1a11 11 0 1 0 .01 0z',
  info: 'M12 0 24 12 12 24 0 12z',
  warn: 'M12 1 24 23H0z',
  bad: 'M7 1h10l6 6v10l-6 6H7l-6-6V7z',
  idle: 'M2 2h20v20H2z',
};

/** A state at a glance: colour, shape and letter say the same, and the words stand beside it. */
export const Mark = ({ tone, letter }) => html`<svg class="mark ${tone}" viewBox="0 0 24 24" aria-hidden="true">
  <path d=${SHAPES[tone]} /><text x="12" y=${tone === 'warn' ? 20 : 16.5} text-anchor="middle">${letter}</text></svg>`;

export const Outside = ({ children }) => html`<bdi>${children}</bdi>`;

/** A time of day; touched, all of them change between local time and UTC. */
export const Time = ({ at }) => {
  const utc = new Date(at).toISOString();
  return html`<time dateTime=${utc} title=${utc}>${when(at)}</time>`;
};

/** A text with elements for its values. */
export const Say = ({ name, ...values }) => parts(name, values);
export const Since = ({ at, name = 'since' }) => html`<${Say} name=${name} time=${html`<${Time} at=${at} />`} />`;
/** When a value is from that is no longer certain. */
export const AsOf = ({ at }) => at && html`<p class="quiet"><${Since} name="asOf" at=${at} /></p>`;
export const Quiet = ({ children }) => html`<p class="quiet">${children}</p>`;

export const Fact = ({ name, children }) => html`<div><dt>${name}</dt><dd>${children}</dd></div>`;

/** What is wrong and what to do, by the gateway's code; its own words on demand, or where the code is not known. */
export function Wrong({ place, code, message, since = null, children = null }) {
  const [what, cure] = t(`${place}.${code}`).split('|');
  const text = html`<p>${children}<b>${cure === undefined ? html`<${Outside}>${message ?? code}<//>` : what}</b> ${cure}
    ${since && html` <span class="quiet"><${Since} at=${since} /></span>`}</p>`;
  return cure === undefined || !message ? text : html`<${More} text=${text}><${Outside}>${message}<//><//>`;
}
export const More = ({ text, children }) => html`<details><summary>${text}</summary>${children}</details>`;
export const InItsWords = ({ children }) => children && html`<${More} text=${t('inItsWords')}><${Outside}>${children}<//><//>`;

/** A button that has something done and says beside it what came of it. One that must not be used says why, and can be
 * reached all the same. */
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

/** Asks before something is done, or shows more of something. Escape and a touch beside it close it. */
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

/** Copies a text. The clipboard is there in a secure context alone, which not every certificate makes. */
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
