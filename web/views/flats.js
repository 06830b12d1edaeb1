// Whose key is it, and may it open: the flats, as the endpoint has them.

import { ask, why } from '../api.js';
import { Copy, html, Outside, Quiet, useState } from '../parts.js';
import { t } from '../words.js';

/** @import { Flat, FlatRow, Page, User } from '../types.js' */

/** @param {{page: import('../live.js').Page}} props */
export function View({ page }) {
  const [found, setFound] = useState(/** @type {Page<FlatRow> & {search: string} | null} */ (null));
  const [wrong, setWrong] = useState('');

  async function look(search, number, before) {
    try {
      const answer = await ask(`/api/local/v1/flats?${new URLSearchParams({ search, page: number })}`);
      setFound({ ...answer, search, data: [...before, ...answer.data] });
      setWrong('');
      page.say(t('flats.found', { n: answer.meta.total }));
    } catch (error) {
      setWrong(why(error));
      page.say(why(error));
    }
  }
  function submit(event) {
    event.preventDefault();
    look(event.target.elements.search.value.trim(), 1, []);
  }

  return html`<form role="search" onSubmit=${submit}>
      <label for="search">${t('flats.search')}</label>
      <div><input id="search" type="search" autocomplete="off" autocapitalize="none" spellcheck=${false}
        aria-invalid=${wrong !== ''} aria-describedby="wrong" /><button class="primary">${t('flats.button')}</button></div>
      <p id="wrong" class="bad"><${Outside}>${wrong}<//></p></form>
    ${found && html`<${Quiet}>${t('flats.found', { n: found.meta.total })}<//>
      <ul class="flats">${found.data.map((row) => html`<${Row} key=${`${row.intercom_id}/${row.id}`} row=${row} />`)}</ul>
      ${found.meta.current_page < found.meta.last_page && html`<button type="button"
        onClick=${() => look(found.search, found.meta.current_page + 1, found.data)}>${t('flats.more')}</button>`}`}`;
}

/** A flat that was found; opened, all that there is of it. @param {{row: FlatRow}} props */
function Row({ row: { intercom_id: intercom, id, flat: number, key_count: keys, users_count: users } }) {
  const [flat, setFlat] = useState(/** @type {Flat | null} */ (null));
  const [wrong, setWrong] = useState('');
  const toggle = ({ target }) => target.open && !flat &&
    ask(`/api/admin/v1/intercoms/${intercom}/flats/${id}`).then(setFlat, (error) => setWrong(why(error)));
  return html`<li><details class="card" onToggle=${toggle}>
    <summary><p><b>${t('flats.flat', { flat: number })}</b> · ${t('panel.intercom', { n: intercom })} · ${t('flats.counts', { keys, users })}</p></summary>
    ${flat ? html`<${All} flat=${flat} />` : html`<p class=${wrong && 'bad'}><${Outside}>${wrong || t('wait')}<//></p>`}
  </details></li>`;
}

/** @param {{flat: Flat}} props */
const All = ({ flat }) => html`
  <${Quiet}>${t('flats.id', { id: flat.id })} · ${t(flat.properties.is_analog_line_enable ? 'flats.on' : 'flats.off')}
    ${flat.properties.is_can_manage_resistance && ` · ${t('flats.own')}`}<//>
  <h3>${t('flats.keys')}</h3>
  <ul class="rows">${flat.keys.map(({ key, user }) => html`<li><p class="key"><code>${key}</code><${Copy} text=${key} /></p>
    ${user ? html`<${Person} user=${user} />` : html`<${Quiet}>${t('flats.nobody')}<//>`}</li>`)}</ul>
  <h3>${t('flats.users')}</h3>
  <ul class="rows">${flat.users.map((user) => html`<li><${Person} user=${user} /></li>`)}</ul>
  <details><summary>${t('flats.document')}</summary><pre>${JSON.stringify(flat, null, 1)}</pre></details>`;

/** The cloud's dates have no zone: that one is over is certain a day later. @param {{user: User}} props */
function Person({ user: { name, login, expired_at: until } }) {
  const isOver = until !== null && Date.parse(until.replace(' ', 'T')) < Date.now();
  return html`<p class="clamp"><${Outside}>${name}<//></p><p class="quiet clamp"><${Outside}>${login}<//>
    ${until !== null && html`<span class=${isOver && 'bad'}> · ${t('flats.until')} <${Outside}>${until}<//></span>`}</p>`;
}
