// From the sign-in form to the page, and back.

import { ask, lookUp, session, speak, t, why } from './talk.js';
import texts from './texts.js';

speak(texts);

const element = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
const form = /** @type {HTMLFormElement} */ (document.forms[0]);
const input = /** @type {HTMLInputElement} */ (element('token'));
/** @type {Page | null} */
let page = null;
let redraw = () => {};
let countdown = 0;

// In English it stands there; a press before now would be lost.
for (const part of form.querySelectorAll('[data-text]')) {
  part.textContent = lookUp(part.getAttribute('data-text')) ?? part.textContent;
  part.removeAttribute('disabled');
}
document.title = t('title');
certificate();
addEventListener('hashchange', certificate);
if (session.token() !== null) enter(session.token(), start.stream);
else setTimeout(start.preload);

form.onsubmit = async (submit) => {
  submit.preventDefault();
  const token = input.value.trim();
  if (token === '') return complain(t('signIn.empty'));
  if (!/^[\w.~+/=-]{1,99}$/.test(token)) return complain(t('signIn.malformed'));
  complain('');
  try {
    await ask('/api/local/v1/self', null, token);
    input.value = '';
    element('reason').textContent = element('status').textContent = '';
    session.keep(token);
    await enter(token, null);
  } catch (error) {
    if (error.status === 429) slowed(Date.now() + 1000 * (error.retryAfter || 6));
    else complain(error.status === 401 ? t('signIn.wrong') : why(error));
  }
};

/** Says at the field what is wrong. @param {string} text */
function complain(text) {
  clearTimeout(countdown);
  countdown = 0;
  say('token-error', text);
  input.setAttribute('aria-invalid', String(text !== ''));
}

/** Shows the fingerprint that the address has where it comes from the code of `token add --qr`. */
function certificate() {
  const [, print] = /^#sha256=([0-9a-f]{64})$/i.exec(location.hash) ?? [];
  element('certificate').textContent = print ? t('signIn.certificate', { print: print.toUpperCase().match(/../g)?.join(':') }) : '';
}

/** Counts the seconds down; a screen reader hears of it once. @param {number} end */
function slowed(end) {
  const seconds = Math.ceil((end - Date.now()) / 1000);
  if (seconds <= 0) return complain('');
  const text = t('signIn.slowed', { seconds });
  if (countdown) element('token-error').textContent = text;
  else complain(text);
  countdown = setTimeout(slowed, 1000, end);
}

function say(id, text) {
  element(id).textContent = text;
  if (text === '') return;
  element('status').textContent = text;
  input.focus();
}

const show = (isSignedIn) => (document.documentElement.className = isSignedIn ? 'signed-in' : 'signed-out');

async function enter(token, early) {
  const [{ App, html, render }, { open }] = await Promise.all([import('./app.js'), import('./live.js')]);
  let isDue = false;
  page = open({ token, early, leave, changed });
  // Drawn once a frame; where nobody looks, once a second.
  function changed() {
    if (isDue) return;
    isDue = true;
    if (document.visibilityState === 'visible') requestAnimationFrame(redraw);
    else setTimeout(redraw, 1000);
  }
  redraw = () => {
    isDue = false;
    render(page && html`<${App} page=${page} />`, element('app'));
  };
  redraw();
  show(true);
}

/** @param {'revoked' | 'out'} reason */
function leave(reason) {
  page?.close();
  page = null;
  redraw();
  session.forget();
  show(false);
  document.title = t('title');
  say('reason', t(`signIn.${reason}`));
}
