// Both languages, every view by axe-core in both colour schemes, names that are markup or turn the text, and pictures of
// all of it to look at (target/page/pictures).

import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';

import { Browser, goTo, packages, signIn } from './browser.mjs';
import { Building, CARDS, until } from './building.mjs';

const pictures = join(process.env.PAGE_PACKAGES ?? 'target/page', 'pictures');
const axe = packages.resolve('axe-core/axe.min.js');
const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
const VIEWS = {
  en: ['Home', 'Lines', 'Events', 'Flats', 'Commissioning'],
  ru: ['Главная', 'Линии', 'События', 'Квартиры', 'Приёмка'],
};
const LONG = 10_000;
const NAMES = ['<script>globalThis.hacked = true</script><img src=x onerror=hacked=1>', '\u202Eevil\u2066\u200F', 'x'.repeat(LONG)];

const user = (id, name) => ({
  id, name, login: `${id}@mail.com`, created_at: '2022-11-11 14:45:57', updated_at: '2022-11-11 14:45:57', expired_at: null,
  is_licence_limit_reached: false, ptz_priority: 1, access_token_id: null,
});
const flats = NAMES.map((name, place) => ({
  intercom: 1, id: 900 + place, flat: 900 + place, key_count: 0, users_count: 1, keys: [], users: [user(900 + place, name)],
  properties: { is_analog_line_enable: true, is_sip_line_enable: false, is_can_manage_resistance: false },
}));

/** @type {Building} */
let building;
/** @type {Browser} */
let browser;
before(async () => {
  mkdirSync(pictures, { recursive: true });
  building = await Building.start({ flats });
  browser = await Browser.start();
  for (const name of ['entrance-1', 'garage', 'risers']) await building.panelIs(name, 'online');
  building.happen(`card entrance-1 ${CARDS.known} 32 0`);
  building.happen('line risers 3 lifted');
  building.happen('line risers 5 short');
  building.happen('line risers 7 cut');
  building.happen('gone garage on');
  await building.panelIs('garage', 'offline');
  building.happen(`card entrance-1 ${CARDS.unknown} 32 0`);
});
afterEach(() => browser.isWithoutFault());
after(async () => {
  await browser?.stop();
  await building?.stop();
});

/** @param {import('playwright-core').Page} page @param {string} what */
async function isAccessible(page, what) {
  const { violations } = await page.evaluate((runOnly) =>
    /** @type {any} */ (globalThis).axe.run({ runOnly, resultTypes: ['violations'] }), RULES);
  const told = violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ target }) => target).join(' ')}`);
  assert.deepEqual(told, [], what);
}

const WIDTHS = [[360, 740], [768, 1024], [1280, 900]];

/** Looks at what is shown in every width, in light and dark: by axe, by eye (a picture), and by measure. The widest has the
 * same parts as the one before it, so axe looks at two of them.
 * @param {import('playwright-core').Page} page @param {string} name @param {string} what */
async function isForEverybody(page, name, what) {
  for (const [width, height] of WIDTHS) {
    await page.setViewportSize({ width, height });
    for (const colorScheme of /** @type {const} */ (['light', 'dark'])) {
      await page.emulateMedia({ colorScheme });
      if (width < 1000) await isAccessible(page, `${what}, ${width} px, ${colorScheme}`);
      await page.screenshot({ path: join(pictures, `${name}-${width}-${colorScheme}.png`) });
    }
    const { over, small } = await page.evaluate(() => ({
      over: document.documentElement.scrollWidth - innerWidth,
      small: [...document.querySelectorAll('button, a, select, input:not([type=checkbox]), summary')]
        .filter((element) => element instanceof HTMLElement && element.offsetParent !== null)
        .map((element) => /** @type {const} */ ([element.textContent, element.getBoundingClientRect()]))
        .filter(([, { width, height }]) => width < 48 || height < 48)
        .map(([text]) => text),
    }));
    assert.equal(over, 0, `${what} is wider than ${width} px`);
    assert.deepEqual(small, [], `targets below 48 px in ${what} at ${width} px`);
  }
}

test('axe finds nothing, nothing is wider than the screen, and targets are large: every view, light and dark', async () => {
  const page = await browser.tab(building);
  await page.context().addInitScript({ path: axe });
  await page.reload();
  await page.getByRole('button', { name: 'Sign in' }).waitFor();
  await isForEverybody(page, 'sign-in', 'the sign-in form');
  await signIn(page, building.token);
  await page.getByRole('article').first().waitFor();
  for (const name of VIEWS.en) {
    await goTo(page, name);
    if (name === 'Lines') await page.getByRole('button', { name: /^Flat 12:/ }).waitFor();
    if (name === 'Events') await page.getByText('Key denied').first().waitFor();
    if (name === 'Commissioning') await page.getByText(/of \d+ done/).waitFor();
    if (name === 'Flats') {
      await page.getByRole('searchbox').fill('1');
      await page.getByRole('button', { name: 'Search' }).click();
      await page.locator('summary').first().click();
      await page.getByText('Users').first().waitFor();
    }
    await isForEverybody(page, name.toLowerCase(), name);
    if (name === 'Home') {
      await page.getByRole('button', { name: 'Open door' }).first().click();
      await page.getByRole('dialog').waitFor();
      await isForEverybody(page, 'open-door', 'the question before a door is opened');
      await page.keyboard.press('Escape');
    }
    if (name === 'Lines') {
      await page.getByRole('button', { name: /^Flat 3:/ }).click();
      await page.getByRole('button', { name: 'Watch' }).click();
      await page.locator('canvas').waitFor();
      await isForEverybody(page, 'watch', 'a line that is watched');
      await page.keyboard.press('Escape');
    }
  }
});

test('Russian where the browser asks for it', async () => {
  const page = await browser.tab(building, { locale: 'ru-RU', viewport: { width: 360, height: 740 } });
  await page.getByRole('button', { name: 'Войти' }).waitFor();
  assert.equal(await page.evaluate(() => document.documentElement.lang), 'ru');
  await page.getByRole('textbox', { name: 'Токен' }).fill(building.token);
  await page.getByRole('button', { name: 'Войти' }).click();
  const card = page.getByRole('article', { name: 'entrance-1' });
  await card.getByText('На связи').waitFor();
  await card.getByText('отказано').waitFor();
  await page.getByRole('article', { name: 'garage' }).getByText('Перестала отвечать').waitFor();
  for (const name of VIEWS.ru) {
    await goTo(page, name);
    await page.screenshot({ path: join(pictures, `ru-${VIEWS.en[VIEWS.ru.indexOf(name)].toLowerCase()}.png`), fullPage: true });
    const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.equal(over, 0, `${name} is wider than the screen`);
  }
});

test('a language that is not spoken here is English', async () => {
  const page = await browser.tab(building, { locale: 'de-DE' });
  await page.getByRole('button', { name: 'Sign in' }).waitFor();
});

test('a name is text, whatever is in it', async () => {
  const page = await browser.signedIn(building, { viewport: { width: 360, height: 740 } });
  await goTo(page, 'Flats');
  for (const [place, name] of NAMES.entries()) {
    await page.getByRole('searchbox').fill(`9000${place}`.replace('9000', '90'));
    await page.getByRole('button', { name: 'Search' }).click();
    await page.locator('summary', { hasText: `Flat ${900 + place}` }).click();
    const shown = page.locator('bdi').filter({ hasText: name.slice(0, 40) });
    await until('the name is shown', async () => (await shown.first().textContent()) === name);
  }
  assert.equal(await page.evaluate(() => /** @type {any} */ (globalThis).hacked), undefined);
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth), 0);
});

test('the one status line tells what happened, at most every 2 s', async () => {
  const page = await browser.signedIn(building);
  assert.equal(await page.getByRole('status').count(), 1);
  await page.evaluate(() => {
    const told = /** @type {any} */ (globalThis);
    told.at = [];
    const status = /** @type {Node} */ (document.querySelector('[role=status]'));
    new MutationObserver(() => told.at.push(performance.now())).observe(status, { childList: true, characterData: true, subtree: true });
  });
  const at = () => page.evaluate(() => /** @type {any} */ (globalThis).at.filter((time, place, all) => !(time - all[place - 1] < 5)));
  let number = 0;
  const times = await until('it has told twice', async () => {
    const raw = `1122${(number += 1).toString(16).padStart(4, '0')}`.toUpperCase();
    building.happen(`card entrance-1 ${raw} 32 0`);
    await until('the event', async () => (await building.ask('/api/local/v1/events?limit=4')).data.some((event) => event.data.raw === raw));
    const told = await at();
    return told.length > 1 && told;
  });
  await page.getByRole('status').filter({ hasText: 'Key denied' }).waitFor();
  assert.ok(number > 2, 'more has happened than was told');
  const between = times.slice(1).map((at, place) => at - times[place]);
  assert.ok(between.every((time) => time > 1900), `${between}`);
});

test('the page keeps to its policy, and an old browser is told what it needs', async () => {
  const page = await browser.tab(building);
  const answer = await page.request.get(building.url);
  const policy = answer.headers()['content-security-policy'];
  assert.match(policy, /default-src 'none'/);
  assert.doesNotMatch(policy, /unsafe/);
  const old = await browser.tab(building);
  await old.addInitScript(() => delete (/** @type {any} */ (globalThis).HTMLDialogElement));
  await old.reload();
  await old.getByText('This browser is too old').waitFor();
});
