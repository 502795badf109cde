// Dialogs are states of the page: what the server drew open becomes modal here,
// and closing one goes back to where the focus was.
let edited = false;

export function dialogs() {
  for (const dialog of document.querySelectorAll("dialog[data-modal]")) {
    dialog.removeAttribute("open");
    openModal(dialog, () => leave(dialog));
  }
  for (const closer of document.querySelectorAll("dialog [data-close]")) {
    closer.addEventListener("click", (event) => {
      event.preventDefault();
      const dialog = closer.closest("dialog");
      if (mayClose(dialog)) dialog.close();
    });
  }
  const opener = document.getElementById("new");
  const fresh = document.getElementById("new-dialog");
  opener?.addEventListener("click", (event) => {
    if (!fresh || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    openModal(fresh);
    document.getElementById("f-client_id").focus();
  });
  fresh?.addEventListener("input", () => {
    edited = true;
  });
}

// openModal shows a dialog, gives the focus back when it closes, and calls after.
export function openModal(dialog, after) {
  const before = document.activeElement;
  dialog.showModal();
  const title = dialog.querySelector("[autofocus]") ?? dialog.querySelector("h2[tabindex]");
  title?.focus();
  const area = dialog.matches("[data-result]") ? dialog.querySelector("textarea") : null;
  area?.select();
  dialog.addEventListener("cancel", (event) => {
    if (!mayClose(dialog)) event.preventDefault();
  });
  dialog.addEventListener(
    "close",
    () => {
      after?.();
      if (before && before !== document.body && document.contains(before)) before.focus();
      else (document.getElementById("new") ?? document.getElementById("main"))?.focus();
    },
    { once: true },
  );
}

function mayClose(dialog) {
  if ("single" in dialog.dataset) return window.confirm("Close without copying? The token is not shown again.");
  if (dialog.id === "new-dialog" && edited) {
    if (!window.confirm("Discard this token?")) return false;
    edited = false;
  }
  return true;
}

// leave wipes what the dialog showed and makes the address that of the list.
function leave(dialog) {
  const area = dialog.querySelector("textarea.token");
  if (area) {
    area.value = "";
    area.textContent = "";
  }
  const link = dialog.querySelector("a[data-close]")?.getAttribute("href") ?? "/tokens";
  history.replaceState(null, "", link);
  if (dialog.matches("[data-result]")) {
    const row = document.getElementById(link.split("#")[1] ?? "");
    row?.querySelector("a")?.focus();
  }
  if (dialog.id !== "new-dialog") dialog.remove();
}
