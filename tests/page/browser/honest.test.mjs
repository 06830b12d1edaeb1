// What is old, late, frozen or too much: the page says so, and shows nothing for what it is not.

import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { after, afterEach, before, test } from 'node:test';

import { Browser, goTo, signIn } from './browser.mjs';
import { Building, CARDS, until } from './building.mjs';

/** @type {Building} */
let building;
/** @type {Browser} */
let browser;
before(async () => {
  building = await Building.start();
  browser = await Browser.start();
  for (const name of ['entrance-1', 'risers']) await building.panelIs(name, 'online');
});
afterEach(() => browser.isWithoutFault());
after(async () => {
  building?.daemon?.kill('SIGCONT');
  await browser?.stop();
  await building?.stop();
});

/** Sets what a line measures, and waits until the gateway knows. @param {number} flat @param {number} value */
async function measures(flat, value) {
  building.happen(`line risers ${flat} ${value * 10}`);
  await until(`flat ${flat} is at ${value}`, async () =>
    (await building.ask('/api/local/v1/lines')).data.find((line) => line.flat === flat).value === value);
}

test('the sheet of a line has the value of now, though its state has not changed', async () => {
  const page = await browser.signedIn(building);
  await goTo(page, 'Lines');
  await page.getByRole('button', { name: 'Flat 4: On hook' }).waitFor();
  await measures(4, 5.5);
  await page.getByRole('button', { name: /^Flat 4:/ }).click();
  const reading = page.getByRole('dialog').locator('.reading');
  await reading.getByText('5.5 V', { exact: true }).waitFor();
  await measures(4, 5.1);
  await reading.getByText('5.1 V', { exact: true }).waitFor();
  assert.equal(await page.locator('.reading.stale').count(), 0);

  await page.route('**/vendor/uplot.js', (route) => route.fulfill({ status: 404 }));
  await page.getByRole('button', { name: 'Watch' }).click();
  await page.getByText('If the gateway was upgraded, load the page again').waitFor();
  await page.getByText('Lift the handset').waitFor();
  building.happen('gone risers on');
  await page.getByText('Lift the handset').waitFor({ state: 'detached' });
  await page.locator('.reading.stale').waitFor();
  building.happen('gone risers off');
  await page.getByText('Lift the handset').waitFor();
});

test('the last swipe of a quiet door is found behind what others do, and where there was none it is told among how many', async () => {
  building.happen(`card entrance-1 ${CARDS.known} 32 0`);
  const swiped = async () => (await building.ask('/api/local/v1/events')).data.some(({ data }) => data.decision === 'granted');
  await until('the key was swiped', swiped);
  building.happen('line risers 9 lifted');
  await until('something else is newer', async () =>
    (await building.ask('/api/local/v1/events?limit=1')).data.every(({ type }) => type === 'intercom.line.changed'));
  const page = await browser.tab(building);
  // So few, as if much had happened since.
  await page.route('**/events?limit=*', (route) => route.continue({ url: route.request().url().replace(/limit=\d+/, 'limit=1') }));
  await page.route('**/api/local/v1/panels', async (route) => {
    const { data } = await (await route.fetch()).json();
    await route.fulfill({ json: { data: data.map((row) => ({ ...row, intercom_name: '<b>Entrance</b>' })) } });
  });
  await signIn(page, building.token);
  const card = page.getByRole('article', { name: 'entrance-1' });
  await card.getByText('granted').waitFor();
  await card.getByText('Intercom 1 · <b>Entrance</b>').waitFor();
  await page.getByRole('article', { name: 'garage' }).getByText(/^none among the last \d+ events$/).waitFor();
});

test('after the sign-in the heading has the focus, and the complaint before it is told no more', async () => {
  const page = await browser.tab(building);
  await signIn(page, 'x'.repeat(120));
  await page.locator('#token-error', { hasText: 'at most' }).waitFor();
  assert.match(await page.getByRole('status').innerText(), /at most/);
  await signIn(page, building.token);
  await page.getByRole('article').first().waitFor();
  await page.waitForFunction(() => document.activeElement?.matches('main h2'));
  assert.doesNotMatch(await page.getByRole('status').innerText(), /at most/);
});

test('the name of a view that there is not is Home, whatever the name', async () => {
  for (const name of ['constructor', '__proto__', 'toString', 'nothing']) {
    const page = await browser.tab(building);
    await page.goto(`${building.url}/#/${name}`);
    await signIn(page, building.token);
    await page.getByRole('heading', { level: 2, name: 'Home' }).waitFor();
    await page.getByRole('article').first().waitFor();
    await page.context().close();
  }
});

test('letters of twice their size cut nothing off', async () => {
  for (const locale of ['en-GB', 'ru-RU']) {
    const page = await browser.signedIn(building, { locale, viewport: { width: 360, height: 740 } });
    for (const [size, view] of /** @type {const} */ ([[130, 'home'], [200, 'home'], [200, 'commissioning'], [200, 'flats']])) {
      await page.evaluate(([size, view]) => {
        document.documentElement.style.fontSize = `${size}%`;
        location.hash = `#/${view}`;
      }, /** @type {const} */ ([size, view]));
      await page.locator(`nav a[href="#/${view}"][aria-current]`).waitFor();
      if (view === 'commissioning') await page.locator('.items').first().waitFor();
      const cut = await page.evaluate(() => [...document.querySelectorAll('#app *')]
        .filter((element) => !element.closest('.scroll, .unseen, header section'))
        .filter((element) => element.getBoundingClientRect().right > innerWidth + 1)
        .map(({ tagName, textContent }) => `${tagName}: ${textContent}`));
      assert.deepEqual(cut, [], `${view}, ${locale}, ${size} %`);
      const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.equal(over, 0, `${view}, ${locale}, ${size} %`);
    }
    await page.context().close();
  }
});

test('the answer to an earlier search is not shown for the later one, and none beside an error', async () => {
  const page = await browser.signedIn(building);
  await goTo(page, 'Flats');
  let answer = () => {};
  const isAsked = new Promise((resolve) => page.route('**/flats?search=1&*', (route) => {
    answer = () => route.continue();
    resolve(null);
  }));
  const search = async (/** @type {string} */ text) => {
    await page.getByRole('searchbox').fill(text);
    await page.getByRole('button', { name: 'Search' }).click();
  };
  await search('1');
  await isAsked;
  await search('nobody is called that');
  await page.getByText('0 flats').first().waitFor();
  const late = page.waitForResponse(/search=1&/);
  answer();
  await (await late).finished();
  await search('test@mail.com');
  await page.locator('summary').first().waitFor();
  await page.unroute('**/flats?search=1&*');
  await page.route('**/flats?search=1&*', (route) => route.abort());
  await search('1');
  await page.locator('#wrong', { hasText: 'cannot be reached' }).waitFor();
  assert.equal(await page.locator('.flats').count(), 0);
});

test('where sixteen watch already the next one is told so, and comes in when there is room', async () => {
  const follow = () => new Promise((resolve, reject) => {
    const headers = { Authorization: `Bearer ${building.token}` };
    const asked = request(`${building.url}/api/local/v1/stream`, { headers, agent: false, rejectUnauthorized: false }, (answer) => {
      answer.on('error', () => {}).resume();
      if (answer.statusCode === 200) resolve(asked);
      else reject(new Error(`${answer.statusCode}`));
    });
    asked.on('error', reject).end();
  });
  const others = [];
  const room = async () => {
    while (others.length < 16) others.push(await follow());
  };
  // Pages of the tests before have gone, and their streams a moment later.
  await Promise.all(browser.browser.contexts().map((context) => context.close()));
  await until('sixteen follow', () => room().then(() => true));
  const page = await browser.tab(building);
  await signIn(page, building.token);
  await page.locator('.lost', { hasText: '16 others watch already' }).waitFor();
  await page.getByRole('heading', { level: 1, name: 'building-7' }).waitFor();
  await page.locator('header button', { hasText: /\d\d:\d\d:\d\d/ }).waitFor();
  const text = await page.locator('#app').innerText();
  for (const wrong of ['grey', 'Nothing has happened', 'One moment']) assert.ok(!text.includes(wrong), text);
  for (const other of others) other.destroy();
  await page.getByRole('article', { name: 'entrance-1' }).waitFor();
});

test('a gateway that is frozen is noticed within 15 s, and followed again when it goes on', async () => {
  const page = await browser.signedIn(building);
  await page.locator('.live').waitFor();
  const begin = Date.now();
  building.daemon?.kill('SIGSTOP');
  await page.locator('.lost').waitFor();
  assert.ok(Date.now() - begin < 15_000, `${Date.now() - begin} ms`);
  await page.getByRole('article', { name: 'entrance-1' }).getByText('as of').waitFor();
  building.daemon?.kill('SIGCONT');
  await page.locator('.live').waitFor();
});

test('a bus that a reload takes is gone, and there again with the next one', async () => {
  const page = await browser.signedIn(building);
  const bus = page.getByRole('heading', { level: 3, name: 'Bus basement' });
  await bus.waitFor();
  const path = building.path('gateway.toml');
  const whole = await readFile(path, 'utf8');
  const tables = whole.split(/\n(?=\[)/);
  await writeFile(path, tables.filter((table) => !table.includes('"basement"')).join('\n'));
  building.run('reload');
  await bus.waitFor({ state: 'detached' });
  await page.getByRole('heading', { level: 3, name: 'Bus street' }).waitFor();
  await page.getByRole('article', { name: 'risers' }).waitFor({ state: 'detached' });
  await writeFile(path, whole);
  building.run('reload');
  await bus.waitFor();
});
