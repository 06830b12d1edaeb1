// What has to be seen once before a building is handed over. The daemon ticks, from journalled events; what only a person
// can see is confirmed by hand; the end is a record to keep or to print.

import { Act, Fact, html, Mark, Outside, Quiet, Time, useState } from '../parts.js';
import { meaning, t } from '../words.js';

/** @import { Commissioning, Item } from '../types.js' */
/** @typedef {import('../live.js').Page} Page */

/** @param {{page: Page}} props */
export function View({ page }) {
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

const kindOf = ({ kind }) => meaning('work.kinds', kind);

/** Returns the items of each panel, or of each flat. @param {Item[]} items @returns {[string, Item[]][]} */
function bySubject(items) {
  const all = new Map();
  for (const item of items) {
    const subject = `${item.intercom}/${item.flat ?? item.panel}`;
    all.set(subject, [...(all.get(subject) ?? []), item]);
  }
  return [...all.values()].map((items) => [items[0].flat !== null ? t('flats.flat', items[0]) : items[0].panel ?? '', items]);
}

/** @param {{page: Page, item: Item, forbidden: string}} props */
function Entry({ page, item, forbidden }) {
  const { done, by_hand } = item;
  return html`<li><${Mark} tone=${done ? 'good' : 'idle'} letter=${done ? '✓' : '–'} />
    <div>${kindOf(item)}<span class="unseen">, ${t(done ? 'work.done' : 'work.open')}</span>
      ${done && html`<${Quiet}><${Time} at=${done.at} /> · ${done.sequence === null
        ? html`${t('work.byHand')} <${Outside}>${done.token}<//>` : `${t('work.event')} ${done.sequence}`}<//>`}</div>
    ${!done && by_hand && html`<${Act} label=${t('work.confirm')} name=${`${t('work.confirm')}: ${[item.panel, item.flat, kindOf(item)].filter(Boolean).join(' ')}`}
      forbidden=${forbidden} act=${() => page.confirm(item)} />`}
  </li>`;
}

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
      <${Fact} name=${t('work.date')}>${new Date(time).toLocaleString(document.documentElement.lang)}<//></dl>
    <ul class="rows">${record.panels.map(({ panel, vendor, model, firmware, serial }) => html`<li><b><${Outside}>${panel}<//></b>
      <${Quiet}><${Outside}>${[vendor, model, firmware, serial].filter(Boolean).join(' · ')}<//><//></li>`)}</ul>
    <h3>${t('work.still')}: ${open.length}</h3>
    <ul class="still">${bySubject(open).map(([subject, items]) => html`<li><b><${Outside}>${subject}<//></b> ${items.map(kindOf).join(', ')}</li>`)}</ul>
    <div class="actions screen"><button type="button" onClick=${save}>${t('work.save')}</button>
      <button type="button" onClick=${() => print()}>${t('work.print')}</button></div>
  </section>`;
}
