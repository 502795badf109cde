// announce says a result once, in the page's one live region.
export function announce(text) {
  const region = document.getElementById("announce");
  if (region) region.textContent = text;
}
