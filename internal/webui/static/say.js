// say fills in a message: {name}, and {n, plural, one {# token} other {# tokens}}. The
// text is in the language of the page already: the server has put it there.
const { lang } = document.documentElement;

export function say(text, values) {
  return text
    .replaceAll("''", "'")
    .replace(/\{(\w+), plural,((?: [=\w]+ \{[^{}]*\})+)\}/g, (all, name, forms) => {
      const form = (key) => forms.match(` ${key} \\{([^{}]*)\\}`)?.[1];
      const n = values[name];
      return (form(`=${n}`) ?? form(new Intl.PluralRules(lang).select(n)) ?? form("other")).replaceAll("#", n.toLocaleString(lang));
    })
    .replace(/\{(\w+)\}/g, (all, name) => values[name]);
}

const format = (options) => new Intl.DateTimeFormat(lang === "en" ? "en-GB" : lang, options);
const instant = format({ weekday: "short", day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZone: "UTC" });

// exact is an instant as it is agreed on: "Mon 7 Dec 2026, 14:08 UTC".
export const exact = (when) => say("{time} UTC", { time: instant.format(when).replace(",", "").replace(" at", ",") });
export const clock = (when) => format({ hour: "2-digit", minute: "2-digit" }).format(when);
export const day = (when) => format({ day: "numeric", month: "short", year: "numeric" }).format(when);
