// Runs before anything is painted, in the JavaScript of 2009: says what an old browser lacks, shows the page at once to
// somebody who has signed in, and has what comes next fetched side by side.

var start = (function () {
  var script = /** @type {HTMLScriptElement} */ (document.currentScript || document.scripts[0]);
  var root = document.documentElement;
  if (!('noModule' in script && window.HTMLDialogElement && window.TextDecoderStream && Object.hasOwn)) {
    document.addEventListener('DOMContentLoaded', function () {
      document.forms[0].style.display = 'none';
      document.forms[0].insertAdjacentText('afterend', 'This browser is too old for this page. ' +
        'Этот браузер слишком стар для этой страницы. Chrome 93+, Edge 93+, Firefox 105+, Safari 15.4+.');
    });
  }

  var language = (/(?:^|,)(en|ru)/.exec(navigator.languages.join()) || ['', 'en'])[1];
  root.lang = language;
  function fetched(names) {
    names.split(' ').forEach(function (name) {
      var link = document.createElement('link');
      link.rel = 'modulepreload';
      link.href = script.src.replace(/start\.js$/, name + '.js');
      document.head.appendChild(link);
    });
  }
  fetched('texts/' + language);
  function preload() {
    fetched('app live state parts vendor/preact vendor/hooks vendor/htm');
  }

  var token = sessionStorage.getItem('token');
  if (token === null) return { language: language, preload: preload, stream: null };
  root.className = 'signed-in';
  preload();
  var stream = fetch('/api/local/v1/stream', { headers: { Authorization: 'Bearer ' + token }, cache: 'no-store' });
  stream.catch(function () {}); // live.js looks at it.
  return { language: language, preload: preload, stream: stream };
})();
