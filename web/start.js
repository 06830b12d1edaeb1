// Runs before anything is painted: decides between the sign-in form and the page, fetches the texts, and where somebody
// has signed in opens the stream while the rest is on its way.

/** The API token: kept for this tab alone, never in a cookie or an address. */
export const session = {
  token: () => sessionStorage.getItem('token'),
  keep: (token) => sessionStorage.setItem('token', token),
  forget: () => sessionStorage.removeItem('token'),
};

export const showPage = (signedIn) => document.documentElement.classList.toggle('signed-in', signedIn);

export const language = navigator.languages.map((tag) => tag.slice(0, 2)).find((tag) => tag === 'en' || tag === 'ru') ?? 'en';
document.documentElement.lang = language;

export const texts = language === 'ru' ? import('./texts/ru.js') : import('./texts/en.js');

/** @returns {Record<string, string>} */
export const bearer = (token = session.token()) => ({ Authorization: `Bearer ${token}` });

export const STREAM = '/api/local/v1/stream';

/** Modules that the page needs and the sign-in form does not. */
const PAGE = 'app live state stream home event parts vendor/preact vendor/hooks vendor/htm';

/** Has them fetched all at once, and not one after the other as they name each other. */
export function preload() {
  for (const name of PAGE.split(' ')) {
    const href = new URL(`${name}.js`, import.meta.url).href;
    document.head.append(Object.assign(document.createElement('link'), { rel: 'modulepreload', href }));
  }
}

const isSignedIn = session.token() !== null;
showPage(isSignedIn);
if (isSignedIn) preload();
/** What the stream answers to somebody who has signed in before in this tab. */
export const early = isSignedIn ? fetch(STREAM, { headers: bearer(), cache: 'no-store' }) : null;
early?.catch(() => {}); // Looked at by the one that takes it.
