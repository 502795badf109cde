// Single-key shortcuts: never inside a field or a dialog, and they can be
// switched off in the menu (WCAG 2.1.4).
import { openModal } from "./dialogs.js";

const pages = { t: "/tokens", k: "/secret", a: "/audit", s: "/settings", h: "/status" };

export function keyboard() {
  if (!("keys" in document.documentElement.dataset)) return;
  let going = false;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select, dialog, .menu")) return;
    const key = event.key;
    if (going) {
      going = false;
      if (pages[key]) location.assign(pages[key]);
      return;
    }
    if (key === "g") going = true;
    else if (key === "/") focusSearch(event);
    else if (key === "n") openNew(event);
    else if (key === "t") cycleTimes();
    else if (key === "?") openModal(document.getElementById("shortcuts"));
  });
}

function focusSearch(event) {
  const field = document.getElementById("search");
  if (!field) return;
  event.preventDefault();
  field.focus();
}

function openNew(event) {
  const link = document.getElementById("new");
  if (!link) return;
  event.preventDefault(); // or the key is typed into the dialog's first field
  link.click();
}

function cycleTimes() {
  const choices = [...document.querySelectorAll('#manage-menu [name="times"]')];
  const at = choices.findIndex((choice) => "chosen" in choice.dataset);
  choices[(at + 1) % choices.length]?.click();
}
