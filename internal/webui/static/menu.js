// The Manage menu: a button with a menu (WAI-ARIA APG menu button).
export function menu() {
  const link = document.getElementById("manage");
  const list = document.getElementById("manage-menu");
  if (!link || !list) return;
  link.setAttribute("role", "button");
  link.setAttribute("aria-haspopup", "menu");
  link.setAttribute("aria-expanded", "false");
  link.setAttribute("aria-controls", list.id);
  list.setAttribute("role", "menu");
  list.setAttribute("aria-labelledby", link.id);
  for (const part of list.querySelectorAll("form, div.group")) part.setAttribute("role", "none");
  for (const group of list.querySelectorAll("[data-label]")) {
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", group.dataset.label);
    group.querySelector(".heading").setAttribute("aria-hidden", "true");
  }
  const items = [...list.querySelectorAll(".item")];
  for (const item of items) {
    const choice = item.name && item.name !== "keys";
    const toggle = item.name === "keys";
    item.setAttribute("role", choice ? "menuitemradio" : toggle ? "menuitemcheckbox" : "menuitem");
    if (choice || toggle) item.setAttribute("aria-checked", String("chosen" in item.dataset));
    item.tabIndex = -1;
  }
  const open = (index) => {
    list.hidden = false;
    link.setAttribute("aria-expanded", "true");
    items.at(index).focus();
  };
  const close = (back) => {
    list.hidden = true;
    link.setAttribute("aria-expanded", "false");
    if (back) link.focus();
  };
  link.addEventListener("click", (event) => {
    event.preventDefault();
    if (list.hidden) open(0);
    else close(true);
  });
  link.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === " " || event.key === "Enter") {
      event.preventDefault();
      open(0);
    } else if (event.key === "ArrowUp") {
      event.preventDefault();
      open(-1);
    }
  });
  list.addEventListener("keydown", (event) => move(event, items, close));
  for (const item of items) item.addEventListener("mousemove", () => item.focus());
  document.addEventListener("click", (event) => {
    if (!list.hidden && !event.target.closest(".manage")) close(false);
  });
}

function move(event, items, close) {
  const at = items.indexOf(document.activeElement);
  const to = (index) => {
    event.preventDefault();
    items.at((index + items.length) % items.length).focus();
  };
  switch (event.key) {
    case "ArrowDown":
    case "ArrowRight":
      return to(at + 1);
    case "ArrowUp":
    case "ArrowLeft":
      return to(at - 1);
    case "Home":
      return to(0);
    case "End":
      return to(-1);
    case "Escape":
      event.stopPropagation();
      return close(true);
    case "Tab":
      return close(false);
    case " ":
      event.preventDefault();
      return document.activeElement.click();
  }
  if (event.key.length === 1 && /\S/.test(event.key)) {
    const rest = [...items.slice(at + 1), ...items.slice(0, at + 1)];
    rest.find((item) => item.textContent.trim().toLowerCase().startsWith(event.key.toLowerCase()))?.focus();
  }
}
