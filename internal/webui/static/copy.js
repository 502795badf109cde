// Copy: the clipboard where the browser allows it, else the selected text and
// the old command inside the click, else an honest word. Success is said only
// after the browser has said it.
import { announce } from "./announce.js";
import { openModal, taken } from "./dialogs.js";
import { say } from "./say.js";

export function copying() {
  for (const form of document.querySelectorAll("form[data-copy]")) {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      copyRow(form);
    });
  }
  const fresh = document.querySelector("dialog[data-result] textarea");
  if (fresh && !window.isSecureContext) selected(fresh); // copying may fail here
  each("[data-copy-text]", (button) => copyArea(button));
  each("[data-copy-curl]", (button) => copyCurl(button));
  each("[data-copy-command]", (button) => copyCommand(button));
  each("[data-download]", (button) => download(button));
  each("[data-print]", (button) => {
    window.print();
    taken(button.closest("dialog"));
  });
}

function each(selector, act) {
  for (const button of document.querySelectorAll(selector)) button.addEventListener("click", () => act(button));
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
  const client = form.dataset.copy || form.closest("tr").dataset.client;
  const text = reveal(form);
  try {
    if (window.isSecureContext && navigator.clipboard?.write && window.ClipboardItem) {
      // Called inside the click, while the text is still on its way: the browser
      // keeps the click's permission for the promise.
      const item = new ClipboardItem({ "text/plain": text.then((t) => new Blob([t], { type: "text/plain" })) });
      try {
        await navigator.clipboard.write([item]);
        announce(say("Token of {client} copied.", { client }));
        copied(button);
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
    announce(say("The token of {client} could not be copied: {problem}", { client, problem: error.message }));
    showProblem(button, error.message);
  }
}

function showText(client, text) {
  const dialog = document.getElementById("text-dialog");
  dialog.querySelector("h2").textContent = say("Token of {client}", { client });
  dialog.querySelector("textarea").value = text;
  openModal(dialog, () => {
    dialog.querySelector("textarea").value = "";
  });
  selected(dialog.querySelector("textarea"));
}

function selected(area) {
  area.closest("dialog").querySelector("[data-said]").textContent = say("Press Copy, or Ctrl+C (⌘C): the token is selected.");
  area.select();
}

async function copyArea(button) {
  const dialog = button.closest("dialog");
  const area = dialog.querySelector("textarea");
  const done = await put(area);
  if (done) succeeded(dialog, button, say("Copied."));
  else failed(dialog, area);
}

async function copyCurl(button) {
  const dialog = button.closest("dialog");
  const area = document.createElement("textarea");
  area.className = "token sr";
  area.readOnly = true;
  area.setAttribute("aria-label", say("curl command"));
  area.value = `curl -H "Authorization: Bearer ${dialog.querySelector("textarea.token").value}" ${button.dataset.copyCurl}`;
  dialog.append(area);
  const done = await put(area);
  area.remove();
  if (done) succeeded(dialog, button, say("Copied. The command holds the token: a shell may keep it in its history."));
  else failed(dialog, dialog.querySelector("textarea.token"));
}

function succeeded(dialog, button, sentence) {
  dialog.querySelector("[data-said]").textContent = sentence;
  copied(button);
  taken(dialog);
}

function failed(dialog, area) {
  area.focus();
  area.select();
  dialog.querySelector("[data-said]").textContent = say("Your browser blocked copying. Press Ctrl+C (⌘C) – the token is selected.");
}

function download(button) {
  const dialog = button.closest("dialog");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([dialog.querySelector("textarea").value, "\n"], { type: "text/plain" }));
  link.download = button.dataset.download;
  link.click();
  URL.revokeObjectURL(link.href);
  taken(dialog);
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
      announce(say("Command copied."));
      copied(button);
      return;
    } catch {
      // refused; select it instead
    }
  }
  window.getSelection().selectAllChildren(pre);
  let done = false;
  try {
    done = document.execCommand("copy");
  } catch {
    done = false;
  }
  if (done) copied(button);
  announce(done ? say("Command copied.") : say("Your browser blocked copying. Press Ctrl+C (⌘C) – the command is selected."));
}

// copied shows the outcome on the button for two seconds. Its name is not a live
// region: the sentence has been said elsewhere, once.
function copied(button) {
  const word = button.querySelector("span");
  const use = button.querySelector("use");
  if (button.dataset.copied) return;
  button.dataset.copied = "yes";
  const before = { word: word.textContent, href: use?.getAttribute("href") };
  word.textContent = say("Copied");
  use?.setAttribute("href", before.href.replace("copy", "check"));
  setTimeout(() => {
    delete button.dataset.copied;
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
  line.textContent = say("Not copied: {problem}", { problem: message });
}
