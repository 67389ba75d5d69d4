/* Shows exact times in the reader's time zone, which the server does not know. */
function inMyZone(root) {
  for (const time of root.querySelectorAll('time[datetime]')) {
    time.title = new Date(time.dateTime).toLocaleString(undefined, {dateStyle: 'medium', timeStyle: 'long'});
  }
}
document.addEventListener('DOMContentLoaded', () => inMyZone(document));
document.addEventListener('htmx:afterSettle', () => inMyZone(document));
