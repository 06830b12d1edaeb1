// The daemon dies and is back: nothing old is shown as new, and nobody has to reload.

import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';

import { Browser } from './browser.mjs';
import { Building, CARDS } from './building.mjs';

/** @type {Building} */
let building;
/** @type {Browser} */
let browser;
before(async () => {
  building = await Building.start();
  browser = await Browser.start();
  await building.panelIs('entrance-1', 'online');
});
afterEach(() => browser.isWithoutFault());
after(async () => {
  await browser?.stop();
  await building?.stop();
});

for (const signal of /** @type {const} */ (['SIGKILL', 'SIGTERM'])) {
  test(`after ${signal} what is old is grey and says since when, and the page comes back by itself`, async () => {
    const page = await browser.signedIn(building);
    const card = page.getByRole('article', { name: 'entrance-1' });
    await page.getByText('Live').waitFor();
    await building.stopDaemon(signal);
    await page.locator('.lost', { hasText: 'What is grey is from' }).waitFor();
    await card.getByText('as of').waitFor();
    assert.ok((await card.locator('.stale').count()) > 0);
    await page.evaluate(() => (/** @type {any} */ (globalThis).sameDocument = true));
    await building.startDaemon();
    await page.getByText('Live').waitFor();
    await building.panelIs('entrance-1', 'online');
    await card.getByText('Online').waitFor();
    await card.locator('.stale').first().waitFor({ state: 'detached' });
    building.happen(`card entrance-1 ${CARDS.known} 32 0`);
    await card.getByText('granted').waitFor();
    assert.equal(await page.evaluate(() => /** @type {any} */ (globalThis).sameDocument), true, 'it was not reloaded');
  });
}
