// Dialogs are states of the page: what the server drew open becomes modal here,
// and closing one goes back to where the focus was. A dialog with something to
// lose asks first, inside itself.
const edited = new WeakSet();

export function dialogs() {
  for (const dialog of document.querySelectorAll("dialog")) prepare(dialog);
  for (const dialog of document.querySelectorAll("dialog[data-modal]")) {
    dialog.removeAttribute("open");
    openModal(dialog, () => leave(dialog));
  }
  const fresh = document.getElementById("new-dialog");
  document.getElementById("new")?.addEventListener("click", (event) => {
    if (!fresh || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    openModal(fresh);
    document.getElementById("f-client_id").focus();
  });
  // Nothing that was shown comes back with the page.
  window.addEventListener("pagehide", () => {
    for (const area of document.querySelectorAll("textarea.token")) wipe(area);
  });
}

function prepare(dialog) {
  for (const closer of dialog.querySelectorAll("[data-close]")) {
    closer.addEventListener("click", (event) => {
      event.preventDefault();
      close(dialog);
    });
  }
  dialog.addEventListener("cancel", (event) => {
    if (!holds(dialog)) return;
    event.preventDefault();
    ask(dialog);
  });
  if (dialog.id === "new-dialog") {
    dialog.addEventListener("input", () => edited.add(dialog));
    dialog.addEventListener("mousedown", (event) => {
      const box = dialog.getBoundingClientRect();
      const outside = event.clientX < box.left || event.clientX > box.right || event.clientY < box.top || event.clientY > box.bottom;
      if (event.target === dialog && outside) close(dialog);
    });
  }
  if ("single" in dialog.dataset) {
    dialog.setAttribute("closedby", "none");
    window.addEventListener("beforeunload", (event) => {
      if (holds(dialog)) event.preventDefault();
    });
  }
}

// openModal shows a dialog, gives the focus back when it closes, and calls after.
export function openModal(dialog, after) {
  const before = document.activeElement;
  dialog.showModal();
  if (dialog.matches("[data-result]")) dialog.querySelector("textarea").select(); // some browsers focus what they select
  (dialog.querySelector("[autofocus]") ?? dialog.querySelector("h2[tabindex]"))?.focus();
  dialog.addEventListener(
    "close",
    () => {
      // What the server drew open may have taken the focus before it became modal.
      if (before && before !== document.body && !dialog.contains(before) && document.contains(before)) before.focus();
      else document.getElementById("new")?.focus();
      after?.();
      if (document.activeElement === document.body) document.getElementById("main").focus();
    },
    { once: true },
  );
}

// taken says that a token which is shown once has been taken.
export function taken(dialog) {
  if (dialog) delete dialog.dataset.single;
}

function holds(dialog) {
  return dialog.open && (edited.has(dialog) || "single" in dialog.dataset);
}

function close(dialog) {
  if (holds(dialog)) ask(dialog);
  else dialog.close();
}

function ask(dialog) {
  if (dialog.querySelector(".ask")) return;
  const before = document.activeElement;
  const question = document.createElement("div");
  question.className = "ask";
  question.setAttribute("role", "alert");
  const text = document.createElement("p");
  text.textContent = dialog.dataset.ask;
  const answer = (word, then) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = word;
    button.addEventListener("click", () => {
      question.remove();
      then();
    });
    return button;
  };
  const no = answer(dialog.dataset.no, () => before?.focus());
  const yes = answer(dialog.dataset.yes, () => {
    edited.delete(dialog);
    taken(dialog);
    dialog.querySelector("form")?.reset();
    dialog.close();
  });
  question.append(text, no, yes);
  dialog.append(question);
  no.focus();
}

function wipe(area) {
  area.value = "";
  area.textContent = "";
}

// leave wipes what the dialog showed and makes the address that of the list.
function leave(dialog) {
  const area = dialog.querySelector("textarea.token");
  if (area) wipe(area);
  const link = dialog.querySelector("a[data-close]")?.getAttribute("href") ?? "/tokens";
  history.replaceState(null, "", link);
  const place = document.getElementById(link.split("#")[1] ?? "");
  (place?.matches("a") ? place : place?.querySelector("a"))?.focus();
  if (dialog.id !== "new-dialog") dialog.remove();
}
