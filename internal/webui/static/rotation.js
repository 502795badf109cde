// The dialogs of the signing secret: what the chosen overlap will do, in one
// sentence; and a running trial stop, which is looked at again while it lasts.
import { exact, say } from "./say.js";

export function rotation() {
  for (const form of document.querySelectorAll("#rotate-form, #extend-form")) {
    form.addEventListener("input", () => describe(form));
    describe(form);
  }
  const line = document.getElementById("trial-refused");
  if (line) setTimeout(() => look(line), pause);
}

const pause = 15000; // no sooner, or a screen reader never stops

function describe(form) {
  const { overlap, date, offset } = form.elements;
  if (document.activeElement === date && date.value) overlap.value = "date";
  const end = overlap.value === "date" && date.value ? new Date(`${date.value}T23:59:59`) : null;
  offset.value = end ? end.getTimezoneOffset() : "";
  const says = document.getElementById("rotate-says");
  if (!says || !form.contains(says)) return;
  const chosen = form.querySelector("[name=overlap]:checked");
  if (chosen?.dataset.says) says.textContent = chosen.dataset.says;
  else if (end) says.textContent = say("{key} is accepted until {end}. New tokens are signed with the new secret immediately. You stay signed in.", { key: says.dataset.key, end: exact(end) });
  else says.textContent = say("Choose a date; it means the end of that day where you are.");
}

async function look(line) {
  if (!document.hidden) {
    const answer = await fetch("/secret/trial/refused").catch(() => null);
    if (answer?.status === 204) {
      line.textContent = line.dataset.over;
      return;
    }
    const text = answer?.ok && !answer.redirected ? await answer.text() : line.textContent;
    if (text !== line.textContent) line.textContent = text;
  }
  setTimeout(() => look(line), pause);
}
