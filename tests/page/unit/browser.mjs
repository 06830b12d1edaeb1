// What modules of the page look at as they are loaded, for tests without a browser.

globalThis.start = { language: 'en' };
globalThis.sessionStorage ??= /** @type {any} */ ({ getItem: () => null, setItem() {}, removeItem() {} });

const web = new URL('../../../web/', import.meta.url);

/** Loads a module of the page. @param {string} path */
export const load = (path) => import(new URL(path, web).href);
export { web };
