// Paste to find: a token pasted into the search is read here, in the browser;
// only its id is searched and the text never leaves the page.
import { say } from "./say.js";

const tokenForm = /^[\w-]+\.[\w-]*\.[\w-]*$/;
const idForm = /^tok_[0-9a-z]{26}$/;

export function finding() {
  const field = document.getElementById("search");
  if (!document.getElementById("found") || !field) return;
  field.removeAttribute("maxlength"); // it is there for browsers without this script
  field.addEventListener("input", () => take(field));
  field.form.addEventListener("submit", (event) => {
    if (take(field)) event.preventDefault();
  });
}

// take reads a token out of the field and reports whether there was one.
function take(field) {
  const text = field.value.trim();
  if (!tokenForm.test(text) || (text.length <= 64 && !text.startsWith("eyJ"))) return false;
  field.value = "";
  const claims = read(text);
  if (!claims) show(say("That does not look like a token."));
  else if (!idForm.test(claims.jti)) unknown(claims.iss);
  else find(claims);
  return true;
}

async function find(claims) {
  const address = `/tokens?state=all&q=${claims.jti}`;
  for (const place of [address, address.replace("all", "deleted")]) {
    const answer = await fetch(place);
    if (answer.redirected) {
      location.assign(answer.url); // the sign-in has ended, and that page says why
      return;
    }
    const page = await answer.text();
    if (page.includes(`<tr id="${claims.jti}"`)) {
      location.assign(`${place}&found=1`);
      return;
    }
  }
  unknown(claims.iss);
}

function unknown(issuer) {
  const named = typeof issuer === "string";
  show(named ? say("No token here has that id. It may come from another server (issuer {issuer}). The pasted token was not sent.", { issuer: issuer.slice(0, 100) }) : say("No token here has that id. It may come from another server. The pasted token was not sent."));
}

function show(text) {
  document.getElementById("found").textContent = text;
}

function read(token) {
  try {
    const part = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const claims = JSON.parse(atob(part));
    return claims && typeof claims === "object" ? claims : null;
  } catch {
    return null;
  }
}
