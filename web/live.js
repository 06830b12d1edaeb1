// What runs while somebody is signed in.

import { describe } from './app.js';
import { hasLock, initial, reduce } from './state.js';
import { ask, bearer, refused, t } from './talk.js';

const LOCAL = '/api/local/v1/';
const STREAM = `${LOCAL}stream`;
const POLL = 5000;
const EVENTS = 200;
/** So long without news: buses tell every 5 s, and a comment comes every 15 s. */
const SILENCE = 10_000;
const SILENCE_WITHOUT_BUS = 19_000;

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
    if (state === before) return;
    const { type, phase } = action;
    if (phase === 'full') fetchInto('self');
    if (type === 'stream') heed(before, action);
    if (type === 'phase' && before.told > 0 && (before.phase === 'live') !== (phase === 'live')) {
      announce.say(t(phase === 'live' ? 'say.back' : 'say.gone'));
    }
    changed();
  }

  function heed(before, { name, data }) {
    if (name === 'health' && before.health && before.health.reasons.length !== data.reasons.length) {
      announce.say(data.reasons.length ? t('say.ill', { n: data.reasons.length }) : t('health.ok'));
    }
    // A reload has brought or taken a panel.
    if (name === 'panel' && before.health && (data.state === 'unconfigured' || !before.panels[data.panel])) {
      fetchInto('panels', 'lines', 'commissioning');
    }
    if (name !== 'event') return;
    const { title, detail } = describe(data);
    announce.event([data.subject, title, detail].filter(Boolean).join(', '));
    if (/panel.(online|replaced)/.test(data.type)) fetchInto('panels');
    if (/gateway.sync/.test(data.type)) fetchInto('sync');
    commissionSoon();
  }

  // The daemon ticks a moment later.
  let soon = 0;
  function commissionSoon() {
    if (location.hash === '#/commissioning') soon ||= setTimeout(() => ((soon = 0), fetchInto('commissioning')), 500);
  }

  const fetchInto = (...names) => Promise.all(names.map((type) => ask(LOCAL + type)
    .then((answer) => dispatch({ type, data: answer.data ?? answer, at: Date.now() }), () => {})));
  const fetchEvents = async (query, gap = undefined) =>
    dispatch({ type: 'events', data: await ask(`${LOCAL}events?${query}`), gap });

  let hasSought = false;
  async function older(limit = EVENTS) {
    const to = Number(state.events.at(-1)?.sequence ?? 1);
    const from = Math.max(state.oldest ?? 1, to - limit);
    if (to > from) await fetchEvents(`from=${from}&limit=${to - from}`);
  }

  const stream = follow({
    token,
    early,
    dispatch,
    revoked: () => leave('revoked'),
    silence: () => (Object.keys(state.buses).length ? SILENCE : SILENCE_WITHOUT_BUS),
    live: async () => {
      const lists = fetchInto('self', 'panels', 'lines', 'outbox', 'sync', 'commissioning');
      await Promise.all([lists, fetchEvents(`limit=${EVENTS}`)]);
      // A busy commutator hides what a quiet door has last seen.
      if (Object.keys(state.panels).every((name) => state.swipes[name] || !hasLock(state, name)) || hasSought) return;
      hasSought = true;
      await older(1000);
    },
    gap: (gap) => fetchEvents(`from=${gap.from}&limit=1000`, gap).catch(() => {}),
  });
  refused.token = () => leave('revoked');

  const poll = setInterval(() => {
    if (state.phase !== 'live' || document.visibilityState !== 'visible') return;
    fetchInto('outbox', 'self');
    commissionSoon();
  }, POLL);

  return {
    get state() {
      return state;
    },
    dispatch,
    say: announce.say,
    leave,
    openDoor: ({ intercom, panel }) => ask(`/api/admin/v1/intercoms/${intercom}/open-door`, { panel }),
    identify: ({ panel }) => ask(`${LOCAL}panels/${panel}/identify`, {}),
    async measure({ intercom, flat }) {
      const data = await ask(`${LOCAL}intercoms/${intercom}/lines/${flat}/measure`, {});
      dispatch({ type: 'stream', name: 'line', data, at: Date.now() });
      return data;
    },
    async confirm({ id }) {
      await ask(`${LOCAL}commissioning/${id}`, {});
      await fetchInto('commissioning');
    },
    watch(line) {
      dispatch({ type: 'watch', line });
      stream.watch(line);
    },
    older: () => older(),
    /** Has a line's value told: the stream tells of states alone. */
    async look({ intercom, flat }) {
      const { data } = await ask(`${LOCAL}lines?intercom=${intercom}`);
      dispatch({ type: 'stream', name: 'line', data: data.find((line) => line.flat === flat), at: Date.now() });
    },
    close() {
      isClosed = true;
      stream.stop();
      clearInterval(poll);
      refused.token = () => {};
    },
  };
}

/** Returns what has news told together, at most every 2 s: a busy door does not chatter. */
export function announcer(tell) {
  const INTERVAL = 2000;
  let news = [];
  let events = 0;
  let newest = '';
  let timer = 0;
  let told = -INTERVAL;

  function flush() {
    if (events > 0) news.push(events > 1 ? t('say.events', { n: events, newest }) : newest);
    tell(news.join(' '));
    timer = events = 0;
    news = [];
    told = Date.now();
  }
  const soon = () => (timer ||= /** @type {any} */ (setTimeout(flush, Math.max(0, told + INTERVAL - Date.now()))));
  return {
    say(text) {
      if (!news.includes(text)) news.push(text);
      soon();
    },
    event(text) {
      events += 1;
      newest = text;
      soon();
    },
  };
}

/** Returns what makes server-sent events of pieces of text. */
export function reader() {
  const none = { name: '', data: '', id: /** @type {string | null} */ (null) };
  let rest = '';
  let event = { ...none };
  return (piece) => {
    const found = [];
    const lines = (rest + piece).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line) ?? [];
      if (line === '') {
        if (event.data) found.push({ ...event, data: event.data.slice(1) });
        event = { ...none };
      } else if (field === 'event') event.name = value;
      else if (field === 'data') event.data += `\n${value}`;
      else if (field === 'id') event.id = value;
    }
    return found;
  };
}

export const pause = (attempt, random) => Math.min(5000, 250 * 2 ** attempt) * (1 - random / 2);

/** Follows the stream; by fetch, for an EventSource cannot show a token. */
export function follow({ token, early, dispatch, live, silence, gap, revoked }) {
  let stopped = false;
  let attempt = 0;
  let heard = Date.now();
  let last = null;
  let watched = null;
  let rewatched = false;
  let hurry = () => {};
  let request = new AbortController();
  const enter = (phase) => dispatch({ type: 'phase', phase, at: heard });
  const ask = () => fetch(watched === null ? STREAM : `${STREAM}?watch=${watched}`, {
    headers: { ...bearer(token), ...(last && { 'Last-Event-ID': last }) },
    cache: 'no-store',
    signal: request.signal,
  });

  /** Returns the phase after a connection; null: ask again at once. */
  async function once() {
    const first = early;
    early = null;
    const patience = setTimeout(() => request.abort(), SILENCE);
    const aborted = new Promise((_, reject) => (request.signal.onabort = reject));
    const response = await Promise.race([first ?? ask(), aborted]).finally(() => clearTimeout(patience));
    if (response.status === 401) return stop(), revoked(), null;
    // The line is no more, or the event of another gateway.
    if (response.status === 422) return (last = watched = null);
    if (!response.ok || !response.body) return response.status === 503 ? 'full' : 'lost';
    heard = Date.now();
    enter('live');
    attempt = 0;
    live().catch(() => {});
    const text = response.body.pipeThrough(new TextDecoderStream()).getReader();
    const cancel = () => text.cancel().catch(() => {});
    request.signal.onabort = cancel;
    const take = reader();
    for (;;) {
      const watchdog = setTimeout(cancel, silence());
      const { value, done } = await text.read().finally(() => clearTimeout(watchdog));
      if (done) return 'lost';
      heard = Date.now();
      for (const { name, data: json, id } of take(value)) {
        const data = JSON.parse(json);
        last = id ?? last;
        if (name === 'end') {
          cancel();
          if (data.reason === 'revoked') return stop(), revoked(), null;
          return data.reason === 'slow' ? null : 'stopping';
        }
        dispatch({ type: 'stream', name, data, at: heard });
        if (name === 'gap') gap(data);
      }
    }
  }

  async function run() {
    while (!stopped) {
      request = new AbortController();
      rewatched = false;
      const phase = await once().catch(() => 'lost');
      if (stopped || rewatched || phase === null) continue;
      enter(phase);
      await new Promise((resolve) => {
        hurry = () => resolve(null);
        setTimeout(resolve, phase === 'full' ? 5000 : pause(attempt++, Math.random()));
      });
    }
  }

  // The cable is out, in again, or somebody looks again.
  const gone = new AbortController();
  addEventListener('offline', () => request.abort(), gone);
  addEventListener('online', () => hurry(), gone);
  document.addEventListener('visibilitychange', () => hurry(), gone);
  run();

  function stop() {
    stopped = true;
    gone.abort();
    request.abort();
    hurry();
  }

  return {
    stop,
    watch(line) {
      if (line === watched) return;
      watched = line;
      rewatched = true;
      request.abort();
    },
  };
}
