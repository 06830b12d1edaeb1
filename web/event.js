// An event in words: how it looks at a glance, and what there is to say of it.

import { html, Mark, Outside, Time } from './parts.js';
import { lookUp, meaning, number, t } from './words.js';

const decided = ({ decision, reason, flats }) => [
  decision === 'granted' ? 'good' : 'bad',
  decision === 'granted' ? 'G' : 'D',
  [meaning('reasons', reason), flats?.length && t('flats.flat', { flat: flats.map(({ flat }) => flat).join(', ') })],
];

/** Of each type: tone, letter (a name of `letters`), and the detail.
 * @type {Record<string, (data: any) => any[]>} */
const LOOKS = {
  'key.swiped': decided,
  'code.entered': decided,
  'keypad.entered': () => ['info', '#'],
  'door.unlocked': () => ['good', 'O'],
  'door.unlock_failed': ({ cause }) => ['bad', '!', meaning('refusals', cause)],
  'door.opened': () => ['info', 'O'],
  'door.closed': () => ['idle', 'C'],
  'door.forced': () => ['bad', '!'],
  'door.held': () => ['warn', '!'],
  'line.changed': ({ to, value, unit }) => [lineTone(to), 'L', value !== null && `${number(value)} ${unit}`],
  'line.wiring': ({ cleared }) => (cleared ? ['good', 'L'] : ['bad', '!', t('lines.wiring')]),
  'input.changed': ({ to }) => [/active/.test(to) ? 'info' : 'warn', 'i'],
  'panel.online': () => ['good', 'P'],
  'panel.offline': ({ cause }) => ['bad', '!', cause],
  'panel.tamper': ({ active }) => (active ? ['bad', '!'] : ['good', 'P']),
  'panel.power': ({ active }) => (active ? ['bad', '!'] : ['good', 'P']),
  'panel.secured': () => ['good', 'P'],
  'panel.replaced': () => ['warn', '!'],
  'panel.suspect': ({ count }) => ['bad', '!', `×${count}`],
  'clock.stepped': () => ['warn', 'i'],
  'sync.rejected': ({ error }) => ['bad', '!', error?.message],
  'committed.ignored': () => ['warn', '!'],
  'journal.pruned': ({ cause }) => ['bad', '!', cause],
};

/** @param {import('./types.js').GatewayEvent} event */
export function describe({ type, data }) {
  const short = type.replace(/^(intercom|gateway)\./, '');
  const [tone, letter, detail] = LOOKS[short]?.(data) ?? ['info', 'i'];
  const over = data.active === false || data.cleared === true;
  const name = `happened.${short.replace('.', '_')}${data.decision ? `_${data.decision}` : ''}${over ? '_over' : ''}`;
  const values = {
    ...data,
    by: data.by ? t(`by.${data.by.kind}`, { id: data.by.id }) : '',
    to: meaning(short === 'input.changed' ? 'inputs' : 'lineStates', data.to).split('|').at(-1),
    state: lineState(data.state),
    cause: meaning('suspects', data.cause),
    n: data.lines?.length,
    seconds: number((data.offset_ms ?? 0) / 1000),
    digits: data.digits ?? '',
  };
  return {
    tone,
    letter: meaning('letters', letter),
    title: lookUp(name) ? t(name, values) : type,
    detail: [detail].flat().filter(Boolean).join(' · '),
  };
}

/** The newest event, in one line of every view. */
export function Newest({ event }) {
  const { tone, letter, title, detail } = describe(event);
  return html`<${Mark} tone=${tone} letter=${letter} />
    <p><b>${title}</b>${detail && html` · <${Outside}>${detail}<//>`}</p>
    <p class="quiet">${event.subject && html`<${Outside}>${event.subject}<//> · `}<${Time} at=${event.time} /></p>`;
}

export const Decision = ({ event: { data } }) =>
  data.decision && html`<b class=${data.decision}>${t(`decisions.${data.decision}`)}</b> `;

/** A word and a letter of a line's state. */
export const lineState = (state) => meaning('lineStates', state).split('|').at(-1);
export const lineLetter = (state) => t(`lineStates.${state}`).split('|')[0].slice(0, 1);

const LINES = {
  on_hook: 'good', off_hook: 'info', door_button: 'info', busy: 'info', short: 'bad', break: 'bad', unknown: 'warn',
};
export const lineTone = (state) => LINES[state] ?? 'idle';
