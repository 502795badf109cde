// The dialog New API Token: the exact end, one sentence that says what will be
// made, the same from the shell, and a word when the client has a token already.
import { clock, day, exact, say } from "./say.js";

export function newToken() {
  const form = document.getElementById("new-form");
  if (!form) return;
  const update = () => describe(form);
  form.addEventListener("input", update);
  form.addEventListener("change", update);
  form.addEventListener("reset", () => setTimeout(update));
  form.elements.client_id.addEventListener("change", () => hint(form.elements.client_id.value.trim()));
  form.elements.tags.addEventListener("input", () => suggest(form.elements.tags));
  form.querySelector("[data-mine]").addEventListener("click", (event) => {
    const field = form.elements.allowed_addresses;
    field.value = field.value.trim() ? `${field.value.trim()}\n${event.target.dataset.mine}` : event.target.dataset.mine;
    field.dispatchEvent(new Event("input", { bubbles: true }));
  });
  update();
}

function describe(form) {
  const { client_id: client, role, expires, date, description, allowed_addresses: addresses, offset } = form.elements;
  const name = form.querySelector("[name=role]:checked + b").textContent;
  form.querySelector("[data-role-name]").textContent = name;
  form.querySelector(".date").toggleAttribute("data-off", expires.value !== "date");
  const end = endOf(expires.value, date.value);
  offset.value = expires.value === "date" && end ? end.getTimezoneOffset() : "";
  const text = document.getElementById("expiry-text");
  if (expires.value === "never") text.textContent = say("You will have to remember to replace it.");
  else if (end) text.textContent = say("{time} ({local} your time)", { time: exact(end), local: clock(end) });
  else text.textContent = say("Choose a date; it means the end of that day where you are.");
  document.getElementById("count").textContent = description.value.length >= 160 ? say("{n} of 200 characters", { n: description.value.length }) : "";
  const id = client.value.trim();
  const said = { token: id || say("This token"), role: name, date: end ? day(end) : "…" };
  const named = addresses.value.trim() !== "";
  const never = expires.value === "never";
  document.getElementById("sentence").textContent = never
    ? named ? say("{token} – {role}, without an end, from the addresses named.", said) : say("{token} – {role}, without an end, from any address.", said)
    : named ? say("{token} – {role}, until {date}, from the addresses named.", said) : say("{token} – {role}, until {date}, from any address.", said);
  document.getElementById("create-command").textContent = command(form, id, end);
}

function command(form, id, end) {
  const { role, tags, expires, allowed_addresses: addresses } = form.elements;
  const words = (text) => text.split(/[\s,]+/).filter(Boolean);
  const parts = ["token", "create", "--client-id", id ? quote(id) : "<client-id>", "--role", role.value];
  if (role.value === "user") for (const tag of words(tags.value)) parts.push("--tag", quote(tag));
  for (const range of words(addresses.value)) parts.push("--allow", quote(range));
  if (expires.value === "date") parts.push("--expires", end ? end.toISOString().replace(".000", "") : "<date>");
  else parts.push("--expires", expires.value === "never" ? "never" : `${expires.value}d`);
  return `${document.getElementById("create-command").dataset.program} ${parts.join(" ")}`;
}

function quote(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

// hint counts the client's active tokens and offers to replace the only one; it
// never keeps anybody from creating.
async function hint(client) {
  const line = document.getElementById("client-hint");
  line.textContent = "";
  if (!/^[\w.@-]{1,64}$/.test(client)) return;
  const answer = await fetch(`/tokens?client_id=${encodeURIComponent(client)}&limit=500`);
  const ids = [...(await answer.text()).matchAll(/<tr id="(tok_[0-9a-z]+)"/g)];
  if (!answer.ok || ids.length === 0) return;
  line.textContent = say("{client} already has {n, plural, one {# active token} other {# active tokens}}. You will have {all, plural, =2 {two} other {#}}.", { client, n: ids.length, all: ids.length + 1 });
  if (ids.length > 1) return;
  const link = document.createElement("a");
  link.href = `/tokens/${ids[0][1]}/replace`;
  link.textContent = say("Replace it instead");
  line.append(" ", link);
}

// suggest offers known tags for the last of the tags in the field.
function suggest(field) {
  const list = document.getElementById("known-tags");
  list.known ??= [...list.options].map((option) => option.value);
  const before = field.value.slice(0, field.value.lastIndexOf(",") + 1);
  const taken = new Set(before.split(/[\s,]+/));
  list.replaceChildren(...list.known.filter((tag) => !taken.has(tag)).map((tag) => new Option("", `${before}${before ? " " : ""}${tag}`)));
}

// endOf a date is the end of that day in the viewer's own zone.
function endOf(choice, date) {
  if (choice === "date") return date ? new Date(`${date}T23:59:59`) : null;
  const days = Number(choice);
  return days ? new Date(Date.now() + days * 86400000) : null;
}
