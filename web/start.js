// Runs before more than picture and name is shown, in the JavaScript of 2009: says what an old browser lacks, decides
// between sign-in form and page, and has modules fetched side by side.

var start = (function () {
  var script = /** @type {HTMLScriptElement} */ (document.currentScript || document.scripts[0]);
  var root = document.documentElement;
  var language = (/(?:^|,)(en|ru)/.exec(String(navigator.languages)) || ['', 'en'])[1];
  root.lang = language;
  function add(tag, name, more) {
    var path = script.src.replace(/start\.js$/, name + '.js');
    document.head.appendChild(Object.assign(document.createElement(tag), { src: path, href: path }, more));
  }
  function fetched(names) {
    names.split(' ').forEach(function (name) {
      add('link', name, { rel: 'modulepreload' });
    });
  }
  function preload() {
    fetched('app live state vendor/preact vendor/hooks vendor/htm');
  }
  function begin() {
    fetched('talk texts');
    add('script', 'main', { type: 'module' });
  }

  // Drawn from the form's own picture: a file of its own would hold up the first paint.
  var picture = 'data:image/svg+xml,' + encodeURIComponent(document.getElementsByTagName('svg')[0].outerHTML);
  add('link', 'icon', { rel: 'icon', href: picture });

  var token = sessionStorage.getItem('token');
  var stream = null;
  root.className = token === null ? 'signed-out' : 'signed-in';
  if (!('noModule' in script && window.HTMLDialogElement && window.TextDecoderStream && Object.hasOwn)) {
    document.forms[0].style.display = 'none';
    document.forms[0].insertAdjacentText('afterend', 'This browser is too old. Этот браузер слишком стар. ' +
      'Chrome 93+, Edge 93+, Firefox 105+, Safari 15.4+.');
  } else if (token === null) {
    // Once the form is painted.
    requestAnimationFrame(function () {
      setTimeout(begin);
    });
  } else {
    begin();
    preload();
    stream = fetch('/api/local/v1/stream', { headers: { Authorization: 'Bearer ' + token }, cache: 'no-store' });
    stream.catch(function () {}); // live.js looks at it.
  }
  return { language: language, preload: preload, stream: stream };
})();
