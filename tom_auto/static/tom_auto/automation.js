/* Shows exact times in the reader's time zone, which the server does not know. */
function inMyZone(root) {
  for (const time of root.querySelectorAll('time[datetime]')) {
    time.title = new Date(time.dateTime).toLocaleString(undefined, {dateStyle: 'medium', timeStyle: 'long'});
  }
}
document.addEventListener('DOMContentLoaded', () => inMyZone(document));
document.addEventListener('htmx:afterSettle', () => inMyZone(document));

/* When a run has ended the page loads itself anew: not while the visitor is on the way to another page. */
let left = 0;
addEventListener('beforeunload', () => { left = Date.now(); });
document.addEventListener('htmx:beforeOnLoad', event => {
  const isOnTheWay = Date.now() - left < 10_000; // still here after that: it was a download
  if (isOnTheWay && event.detail.xhr.getResponseHeader('HX-Refresh')) event.preventDefault();
});
