// From the sign-in form, which stands in the HTML itself, to the page, and back.

import { ask, why } from './api.js';
import { early, preload, session, showPage, texts } from './start.js';
import { speak, t } from './words.js';

speak((await texts).default);

const element = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
const form = /** @type {HTMLFormElement} */ (document.forms[0]);
const input = /** @type {HTMLInputElement} */ (element('token'));
/** @type {import('./live.js').Page | null} */
let page = null;
let redraw = () => {};
let countdown = 0;

for (const part of form.querySelectorAll('[data-text]')) part.textContent = t(part.getAttribute('data-text') ?? '');
document.title = t('signIn.title');
if (session.token() !== null) enter(session.token(), early);
else setTimeout(preload);

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
    await enter(token, null);
  } catch (error) {
    if (error.status === 429) slowed(Date.now() + 1000 * (error.retryAfter || 6));
    else complain(error.status === 401 ? t('signIn.wrong') : why(error));
  }
};

/** Says at the field what is wrong with it; an empty text: nothing. @param {string} text */
function complain(text) {
  clearTimeout(countdown);
  countdown = 0;
  show('token-error', text);
  input.setAttribute('aria-invalid', String(text !== ''));
}

/** Says for how long wrong tokens are held up, second by second, and to screen readers once. @param {number} end */
function slowed(end) {
  const seconds = Math.ceil((end - Date.now()) / 1000);
  if (seconds <= 0) return complain('');
  const text = t('signIn.slowed', { seconds });
  if (countdown) element('token-error').textContent = text;
  else complain(text);
  countdown = setTimeout(slowed, 1000, end);
}

function show(id, text) {
  element(id).textContent = text;
  element(id).hidden = text === '';
  if (text === '') return;
  element('status').textContent = text;
  input.focus();
}

async function enter(token, answer) {
  const [{ App }, { open }, { html, render }] = await Promise.all([import('./app.js'), import('./live.js'), import('./parts.js')]);
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
    render(page && html`<${App} page=${page} />`, element('app'));
  }
  redraw = draw;
  draw();
  showPage(true);
}

/** @param {'revoked' | 'out'} reason */
function leave(reason) {
  page?.close();
  page = null;
  redraw();
  session.forget();
  showPage(false);
  document.title = t('signIn.title');
  show('reason', t(`signIn.${reason}`));
}
