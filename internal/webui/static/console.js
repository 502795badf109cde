// The console works without this file; it only spares clicks.
import { copying } from "./copy.js";
import { dialogs } from "./dialogs.js";
import { finding } from "./find.js";
import { newToken } from "./form.js";
import { keyboard } from "./keys.js";
import { menu } from "./menu.js";
import { times } from "./times.js";

document.documentElement.classList.add("js");
menu();
dialogs();
copying();
newToken();
finding();
keyboard();
times();
if (document.querySelector(".keyring")) import("./rotation.js").then((m) => m.rotation());

for (const form of document.querySelectorAll("form")) {
  form.addEventListener("submit", (event) => {
    const button = event.submitter ?? form.querySelector("[data-busy]");
    if (!button?.dataset.busy || event.defaultPrevented) return;
    if (button.getAttribute("aria-disabled") === "true") {
      event.preventDefault();
      return;
    }
    button.setAttribute("aria-disabled", "true");
    button.textContent = button.dataset.busy;
  });
}

for (const button of document.querySelectorAll("[data-show]")) {
  button.addEventListener("click", () => {
    const field = document.getElementById(button.dataset.show);
    const shown = field.type === "text";
    field.type = shown ? "password" : "text";
    button.setAttribute("aria-pressed", String(!shown));
  });
}

// What has just been done is read first; Restore is the next stop.
if (!document.querySelector("dialog:modal, [role=alert]")) document.querySelector("[data-result-of-change]")?.focus();

// One row's menu is open at a time.
document.addEventListener("click", (event) => {
  for (const open of document.querySelectorAll("details.more-actions[open]")) {
    if (!open.contains(event.target)) open.open = false;
  }
});
document.addEventListener("keydown", (event) => {
  const open = event.key === "Escape" ? document.querySelector("details.more-actions[open]") : null;
  if (!open) return;
  open.open = false;
  open.querySelector("summary").focus();
});
