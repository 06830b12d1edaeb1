// What the page knows. What this connection has not told again is stale.

/** How many are kept. */
const EVENTS = 2000;
const ROUNDS = 60;
const SAMPLES = 600;
/** A bus tells every 5 s. */
const GONE = 8000;

/** @type {State} */
export const initial = {
  phase: 'connecting', heard: 0, told: 0, utc: false,
  self: null, offset: null, health: null, outbox: null, sync: null, commissioning: null,
  panels: {}, buses: {}, errors: {}, lines: {},
  events: [], journals: [], oldest: null, swipes: {}, gaps: [],
  watched: null, samples: [],
};

/** @type {Reduce} */
export function reduce(state, action) {
  const { type, name, data, at, phase, gap, line } = /** @type {any} */ (action);
  switch (type) {
    case 'phase':
      if (phase === 'live') return { ...state, phase, heard: at, told: state.told + 1 };
      // Failing attempts do not change since when all is stale.
      return { ...state, phase, heard: state.phase === 'live' ? at : state.heard || at };
    case 'stream':
      return fromStream(state, name, data, at);
    case 'self': {
      const { time, ...self } = data;
      const offset = Date.parse(time) - at;
      return merge(state, {
        self,
        // What the network takes is no change.
        offset: Math.abs(offset - (state.offset ?? Infinity)) < 500 ? state.offset : offset,
        buses: Object.fromEntries(Object.entries(state.buses).filter(([, bus]) => at - Math.max(bus.at, state.heard) < GONE)),
      });
    }
    case 'panels':
      return merge(state, { panels: listed(state, data, ({ panel }) => panel) });
    case 'lines':
      return merge(state, { lines: listed(state, data, keyOf) });
    case 'events': {
      const next = withEvents({ ...state, oldest: data.oldest }, data.data);
      return gap ? { ...next, gaps: [...state.gaps, ...missing(gap, data)] } : next;
    }
    case 'watch':
      return { ...state, watched: line, samples: [] };
    case 'utc':
      return { ...state, utc: !state.utc };
    default:
      return merge(state, { [type]: data });
  }
}

/** Keeps what is no other than it was, so that it is not drawn again. */
function merge(state, news) {
  const changed = Object.keys(news).filter((name) => JSON.stringify(news[name]) !== JSON.stringify(state[name]));
  return changed.reduce((all, name) => ({ ...all, [name]: news[name] }), state);
}

export const keyOf = ({ intercom, flat }) => `${intercom}/${flat}`;

/** @param {State} state */
export const isStale = (state, what) => state.phase !== 'live' || what?.told !== state.told;

/** Whether a line's value is stale, or its panel away. @param {State} state */
export const isOld = (state, line) =>
  isStale(state, line) || (state.panels[line.panel] ?? { state: 'online' }).state !== 'online';

/** Returns from when what is old of a panel is. @param {State} state */
export function asOf(state, name) {
  if (state.phase !== 'live') return state.heard;
  const lines = Object.values(state.lines).filter(({ panel }) => panel === name);
  const times = [state.panels[name]?.last_seen, ...lines.map(({ measured_at }) => measured_at)];
  return Math.max(...times.map((time) => Date.parse(time ?? '') || 0));
}

/** Commissioning knows which panels have a lock. @param {State} state @param {string} name */
export const hasLock = ({ commissioning, lines }, name) => commissioning
  ? commissioning.items.some(({ group, panel }) => group === 'lock' && panel === name)
  : !Object.values(lines).some(({ panel }) => panel === name);

/** @param {State} state @returns {State} */
function fromStream(state, name, data, at) {
  const put = (all, key) => ({ ...all, [key]: { ...all[key], ...data, told: state.told, at } });
  switch (name) {
    case 'panel':
      return { ...state, panels: put(state.panels, data.panel) };
    case 'line':
      return { ...state, lines: put(state.lines, keyOf(data)) };
    case 'bus': {
      const errors = { ...state.errors };
      for (const { panel, minute } of data.panels) errors[panel] = [...(errors[panel] ?? []), errorShare(minute)].slice(-ROUNDS);
      return { ...state, errors, buses: put(state.buses, data.bus) };
    }
    case 'health':
      return { ...state, health: { ...data, told: state.told, reasons: sinceWhen(state.health, data) } };
    case 'event':
      return withEvents(state, [data]);
    case 'sample': {
      const { at: measured_at, ...read } = data;
      const key = keyOf(data);
      if (key !== state.watched) return state;
      return {
        ...state,
        lines: { ...state.lines, [key]: { ...state.lines[key], ...read, measured_at } },
        samples: [...state.samples, { at: Date.parse(measured_at), value: data.value }].slice(-SAMPLES),
      };
    }
    default:
      return state;
  }
}

/** @returns {Record<string, any>} */
const listed = ({ told }, rows, name) => Object.fromEntries(rows.map((row) => [name(row), { ...row, told }]));

function sinceWhen(before, { since, reasons }) {
  const name = ({ code, panel, bus }) => [code, panel, bus].join();
  return reasons.map((reason) => ({
    ...reason,
    since: before?.reasons.find((other) => name(other) === name(reason))?.since ?? reason.since ?? since,
  }));
}

/** Returns the share of commands that went wrong; an exchange is a good one. */
export function errorShare({ exchanges, timeouts, broken, wrong }) {
  const errors = timeouts + broken + wrong;
  return errors / (exchanges + errors || 1);
}

/** @param {State} state @param {GatewayEvent[]} more @returns {State} */
function withEvents(state, more) {
  const known = new Set(state.events.map(({ id }) => id));
  const fresh = more.filter(({ id }) => !known.has(id));
  if (fresh.length === 0) return state;
  const journals = [...new Set([...state.journals, ...fresh.map(({ data }) => data.journal)])];
  const newestFirst = (a, b) =>
    journals.indexOf(b.data.journal) - journals.indexOf(a.data.journal) || Number(b.sequence) - Number(a.sequence);
  const swipes = { ...state.swipes };
  for (const event of fresh) {
    const place = event.subject ?? '';
    if (event.data.decision && (!swipes[place] || newestFirst(event, swipes[place]) < 0)) swipes[place] = event;
  }
  return { ...state, journals, swipes, events: [...fresh, ...state.events].sort(newestFirst).slice(0, EVENTS) };
}

function missing(gap, { journal, data }) {
  if (gap.journal !== journal) return [gap];
  const to = Math.min(gap.to, ...data.map(({ sequence }) => Number(sequence) - 1));
  return to < gap.from ? [] : [{ ...gap, to }];
}

/** Returns an event without its moment. */
function likeness({ type, data }) {
  const { boot, uptime_ms, clock, online, revision, value, ...same } = data;
  if (type === 'intercom.line.changed') delete same.raw;
  return type + JSON.stringify(same);
}

/** Returns groups of events that repeat one another. @param {GatewayEvent[]} events newest first */
export function collapse(events) {
  /** @type {Group[]} */
  const groups = [];
  let last = '';
  for (const event of events) {
    const same = likeness(event);
    const group = groups.at(-1);
    if (group && same === last) Object.assign(group, { first: event, times: group.times + 1 });
    else groups.push({ newest: event, first: event, times: 1 });
    last = same;
  }
  return groups;
}

/** Returns the kind of an event. @param {string} type */
export function kindOf(type) {
  const [room, thing] = type.split('.');
  if (room === 'gateway') return room;
  return { key: 'keys', keypad: 'keys', code: 'keys', door: 'doors', line: 'lines' }[thing] ?? 'panels';
}

/** Whether filters let an event through. */
export const passes = ({ type, subject, data }, { panel, kind, decision }) =>
  (!panel || subject === panel) && (!kind || kindOf(type) === kind) && (!decision || data.decision === decision);
