// Copy: the clipboard where the browser allows it, else the selected text and
// the old command inside the click, else an honest word. Success is said only
// after the browser has said it.
import { announce } from "./announce.js";
import { openModal } from "./dialogs.js";

export function copying() {
  for (const form of document.querySelectorAll("form[data-copy]")) {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      copyRow(form);
    });
  }
  for (const button of document.querySelectorAll("[data-copy-text]")) {
    button.addEventListener("click", () => copyArea(button.closest("dialog")));
  }
  for (const button of document.querySelectorAll("[data-copy-command]")) {
    button.addEventListener("click", () => copyCommand(button));
  }
  for (const button of document.querySelectorAll("[data-print]")) {
    button.addEventListener("click", () => window.print());
  }
}

async function reveal(form) {
  const answer = await fetch(form.action, { method: "POST", headers: { Accept: "text/plain" } });
  if (answer.redirected) {
    location.assign(answer.url); // the sign-in has ended, and that page says why
    return new Promise(() => {});
  }
  const text = await answer.text();
  if (answer.ok) return text;
  const error = new Error(text);
  error.status = answer.status;
  throw error;
}

async function copyRow(form) {
  const button = form.querySelector("button");
  const client = form.dataset.copy;
  const text = reveal(form);
  try {
    if (window.isSecureContext && navigator.clipboard?.write && window.ClipboardItem) {
      // Called inside the click, while the text is still on its way: the browser
      // keeps the click's permission for the promise.
      const item = new ClipboardItem({ "text/plain": text.then((t) => new Blob([t], { type: "text/plain" })) });
      try {
        await navigator.clipboard.write([item]);
        copied(button, `Token of ${client} copied.`);
        return;
      } catch {
        await text; // a failed reveal is reported below; a refused clipboard goes on
      }
    }
    showText(client, await text);
  } catch (error) {
    if (error.status === 403) {
      form.submit(); // the server asks for the password, or says why not
      return;
    }
    announce(`The token of ${client} could not be copied: ${error.message}`);
    showProblem(button, error.message);
  }
}

function showText(client, text) {
  const dialog = document.getElementById("text-dialog");
  dialog.querySelector("h2").textContent = `Token of ${client}`;
  dialog.querySelector("textarea").value = text;
  dialog.querySelector("[data-said]").textContent = "Press Copy, or Ctrl+C (⌘C): the token is selected.";
  openModal(dialog, () => {
    dialog.querySelector("textarea").value = "";
  });
  dialog.querySelector("textarea").select();
}

async function copyArea(dialog) {
  const area = dialog.querySelector("textarea");
  const button = dialog.querySelector("[data-copy-text]");
  const said = dialog.querySelector("[data-said]");
  if (await put(area)) {
    said.textContent = "Copied.";
    copied(button, "Token copied.");
    delete dialog.dataset.single;
    return;
  }
  area.focus();
  area.select();
  said.textContent = "Your browser blocked copying. Press Ctrl+C (⌘C) – the token is selected.";
  announce(said.textContent);
}

async function put(area) {
  if (window.isSecureContext && navigator.clipboard) {
    try {
      await navigator.clipboard.writeText(area.value);
      return true;
    } catch {
      // refused; the old way may still be open
    }
  }
  area.focus();
  area.select();
  try {
    return document.execCommand("copy");
  } catch {
    return false;
  }
}

async function copyCommand(button) {
  const pre = button.parentElement.querySelector("pre");
  if (window.isSecureContext && navigator.clipboard) {
    try {
      await navigator.clipboard.writeText(pre.textContent);
      copied(button, "Command copied.");
      return;
    } catch {
      // refused; select it instead
    }
  }
  const selection = window.getSelection();
  selection.selectAllChildren(pre);
  let done = false;
  try {
    done = document.execCommand("copy");
  } catch {
    done = false;
  }
  if (done) copied(button, "Command copied.");
  else announce("Your browser blocked copying. Press Ctrl+C (⌘C) – the command is selected.");
}

function copied(button, sentence) {
  const word = button.querySelector("span") ?? button;
  const use = button.querySelector("use");
  const before = { word: word.textContent, href: use?.getAttribute("href") };
  word.textContent = "Copied";
  use?.setAttribute("href", before.href.replace("#copy", "#check"));
  announce(sentence);
  setTimeout(() => {
    word.textContent = before.word;
    use?.setAttribute("href", before.href);
  }, 2000);
}

function showProblem(button, message) {
  const row = button.closest("td") ?? button.parentElement;
  let line = row.querySelector(".fault");
  if (!line) {
    line = document.createElement("p");
    line.className = "fault";
    row.append(line);
  }
  line.textContent = `Not copied: ${message}`;
}
