// Each commutator as its cabinet is wired, a cell a flat; and one line close up, live while somebody lifts the handset.

import { lineLetter, lineState, lineTone } from '../event.js';
import { Act, AsOf, Dialog, Fact, html, Mark, Outside, Quiet, Since, Time, useEffect, useState } from '../parts.js';
import { isOld, keyOf } from '../state.js';
import { number, t } from '../words.js';
import { Plot } from './plot.js';

/** @import { Line, State, Told } from '../types.js' */

const flatOf = ({ flat }) => t('flats.flat', { flat });

/** @param {{page: import('../live.js').Page}} props */
export function View({ page }) {
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

const Sign = ({ state }) => html`<${Mark} tone=${lineTone(state)} letter=${lineLetter(state)} />${lineState(state)}`;

/** @param {{state: State, name: string, lines: Told<Line>[], show: Function}} props */
function Cabinet({ state, name, lines, show }) {
  const { columns, last_seen } = state.panels[name] ?? {};
  const old = lines.some((line) => isOld(state, line));
  lines.sort((a, b) => (a.line ?? a.flat) - (b.line ?? b.flat));
  const rowOf = (line) => Math.floor((line - 1) / (columns ?? 1)) + 1;
  const top = rowOf(lines[0]?.line) - 1;
  // A line without a flat leaves its place free, as in the cabinet.
  const place = ({ line = 0 }) => columns && line && { gridColumn: ((line - 1) % columns) + 1, gridRow: rowOf(line) - top };
  return html`<section class="card" aria-labelledby=${`lines-${name}`}>
    <h3 id=${`lines-${name}`}><${Outside}>${name}<//></h3>
    <${Quiet}>${t('lines.good', { good: lines.filter((line) => line.state === 'on_hook').length, n: lines.length })}<//>
    <div class="scroll"><ul class="grid ${old && 'stale'}" style=${columns && { gridTemplateColumns: `repeat(${columns}, minmax(3rem, 1fr))` }}>
      ${lines.map((line) => html`<li key=${keyOf(line)} style=${place(line)}>
        <button type="button" class=${lineTone(line.state)} onClick=${() => show(keyOf(line))}>
          <span class="unseen">${flatOf(line)}: ${lineState(line.state)}</span>
          <span aria-hidden="true">${line.flat}</span><${Mark} tone=${lineTone(line.state)} letter=${lineLetter(line.state)} /></button></li>`)}
    </ul></div>
    ${old && html`<${AsOf} at=${state.phase === 'live' ? last_seen : state.heard} />`}
  </section>`;
}

/** @param {{page: import('../live.js').Page, line: Told<Line>, close: () => void}} props */
function Sheet({ page, line, close }) {
  const { state } = page;
  const { unit, thresholds } = line;
  const key = keyOf(line);
  const isWatched = state.watched === key;
  const old = isOld(state, line);
  const samples = isWatched ? state.samples : [];
  const value = samples.length > 0 ? samples.at(-1)?.value : line.value;
  const read = (value) => (value == null ? t('lines.noValue') : `${number(value)} ${unit}`);
  useEffect(() => () => page.watch(null), []);
  async function measure() {
    const now = await page.measure(line);
    return `${flatOf(now)}: ${read(now.value)}, ${lineState(now.state)}`;
  }
  const step = (word, text) => html`<li class=${word === line.state && 'current'}><${Sign} state=${word} /><span>${text}</span></li>`;
  return html`<${Dialog} kind="sheet" title=${flatOf(line)} close=${close}>
    <div class="reading ${old && 'stale'}"><${Mark} tone=${lineTone(line.state)} letter=${lineLetter(line.state)} />
      <div><b>${lineState(line.state)}</b><${Quiet}><${Since} at=${line.since} /><//></div>
      <strong><${Outside}>${read(value)}<//></strong></div>
    ${old && html`<${AsOf} at=${line.measured_at ?? state.heard} />`}
    ${isWatched && html`<${Quiet}>${t('lines.watching')}<//><${Plot} line=${line} samples=${samples} />`}
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
      ${line.measured_at && html`<${Fact} name=${t('lines.measured')}><${Time} at=${line.measured_at} /><//>`}
      <${Fact} name=${t('lines.place')}>${line.line} · <${Outside}>${line.panel}<//><//></dl>
  <//>`;
}
