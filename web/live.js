// What runs while somebody is signed in: state and stream, what is asked for beside it, what can be done, and the one line
// for screen readers.

import { ask, post, refused } from './api.js';
import { describe } from './event.js';
import { initial, reduce } from './state.js';
import { follow } from './stream.js';
import { t } from './words.js';

const LOCAL = '/api/local/v1/';
const POLL = 5000;
const EVENTS = 200;

/** @typedef {ReturnType<typeof open>} Page */

export function open({ token, early, leave, changed }) {
  let state = initial;
  let isClosed = false;
  const announce = announcer((text) => {
    const status = document.getElementById('status');
    if (status) status.textContent = text;
  });

  function dispatch(/** @type {any} */ action) {
    if (isClosed) return;
    const before = state;
    state = reduce(state, action);
    if (action.type === 'stream') heed(before, action);
    if (action.type === 'phase' && before.told > 0 && (before.phase === 'live') !== (action.phase === 'live')) {
      announce.say(t(action.phase === 'live' ? 'connection.back' : 'connection.gone'));
    }
    changed();
  }

  /** Says what is news, and asks for what it has changed elsewhere. */
  function heed(before, { name, data }) {
    if (name === 'health' && before.health && before.health.reasons.length !== data.reasons.length) {
      announce.say(data.reasons.length ? t('say.ill', { n: data.reasons.length }) : t('health.ok'));
    }
    // A reload has brought or taken a panel.
    if (name === 'panel' && before.health && (data.state === 'unconfigured' || !before.panels[data.panel])) {
      for (const list of ['panels', 'lines', 'commissioning']) fetchInto(list);
    }
    if (name !== 'event') return;
    const { title, detail } = describe(data);
    announce.event([data.subject, title, detail].filter(Boolean).join(', '));
    if (/panel.(online|replaced)/.test(data.type)) fetchInto('panels');
    if (/gateway.sync/.test(data.type)) fetchInto('sync');
    commissionSoon();
  }

  // The daemon ticks once an event is in its journal; several at once are asked for together.
  let soon = 0;
  function commissionSoon() {
    if (location.hash === '#/commissioning') soon ||= setTimeout(() => ((soon = 0), fetchInto('commissioning')), 500);
  }

  async function fetchInto(/** @type {any} */ type) {
    const answer = await ask(LOCAL + type).catch(() => null);
    if (answer) dispatch({ type, data: type === 'panels' || type === 'lines' ? answer.data : answer, at: Date.now() });
  }

  const fetchEvents = async (query, gap = undefined) =>
    dispatch({ type: 'events', data: await ask(`${LOCAL}events?${query}`), gap });

  const stream = follow({
    token,
    early,
    dispatch,
    revoked: () => leave('revoked'),
    live() {
      for (const what of ['self', 'panels', 'lines', 'outbox', 'sync', 'commissioning']) fetchInto(what);
      fetchEvents(`limit=${EVENTS}`).catch(() => {});
    },
    gap: (gap) => fetchEvents(`from=${gap.from}&limit=1000`, gap).catch(() => {}),
  });
  refused.token = () => leave('revoked');

  const poll = setInterval(() => {
    if (state.phase !== 'live' || document.visibilityState !== 'visible') return;
    fetchInto('outbox');
    fetchInto('self'); // The clock may be set at any time.
    commissionSoon();
  }, POLL);

  return {
    get state() {
      return state;
    },
    dispatch,
    say: announce.say,
    leave,
    openDoor: ({ intercom, panel }) => post(`/api/admin/v1/intercoms/${intercom}/open-door`, { panel }),
    identify: ({ panel }) => post(`${LOCAL}panels/${panel}/identify`),
    async measure({ intercom, flat }) {
      const data = await post(`${LOCAL}intercoms/${intercom}/lines/${flat}/measure`);
      dispatch({ type: 'stream', name: 'line', data, at: Date.now() });
      return data;
    },
    async confirm({ id }) {
      await post(`${LOCAL}commissioning/${id}`);
      await fetchInto('commissioning');
    },
    watch(line) {
      dispatch({ type: 'watch', line });
      stream.watch(line);
    },
    async older() {
      const to = Number(state.events.at(-1)?.sequence ?? 1);
      const from = Math.max(state.oldest ?? 1, to - EVENTS);
      if (to > from) await fetchEvents(`from=${from}&limit=${to - from}`);
    },
    close() {
      isClosed = true;
      stream.stop();
      clearInterval(poll);
      refused.token = () => {};
    },
  };
}

/** Returns what takes news and has them told together, at most every 2 s: a busy door does not chatter. */
export function announcer(tell) {
  const INTERVAL = 2000;
  let news = [];
  let events = 0;
  let newest = '';
  let timer = 0;
  let told = -INTERVAL;

  function flush() {
    if (events > 0) news.push((events > 1 ? t('say.events', { n: events }) : '') + newest);
    tell(news.join(' '));
    timer = events = 0;
    news = [];
    told = Date.now();
  }
  const soon = () => (timer ||= /** @type {any} */ (setTimeout(flush, Math.max(0, told + INTERVAL - Date.now()))));
  return {
    say(/** @type {string} */ text) {
      if (!news.includes(text)) news.push(text);
      soon();
    },
    event(/** @type {string} */ text) {
      events += 1;
      newest = text;
      soon();
    },
  };
}
