// The stream: server-sent events, read by fetch, for an EventSource cannot show a token.

import { STREAM, bearer } from './start.js';

/** Nothing for so long, not even the comment of every 15 s: the line is dead. */
const SILENCE = 20_000;

/** Returns a function that takes pieces of text and gives the events that are complete. */
export function reader() {
  let rest = '';
  /** @type {{name: string, data: string, id: string | null}} */
  let event = { name: '', data: '', id: null };
  return (piece) => {
    const found = [];
    const lines = (rest + piece).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line) ?? [];
      if (line === '') {
        if (event.data) found.push({ ...event, data: event.data.slice(1) });
        event = { name: '', data: '', id: null };
      } else if (field === 'event') event.name = value;
      else if (field === 'data') event.data += `\n${value}`;
      else if (field === 'id') event.id = value;
    }
    return found;
  };
}

/** Returns how long to wait before the next attempt: from 0.25 s, doubled up to 5 s, less a random part up to a half. */
export const pause = (attempt, random) => Math.min(5000, 250 * 2 ** attempt) * (1 - random / 2);

/** Follows the stream until it is stopped or the token is refused. */
export function follow({ token, early, dispatch, live, gap, revoked }) {
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

  /** Takes what one connection brings. Returns the phase after its end; null: ask again at once. */
  async function once() {
    const first = early;
    early = null;
    const response = await (first ?? ask());
    if (response.status === 401) return stop(), revoked(), null;
    // The line is no more, or the event of another gateway.
    if (response.status === 422) return (last = watched = null);
    if (!response.ok || !response.body) return response.status === 503 ? 'full' : 'lost';
    heard = Date.now();
    enter('live');
    attempt = 0;
    live();
    const text = response.body.pipeThrough(new TextDecoderStream()).getReader();
    const cancel = () => text.cancel().catch(() => {});
    request.signal.onabort = cancel;
    const take = reader();
    for (;;) {
      const watchdog = setTimeout(cancel, SILENCE);
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

  // The cable is out; it is in again; somebody looks at the page again.
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
    /** Has samples of a line come, or of none any more. */
    watch(line) {
      if (line === watched) return;
      watched = line;
      rewatched = true;
      request.abort();
    },
  };
}
