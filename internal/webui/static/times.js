// Times: the server writes relative or UTC; the viewer's own zone is known only
// here.
export function times() {
  if (document.documentElement.dataset.times !== "local") return;
  const format = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  for (const time of document.querySelectorAll("time[datetime]")) {
    time.textContent = format.format(new Date(time.dateTime));
  }
}
