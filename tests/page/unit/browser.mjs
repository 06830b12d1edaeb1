// What modules of the page look at as they are loaded, for tests without a browser.

Object.defineProperty(globalThis, 'navigator', { value: { languages: ['en'] }, configurable: true, writable: true });
const nothing = { toggle() {} };
globalThis.document ??= /** @type {any} */ ({ documentElement: { classList: nothing, lang: '' } });
globalThis.sessionStorage ??= /** @type {any} */ ({ getItem: () => null, setItem() {}, removeItem() {} });

const web = new URL('../../../web/', import.meta.url);

/** Loads a module of the page. @param {string} path */
export const load = (path) => import(new URL(path, web).href);
export { web };
