// What has happened, newest first, as it happens; with filters, and a pause for those who read.

import { describe } from '../event.js';
import { Act, Copy, html, Mark, Outside, Quiet, Say, Since, Time, useState } from '../parts.js';
import { collapse, passes } from '../state.js';
import { t } from '../words.js';

const ROWS = 100;
const CHOICES = { kind: ['keys', 'doors', 'lines', 'panels', 'gateway'], decision: ['granted', 'denied'] };

/** @param {{page: import('../live.js').Page}} props */
export function View({ page }) {
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
    <ul class="events">${groups.slice(0, rows).map((group) => html`<${Row} key=${group.first.id} group=${group} />`)}</ul>
    ${isAll ? html`<${Quiet}>${t('events.oldest')}<//>` : html`<${Act} label=${t('events.older')} act=${older} />`}`;
}

function Row({ group: { newest: event, first, times } }) {
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
}
