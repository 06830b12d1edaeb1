// How quick the page is, medians of some runs: its first paint on a slow processor, its first card on a slow line, a swipe.

import { Browser } from './browser/browser.mjs';
import { Building, until } from './browser/building.mjs';

const RUNS = 7;
/** A paint differs from run to run as nothing else here does. */
const PAINTS = 21;
const median = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
const say = (what, values, limit) => {
  const found = Math.round(median(values));
  console.log(`${what}: ${found} ms (at most ${limit})${found > limit ? ' TOO MUCH' : ''}; ${values.map(Math.round).join(', ')}`);
  if (found > limit) process.exitCode = 1;
};

const building = await Building.start();
const browser = await Browser.start();
try {
  await building.panelIs('entrance-1', 'online');

  const paints = [];
  const forms = [];
  for (let run = 0; run < PAINTS; run += 1) {
    const page = await browser.tab(building);
    // At rest: what a page that is left still does would be counted with the one that comes.
    await page.waitForFunction(() => document.forms[0].onsubmit);
    await page.waitForLoadState('networkidle');
    const devtools = await page.context().newCDPSession(page);
    await devtools.send('Emulation.setCPUThrottlingRate', { rate: 4 });
    await page.goto(building.url, { waitUntil: 'load' });
    paints.push(await page.evaluate(() => new Promise((resolve) => {
      new PerformanceObserver((list) => list.getEntriesByName('first-contentful-paint').forEach((entry) => resolve(entry.startTime)))
        .observe({ type: 'paint', buffered: true });
    })));
    forms.push(await page.evaluate(() => new Promise((resolve) => {
      new PerformanceObserver((list) => resolve(list.getEntries().at(-1)?.startTime))
        .observe({ type: 'largest-contentful-paint', buffered: true });
    })));
    await page.context().close();
  }
  say('first contentful paint, processor slowed 4 times', paints, 300);
  say('the form, its largest contentful paint, likewise', forms, 300);

  const cards = [];
  for (let run = 0; run < RUNS; run += 1) {
    const page = await browser.tab(building);
    await page.evaluate((token) => sessionStorage.setItem('token', token), building.token);
    const devtools = await page.context().newCDPSession(page);
    await devtools.send('Network.enable');
    await devtools.send('Network.setCacheDisabled', { cacheDisabled: true });
    const bytes = 400_000 / 8;
    await devtools.send('Network.emulateNetworkConditions', { offline: false, latency: 400, downloadThroughput: bytes, uploadThroughput: bytes });
    await page.addInitScript(() => {
      new MutationObserver(() => {
        const shown = document.querySelector('article .head b');
        if (shown) /** @type {any} */ (globalThis).firstCard ??= performance.now();
      }).observe(document, { subtree: true, childList: true });
    });
    await page.goto(building.url, { waitUntil: 'commit' });
    cards.push(await until('the first card', () => page.evaluate(() => /** @type {any} */ (globalThis).firstCard)));
    await page.context().close();
  }
  say('first card that shows its state, 400 ms and 400 kbit/s', cards, 3000);

  const page = await browser.signedIn(building);
  await page.evaluate(() => {
    const seen = /** @type {any} */ (globalThis);
    seen.swipes = {};
    new MutationObserver(() => {
      for (const time of document.querySelectorAll('header time')) seen.swipes[/** @type {any} */ (time).dateTime] ??= Date.now();
    }).observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true });
  });
  const swipes = [];
  for (let run = 0; run < 3 * RUNS; run += 1) {
    const card = (0x55000000 + run).toString(16);
    building.happen(`card entrance-1 ${card} 32 0`);
    const at = await until('its event', async () => (await building.ask('/api/local/v1/events?limit=5')).data
      .find(({ data }) => data.raw === card.toUpperCase())?.time);
    const seen = await until('it on the page', () => page.evaluate((at) => /** @type {any} */ (globalThis).swipes[at], new Date(at).toISOString()));
    swipes.push(seen - Date.parse(at));
  }
  say('a swipe on the page after its event', swipes, 150);
} finally {
  await browser.stop();
  await building.stop();
}
