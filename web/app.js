// The frame of every view: whose page it is, whether it is live, the newest event, the way to the other views.

import { Newest } from './event.js';
import { Home } from './home.js';
import { html, Outside, Quiet, Say, Since, useEffect, useRef, useState } from './parts.js';
import { moment, t, when } from './words.js';

/** The views, with the paths of their icons. */
const ICONS = {
  home: 'M4 11 12 4l8 7v9h-5v-6H9v6H4z',
  lines: 'M4 4h6v6H4zM14 4h6v6h-6zM4 14h6v6H4zM14 14h6v6h-6z',
  events: 'M4 6h16M4 12h16M4 18h10',
  flats: 'M6 20V4h12v16M3 20h18M10 8h4M10 12h4M11 20v-4h2v4',
  commissioning: 'M4 6l2 2 3-4M4 13l2 2 3-4M4 20l2 2 3-4M12 6h8M12 13h8M12 20h8',
};
/** Views come once the first one is there, all of them: a gateway that is updated no longer has those of this page. */
const views = { home: Home };

const current = () => {
  const name = location.hash.slice(2);
  return name in ICONS ? name : 'home';
};

/** @param {{page: import('./live.js').Page}} props */
export function App({ page }) {
  const { state } = page;
  const [view, setView] = useState(current());
  const [, draw] = useState({});
  const heading = useRef(/** @type {any} */ (null));
  const isThere = state.health !== null;
  moment.utc = state.utc;
  moment.now = Date.now();
  const toggle = () => page.dispatch({ type: 'utc' });

  useEffect(() => {
    const turn = () => {
      setView(current());
      scrollTo(0, 0);
      heading.current.focus({ preventScroll: true });
    };
    const touch = (event) => {
      if (!event.target.closest('time')) return;
      event.preventDefault(); // Of the details that it may stand in.
      toggle();
    };
    const timer = setInterval(() => draw({}), 1000);
    addEventListener('hashchange', turn);
    addEventListener('click', touch);
    return () => {
      clearInterval(timer);
      removeEventListener('hashchange', turn);
      removeEventListener('click', touch);
    };
  }, []);
  useEffect(() => {
    const names = isThere ? Object.keys(ICONS) : [view];
    for (const name of names) {
      if (!views[name]) import(`./views/${name}.js`).then((module) => ((views[name] = module.View), draw({})), () => {});
    }
  }, [isThere, view]);

  const name = state.self?.gateway ?? t('signIn.title');
  const View = views[view];
  useEffect(() => {
    document.title = `${t(`nav.${view}`)} · ${name}`;
  });

  return html`
    <header>
      <div>
        <h1><${Outside}>${name}<//></h1>
        ${/live|connecting/.test(state.phase) && html`<span class="phase ${state.phase}">${t(`phases.${state.phase}`)}</span>`}
        <button type="button" aria-pressed=${state.utc} onClick=${toggle}>
          ${state.offset !== null && when(moment.now + state.offset)}<span class="unseen"> ${t('showUtc')}</span></button>
      </div>
      ${!/live|connecting/.test(state.phase) && html`<p class="lost"><${Since} name=${`phases.${state.phase}`} at=${state.heard} /></p>`}
      <section aria-label=${t('newest')}>${state.events[0]
        ? html`<${Newest} event=${state.events[0]} />` : html`<${Quiet}>${t('nothingYet')}<//>`}</section>
    </header>
    <nav aria-label=${t('views')}><ul>
      ${Object.entries(ICONS).map(([name, icon]) => html`<li key=${name}>
        <a href=${`#/${name}`} aria-current=${name === view ? 'page' : null}>
          <svg viewBox="0 0 24 24" aria-hidden="true"><path d=${icon} /></svg>${t(`nav.${name}`)}</a></li>`)}
    </ul></nav>
    <main>
      <h2 tabindex="-1" ref=${heading}>${t(`nav.${view}`)}</h2>
      ${View ? html`<${View} page=${page} />` : html`<${Quiet}>${t('wait')}<//>`}
    </main>
    <footer>
      ${state.self && html`<${Quiet}><${Say} name="token" token=${html`<${Outside}>${state.self.token.name}<//>`} />
        ${state.self.token.read_only && ` (${t('readOnly')})`} · ${t('version', { version: state.self.version })}<//>`}
      <button type="button" onClick=${() => page.leave('out')}>${t('signOut')}</button>
    </footer>`;
}
