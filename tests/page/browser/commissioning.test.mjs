// From nothing to complete: the list ticks itself as things happen, and what only a person sees is confirmed.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, afterEach, before, test } from 'node:test';

import { Browser, goTo } from './browser.mjs';
import { Building, CARDS, until } from './building.mjs';

/** @type {Building} */
let building;
/** @type {Browser} */
let browser;
before(async () => {
  building = await Building.start({ config: 'commissioning.toml', cloud: true });
  browser = await Browser.start();
});
afterEach(() => browser.isWithoutFault());
after(async () => {
  await browser?.stop();
  await building?.stop();
});

const record = () => building.ask('/api/local/v1/commissioning');
const open = async () => (await record()).items.filter((item) => item.done === null).map((item) => item.id);
/** Goes on doing something until items are done. @param {RegExp} items @param {() => void} act */
const tick = (items, act) => until(`${items} done`, async () => {
  if (!(await open()).some((id) => items.test(id))) return true;
  act();
  await new Promise((resolve) => setTimeout(resolve, 400));
  return false;
});

test('the list is complete in the end, and so is what is handed over', async () => {
  const page = await browser.signedIn(building);
  await goTo(page, 'Commissioning');
  await page.getByText(/\d+ of \d+ done/).waitFor();
  await building.panelIs('entrance-1', 'online');
  await building.panelIs('risers', 'online');
  await tick(/opened$/, () => building.happen(`card entrance-1 ${CARDS.known} 32 0`));
  await tick(/refused$/, () => building.happen(`card entrance-1 ${CARDS.unknown} 32 0`));
  let isOpen = false;
  await tick(/contact$/, () => building.happen(`input entrance-1 ${(isOpen = !isOpen) ? 1 : 0} 0 0 0`));
  await tick(/exit$/, () => building.happen(`input entrance-1 0 ${(isOpen = !isOpen) ? 1 : 0} 0 0`));
  for (const flat of [1, 2]) {
    let isLifted = false;
    await tick(new RegExp(`/${flat}/(on|off)_hook$`), () => building.happen(`line risers ${flat} ${(isLifted = !isLifted) ? 'lifted' : 'hung'}`));
  }
  await building.stopBroker();
  await until('the cloud is away', async () => !(await building.ask('/api/local/v1/outbox')).uplink.connected);
  const swipe = () => building.happen(`card entrance-1 ${CARDS.known} 32 0`);
  const swipes = async () => (await building.ask('/api/local/v1/events')).data.filter(({ data }) => !data.online && data.key).length;
  const before = await swipes();
  swipe();
  await until('somebody comes meanwhile', async () => (await swipes()) > before);
  await building.startBroker();
  await until('the cloud is connected', async () => (await building.ask('/api/local/v1/outbox')).uplink.connected);
  await tick(/^cloud/, swipe);
  // What is left is for people's eyes.
  const buttons = page.getByRole('button', { name: /^Confirm/ });
  await until('only people are asked', async () => {
    const left = (await record()).items.filter((item) => item.done === null);
    return left.every((item) => item.by_hand) && (await buttons.count()) === left.length;
  });
  for (let left = await buttons.count(); left > 0; left -= 1) {
    await buttons.first().click();
    await until('it is confirmed', async () => (await buttons.count()) === left - 1);
  }
  await page.getByText('Complete: all is done.').waitFor();
  await page.getByText('by hand,').first().waitFor();
  await page.getByText(/event \d+/).first().waitFor();

  const saved = page.waitForEvent('download');
  await page.getByRole('button', { name: 'Save as JSON' }).click();
  const handover = JSON.parse(await readFile(await (await saved).path(), 'utf8'));
  assert.equal(handover.gateway, 'building-7');
  assert.equal(handover.complete, true);
  assert.deepEqual(handover.items.filter((item) => item.done === null), []);
});
