// Talks with people, in their language, and with the gateway.

/** The API token: kept for this tab alone, never in a cookie or an address. */
export const session = {
  token: () => sessionStorage.getItem('token'),
  keep: (token) => sessionStorage.setItem('token', token),
  forget: () => sessionStorage.removeItem('token'),
};
export const bearer = (token) => ({ Authorization: `Bearer ${token}` });

const { language } = start;
const plurals = new Intl.PluralRules(language);
/** @type {Map<string, string>} */
const texts = new Map();

/** Takes the texts of one language: a name like `home.clock` is on two lines. */
export function speak(lines, { language } = start) {
  texts.clear();
  const path = [];
  for (const [, indent, name, en, ru] of lines.matchAll(/^( *)(\w+) ?(.*)(?:\n= (.*))?$/gm)) {
    path.splice(indent.length / 2, path.length, name);
    const text = language === 'ru' ? ru : en;
    if (text) texts.set(path.join('.'), text);
  }
  return texts;
}

/** @returns {any} */
export const lookUp = (name) => texts.get(name);

/** Returns a text with its values, which may be elements; `n` chooses the plural. Without a text it is the word. @returns {any[]} */
export function parts(name, values = /** @type {any} */ ({})) {
  const text = texts.get(name) || texts.get(`${name}.${plurals.select(values.n)}`) || texts.get(`${name}.many`) || name.split('.').at(-1);
  return text.split(/\{(\w+)\}/).map((part, place) => (place % 2 ? values[part] ?? '' : part));
}

export const t = (name, values = {}) => parts(name, values).join('');

/** Returns what a word of the gateway means, where that is known. */
export const meaning = (place, word) => lookUp(`${place}.${word}`) ?? String(word ?? '');

/** Making one takes long. @type {Record<string, any>} */
const kept = {};

export const number = (value, digits = 0) => (kept[digits] ??=
  new Intl.NumberFormat(language, { minimumFractionDigits: digits, maximumFractionDigits: digits || 2 })).format(value);

/** How times are shown; with another `mark` all of them are other ones. */
export const moment = { utc: false, now: 0, mark: '' };

const formats = {
  day: { day: 'numeric', month: 'short', year: 'numeric' },
  time: { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' },
  stamp: { dateStyle: 'short', timeStyle: 'long' },
};
/** A stamp is written as in Sweden: 2026-11-23 22:00:01 UTC. */
const format = (at, name, timeZone = moment.utc ? 'UTC' : undefined) => (kept[name + timeZone] ??=
  new Intl.DateTimeFormat(name === 'stamp' ? 'sv' : language, { ...formats[name], timeZone })).format(new Date(at));

/** Is set before each drawing. */
export function setMoment(utc, now) {
  Object.assign(moment, { utc, now });
  moment.mark = format(now, 'day') + utc;
}

/** Returns a time as people write it: without the day where that is today. */
export function when(time) {
  const day = format(time, 'day');
  return `${day + moment.utc === moment.mark ? '' : `${day}, `}${format(time, 'time')}${moment.utc ? ' UTC' : ''}`;
}

/** Returns a time for a record, with day and zone. */
export const stamp = (time) => format(time, 'stamp');

/** Whether a date without a zone is over in `timeZone`. */
export const isPast = (date, timeZone, now) => date <= format(now, 'stamp', timeZone);

/** Status 0: no answer at all. */
const failure = (status, body = /** @type {any} */ (null), retryAfter = 0) =>
  Object.assign(new Error(body?.message), { status, code: body?.code, retryAfter });

export const refused = { token() {} };

/** Asks the gateway, and returns its answer; with a body, by POST. */
export async function ask(path, body = /** @type {any} */ (null), token = session.token()) {
  const answer = await fetch(path, {
    ...(body && { method: 'POST', body: JSON.stringify(body) }),
    headers: { ...bearer(token), ...(body && { 'Content-Type': 'application/json' }) },
    cache: 'no-store',
  }).catch(() => {
    throw failure(0);
  });
  const json = await answer.json().catch(() => null);
  if (answer.ok) return json;
  if (answer.status === 401 && token === session.token()) refused.token();
  throw failure(answer.status, json, Number(answer.headers.get('Retry-After')));
}

/** Returns why something was refused, in words. @returns {string} */
export function why(error) {
  if (error.status === 0) return t('signIn.unreachable');
  return lookUp(`refusals.${error.code}`) ?? (error.status === 403 ? t('readOnlyReason') : error.message);
}
