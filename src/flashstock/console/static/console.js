// What HTML alone can't do: ask before what can't be undone, say whether a page is live, and keep
// the menu closed on a small screen. Everything works without it.
(() => {
  'use strict';

  document.addEventListener('submit', (event) => {
    const question = event.target.dataset.confirm;
    if (question && !window.confirm(question)) event.preventDefault();
  });

  const menu = document.querySelector('details.menu');
  if (menu && window.matchMedia('(max-width: 60rem)').matches) menu.open = false;

  const status = document.querySelector('.stream');
  const say = (state, text) => {
    if (!status) return;
    status.hidden = false;
    status.className = `stream ${state}`;
    if (status.textContent !== text) status.textContent = text;
  };
  document.addEventListener('htmx:sse:after:message', () => say('live', 'Live'));
  document.addEventListener('htmx:sse:error', () => say('away', 'Reconnecting'));
  document.addEventListener('htmx:sse:close', () => say('away', 'Not live'));
  // The session ended, or the key was revoked: the page itself knows where to go.
  document.addEventListener('signed-out', () => window.location.reload());
})();
