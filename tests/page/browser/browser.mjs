// Chromium, and pages that fail their test where they ask another host for anything, or complain.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { join } from 'node:path';

import { PATIENCE } from './building.mjs';

/** Where `tests/page/run` has put the packages of web/vendor/npm.lock. */
export const packages = createRequire(join(process.env.PAGE_PACKAGES ?? 'target/page', 'node_modules/x.js'));
/** @type {typeof import('playwright-core')} */
const { chromium } = packages('playwright-core');

const ARGUMENTS = [
  '--no-sandbox', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--disable-quic',
  '--no-first-run',
];

export class Browser {
  static async start() {
    const browser = new Browser();
    const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
    browser.browser = await chromium.launch({ executablePath, args: ARGUMENTS });
    return browser;
  }

  /** @type {import('playwright-core').Browser} */
  browser = /** @type {any} */ (null);
  /** What a page did that it must not. @type {string[]} */
  faults = [];

  /** Opens a tab of a new visitor. @param {import('./building.mjs').Building} building
   * @param {import('playwright-core').BrowserContextOptions} [options] */
  async tab(building, options = {}) {
    const context = await this.browser.newContext({ ignoreHTTPSErrors: true, locale: 'en-GB', ...options });
    context.setDefaultTimeout(PATIENCE);
    const page = await context.newPage();
    page.on('request', (request) => {
      const { protocol, host } = new URL(request.url());
      const isOurs = host === new URL(building.url).host || protocol === 'data:' || protocol === 'blob:';
      if (!isOurs) this.faults.push(`asked ${request.url()}`);
    });
    page.on('pageerror', (error) => this.faults.push(`error: ${error.stack ?? error}`));
    page.on('console', (message) => {
      // That a request has failed is told of by Chromium itself, and tests have some fail.
      if (message.type() === 'error' && !/^Failed to load resource/.test(message.text())) this.faults.push(`console: ${message.text()}`);
    });
    await page.goto(building.url);
    return page;
  }

  /** Opens a tab and signs in. @param {import('./building.mjs').Building} building
   * @param {import('playwright-core').BrowserContextOptions & {token?: string}} [options] */
  async signedIn(building, { token = building.token, ...options } = {}) {
    const page = await this.tab(building, options);
    await signIn(page, token);
    await page.getByRole('article').first().waitFor();
    return page;
  }

  /** That nothing was done that must not be. */
  isWithoutFault() {
    assert.deepEqual(this.faults.splice(0), []);
  }

  stop = () => this.browser.close();
}

/** @param {import('playwright-core').Page} page @param {string} token */
export async function signIn(page, token) {
  await page.locator('#token').fill(token);
  await page.locator('form button').first().click();
}

/** Goes to a view by its link. @param {import('playwright-core').Page} page @param {string} name */
export async function goTo(page, name) {
  await page.getByRole('navigation').getByRole('link', { name, exact: true }).click();
  await page.getByRole('heading', { level: 2, name, exact: true }).waitFor();
}
