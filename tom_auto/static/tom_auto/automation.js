/* Shows exact times in the reader's own zone: the server does not know it. */
function inMyZone(root) {
  for (const time of root.querySelectorAll('time[datetime]')) {
    time.title = new Date(time.dateTime).toLocaleString(undefined, {dateStyle: 'medium', timeStyle: 'long'});
  }
}
document.addEventListener('DOMContentLoaded', () => inMyZone(document));
document.addEventListener('htmx:afterSettle', () => inMyZone(document));
