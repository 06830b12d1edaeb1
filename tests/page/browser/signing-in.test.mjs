// Tokens: right, wrong, too many of them, revoked, read-only.

import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';

import { Browser, goTo, signIn } from './browser.mjs';
import { Building } from './building.mjs';

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

test('the form is found by role and name, and says at its field what is wrong', async () => {
  const page = await browser.tab(building);
  const field = page.getByRole('textbox', { name: 'Token', exact: true });
  const button = page.getByRole('button', { name: 'Sign in', exact: true });
  await field.waitFor();
  assert.equal(await field.getAttribute('type'), 'text');
  await button.click();
  await page.getByText('Enter the token').first().waitFor();
  await signIn(page, 'two words');
  await page.locator('#token-error', { hasText: 'no spaces' }).waitFor();
  await signIn(page, 'x'.repeat(43));
  await page.locator('#token-error', { hasText: 'does not know this token' }).waitFor();
  assert.equal(await field.getAttribute('aria-invalid'), 'true');
  assert.match((await field.getAttribute('aria-describedby')) ?? '', /token-error/);
  assert.equal(await page.evaluate(() => document.activeElement?.id), 'token');
});

test('picture and name wait for nothing but the style sheet, the form for the script that says who is signed in', async () => {
  const page = await browser.tab(building);
  await page.getByRole('button', { name: 'Sign in' }).waitFor();
  // What the first visit fetches ahead is not the second one's.
  await page.waitForLoadState('networkidle');
  const asked = /** @type {string[]} */ ([]);
  page.on('request', (request) => asked.push(new URL(request.url()).pathname.replace(/^.assets.[0-9a-f]+./, '')));
  await page.route(/start\.js$/, (route) => route.abort());
  await page.reload();
  await page.getByRole('heading', { level: 1, name: 'Intercom gateway' }).waitFor();
  assert.equal(await page.locator('main svg').isVisible(), true);
  assert.equal(await page.getByRole('textbox').or(page.getByRole('button')).count(), 0);
  assert.deepEqual(asked.sort(), ['/', 'start.js', 'style.css']);
});

test('a good token opens the page; it is kept for the tab, and in no cookie and no address', async () => {
  const page = await browser.signedIn(building);
  await page.getByRole('heading', { level: 1, name: 'building-7' }).waitFor();
  await page.addInitScript(() => {
    const look = () => {
      const field = document.querySelector('#token');
      if (field && field.getClientRects().length > 0) /** @type {any} */ (globalThis).formWasShown = true;
      requestAnimationFrame(look);
    };
    look();
  });
  await page.reload();
  await page.getByRole('article', { name: 'entrance-1' }).waitFor();
  assert.equal(await page.evaluate(() => /** @type {any} */ (globalThis).formWasShown), undefined, 'not for a moment');
  assert.deepEqual(await page.context().cookies(), []);
  assert.equal(await page.evaluate(() => localStorage.length), 0);
  assert.ok(!page.url().includes(building.token));
  const other = await page.context().newPage();
  await other.goto(building.url);
  await other.getByRole('button', { name: 'Sign in' }).waitFor();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByText('You have signed out.').first().waitFor();
  await page.reload();
  await page.getByRole('button', { name: 'Sign in' }).waitFor();
});

test('the address of the QR code shows what the certificate should be, and signs in like any other', async () => {
  const page = await browser.tab(building);
  const certificate = page.locator('#certificate');
  await page.getByRole('button', { name: 'Sign in' }).waitFor();
  assert.equal(await certificate.isVisible(), false);
  // What is no fingerprint is not shown, markup least of all.
  for (const wrong of ['', '12', `${'ab'.repeat(31)}zz`, 'ab'.repeat(33), '%3Cb%3E', `${'ab'.repeat(32)}/x`]) {
    await page.goto(`${building.url}/#sha256=${wrong}`);
    await page.reload();
    await page.getByRole('button', { name: 'Sign in' }).waitFor();
    await page.waitForFunction(() => document.forms[0].onsubmit);
    assert.equal(await certificate.isVisible(), false, wrong);
  }
  await page.goto(`${building.url}/#sha256=${'ab01'.repeat(16)}`);
  await certificate.getByText(Array(16).fill('AB:01').join(':')).waitFor();
  await certificate.getByText('Compare').waitFor();
  await signIn(page, building.token);
  await page.getByRole('heading', { level: 2, name: 'Home' }).waitFor();
  await goTo(page, 'Lines');
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByText('You have signed out.').first().waitFor();
});

test('a read-only token may look and measure; the rest is greyed out with the reason', async () => {
  const page = await browser.signedIn(building, { token: building.addToken('viewer', '--read-only') });
  const card = page.getByRole('article', { name: 'entrance-1' });
  await card.getByText('read-only').first().waitFor();
  for (const name of ['Open door', 'Identify']) {
    const button = card.getByRole('button', { name, exact: true });
    assert.equal(await button.getAttribute('aria-disabled'), 'true');
    await button.click({ force: true });
  }
  assert.equal(await page.getByRole('dialog').count(), 0);
  await goTo(page, 'Lines');
  await page.getByRole('button', { name: /^Flat 2:/ }).click();
  await page.getByRole('button', { name: 'Measure' }).click();
  await page.getByText(/Flat 2: .* V, On hook/).first().waitFor();
});

test('a token that is revoked leads to the sign-in, with the reason', async () => {
  const page = await browser.signedIn(building, { token: building.addToken('passing') });
  building.run('token', 'revoke', 'passing');
  await page.locator('#reason', { hasText: 'was revoked' }).waitFor();
  assert.equal(await page.getByRole('article').count(), 0);
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
  await signIn(page, building.token);
  await page.getByRole('article').first().waitFor();
});

test('wrong tokens are slowed, and the page says for how long; a good one always passes', async () => {
  const page = await browser.tab(building);
  for (let attempt = 0; attempt < 12; attempt += 1) {
    await signIn(page, `wrong-${attempt}`.padEnd(43, 'x'));
    await page.waitForFunction(() => document.querySelector('#token-error')?.textContent);
    if (/Too many/.test((await page.locator('#token-error').textContent()) ?? '')) break;
  }
  await page.locator('#token-error', { hasText: /Try again in \d+ s/ }).waitFor();
  await signIn(page, building.token);
  await page.getByRole('article').first().waitFor();
});
