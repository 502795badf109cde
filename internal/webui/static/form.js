// The dialog New API Token: tags only for User, the exact end, one sentence that
// says what will be made.
export function newToken() {
  const form = document.getElementById("new-form");
  if (!form) return;
  const update = () => describe(form);
  form.addEventListener("input", update);
  form.addEventListener("change", update);
  update();
}

function describe(form) {
  const role = form.elements.role.value;
  const tags = document.getElementById("tags-field");
  tags.hidden = role !== "user";
  const choice = form.elements.expires.value;
  form.querySelector(".date").toggleAttribute("data-off", choice !== "date");
  const end = endOf(choice, form.elements.date.value);
  const text = document.getElementById("expiry-text");
  if (choice === "never") text.textContent = "You will have to remember to replace it.";
  else if (end) text.textContent = `${utc(end)} (${local(end)} your time)`;
  else text.textContent = "Choose a date; it means the end of that day, UTC.";
  const client = form.elements.client_id.value.trim();
  const sentence = document.getElementById("sentence");
  sentence.textContent = client ? `${client} – ${name(role)}, ${choice === "never" ? "without an end" : end ? `until ${day(end)}` : "until …"}, from ${form.elements.allowed_addresses.value.trim() ? "the addresses named" : "any address"}.` : "";
}

function name(role) {
  return role.charAt(0).toUpperCase() + role.slice(1);
}

function endOf(choice, date) {
  if (choice === "date") return date ? new Date(`${date}T23:59:59Z`) : null;
  const days = Number(choice);
  return days ? new Date(Date.now() + days * 86400000) : null;
}

const format = (options) => (when) => new Intl.DateTimeFormat("en-GB", options).format(when);
const utc = (when) => `${format({ weekday: "short", day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", timeZone: "UTC" })(when)} UTC`;
const local = format({ hour: "2-digit", minute: "2-digit" });
const day = format({ day: "numeric", month: "short", year: "numeric" });
