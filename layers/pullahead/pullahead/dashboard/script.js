// Filters the rows of the page that is a file; in the CloudWatch widget there is no script.
// The filter is also read from the address after #, so that a filtered page can be linked to.
(function () {
  var form = document.querySelector('form');
  var rows = [].slice.call(document.querySelectorAll('tr[data-key]'));
  if (!form || !rows.length) { return; }
  var state = form.elements.state, prefix = form.elements.prefix;
  var tiles = [].slice.call(document.querySelectorAll('[data-show]'));
  function show() {
    var found = 0, begins = prefix.value.trim();
    rows.forEach(function (row) {
      var fits = (!state.value || row.dataset.state === state.value) && row.dataset.key.indexOf(begins) === 0;
      row.hidden = !fits;
      found += fits ? 1 : 0;
    });
    tiles.forEach(function (tile) { tile.setAttribute('aria-pressed', tile.dataset.show === state.value); });
    var all = found === rows.length ? '' : ' of ' + rows.length;
    document.getElementById('count').textContent = found + all + (rows.length === 1 ? ' mirror' : ' mirrors');
    document.getElementById('none').hidden = found > 0;
    document.querySelector('.scroll').hidden = found === 0;
  }
  var asked = new URLSearchParams(location.hash.slice(1));
  if (asked.get('state')) { state.value = asked.get('state'); }
  if (asked.get('prefix')) { prefix.value = asked.get('prefix'); }
  form.addEventListener('input', show);
  form.addEventListener('reset', function () { setTimeout(show, 0); });
  form.addEventListener('submit', function (event) { event.preventDefault(); });
  tiles.forEach(function (tile) {
    tile.addEventListener('click', function () {
      state.value = state.value === tile.dataset.show ? '' : tile.dataset.show;
      show();
    });
  });
  show();
})();
