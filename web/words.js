// Texts of the page's language, numbers and times.

import { language } from './start.js';

let texts = {};
const plurals = new Intl.PluralRules(language);

/** Sets the texts of the page. */
export const speak = (all) => (texts = all);

/** Returns the text of a name like `home.ok`; undefined where there is none. @returns {any} */
export const lookUp = (name) =>
  name.split('.').reduce((within, part) => (Object.hasOwn(within ?? {}, part) ? within[part] : undefined), texts);

/** Returns a text with its values as a list, so that they may be elements; `n` chooses the plural. @returns {any[]} */
export function parts(name, values = /** @type {any} */ ({})) {
  let text = lookUp(name) ?? name;
  if (typeof text === 'object') text = text[plurals.select(values.n)] ?? text.other ?? text.many;
  return text.split(/\{(\w+)\}/).map((part, place) => (place % 2 ? values[part] ?? '' : part));
}

/** Returns a text with its values. */
export const t = (name, values = {}) => parts(name, values).join('');

/** Returns what a word of the gateway means, the word itself where that is not known. */
export const meaning = (place, word) => lookUp(`${place}.${word}`) ?? String(word ?? '');

export const number = (value, digits = 0) =>
  value.toLocaleString(language, { minimumFractionDigits: digits, maximumFractionDigits: digits || 2 });

/** How times are shown at the moment: set before each drawing. */
export const moment = { utc: false, now: 0 };

/** Returns a time as people write it: without the day where that is today. */
export function when(time) {
  const timeZone = moment.utc ? 'UTC' : undefined;
  const show = (at, day) => new Date(at).toLocaleString(language, {
    ...(day && { day: 'numeric', month: 'short', year: 'numeric' }),
    ...(day !== 2 && { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' }),
    timeZone,
  });
  return show(time, show(time, 2) === show(moment.now, 2) ? 0 : 1) + (timeZone ? ' UTC' : '');
}
