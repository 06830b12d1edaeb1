// Says what the page needs where a browser lacks it. Written in the JavaScript of 2009, which all of them read.
(function () {
  var script = document.createElement('script');
  if ('noModule' in script && window.HTMLDialogElement && window.TextDecoderStream && Object.hasOwn) return;
  var place = document.getElementById('old-browser');
  var need = 'Chrome 93, Edge 93, Firefox 105, Safari 15.4';
  document.getElementsByTagName('form')[0].style.display = 'none';
  place.removeAttribute('hidden');
  place.appendChild(document.createTextNode('This browser is too old for this page, which needs ' + need + ' or newer. ' +
    'Этот браузер слишком стар для этой страницы: нужен ' + need + ' или новее.'));
})();
