// From the sign-in form, which stands in the HTML itself, to the page, and back.

import { ask, why } from './api.js';
import { App } from './app.js';
import { open } from './live.js';
import { html, render } from './parts.js';
import { early, session, showPage, texts } from './start.js';
import { speak, t } from './words.js';

speak((await texts).default);

const element = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
const form = /** @type {HTMLFormElement} */ (document.forms[0]);
const input = /** @type {HTMLInputElement} */ (element('token'));
/** @type {import('./live.js').Page | null} */
let page = null;
let countdown = 0;

for (const part of form.querySelectorAll('[data-text]')) part.textContent = t(part.getAttribute('data-text') ?? '');
document.title = t('signIn.title');
if (session.token() !== null) enter(session.token(), early);

form.onsubmit = async (submit) => {
  submit.preventDefault();
  const token = input.value.trim();
  if (token === '') return complain(t('signIn.empty'));
  if (!/^[\w.~+/=-]+$/.test(token)) return complain(t('signIn.malformed'));
  complain('');
  try {
    await ask('/api/local/v1/self', { token });
    input.value = '';
    element('reason').hidden = true;
    session.keep(token);
    enter(token, null);
  } catch (error) {
    if (error.status === 429) slowed(Date.now() + 1000 * (error.retryAfter || 6));
    else complain(error.status === 401 ? t('signIn.wrong') : why(error));
  }
};

/** Says at the field what is wrong with it; an empty text: nothing. @param {string} text */
function complain(text) {
  clearTimeout(countdown);
  show('token-error', text);
  input.setAttribute('aria-invalid', String(text !== ''));
}

/** Says for how long wrong tokens are held up, second by second. @param {number} end */
function slowed(end) {
  const seconds = Math.ceil((end - Date.now()) / 1000);
  complain(seconds > 0 ? t('signIn.slowed', { seconds }) : '');
  if (seconds > 0) countdown = setTimeout(slowed, 1000, end);
}

function show(id, text) {
  element(id).textContent = text;
  element(id).hidden = text === '';
  if (text === '') return;
  element('status').textContent = text;
  input.focus();
}

function enter(token, answer) {
  let isDue = false;
  page = open({ token, early: answer, leave, changed });
  // However much changes at once, it is drawn once; a tab that nobody sees draws once a second.
  function changed() {
    if (isDue) return;
    isDue = true;
    if (document.visibilityState === 'visible') requestAnimationFrame(draw);
    else setTimeout(draw, 1000);
  }
  function draw() {
    isDue = false;
    if (page) render(html`<${App} page=${page} />`, element('app'));
  }
  draw();
  showPage(true);
}

/** @param {'revoked' | 'out'} reason */
function leave(reason) {
  page?.close();
  page = null;
  session.forget();
  render(null, element('app'));
  showPage(false);
  document.title = t('signIn.title');
  show('reason', t(`signIn.${reason}`));
}
