// Elements of the document: those that it has, new ones, and where they are. Text goes in as text, never as markup.

/** The elements with these ids, by their names in camel case: `work-title` is `workTitle`. */
export function elements(...ids) {
  const camelCase = (id) => id.replaceAll(/-(\w)/g, (_, letter) => letter.toUpperCase());
  return Object.fromEntries(ids.map((id) => [camelCase(id), document.getElementById(id)]));
}

export function element(tag, name, text = "") {
  const made = document.createElement(tag);
  if (name) made.className = name;
  made.textContent = text;
  return made;
}

/** Scrolls where the element is out of sight, in a sudden move where that is far or where people want it calm. */
export function bringIntoSight(element) {
  const box = element.getBoundingClientRect();
  const top = Number.parseFloat(getComputedStyle(document.documentElement).scrollPaddingTop) || 0;
  if (box.top >= top && box.bottom <= innerHeight - 24) return;
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches || Math.abs(box.top) > 2 * innerHeight;
  element.scrollIntoView({ block: "center", behavior: calm ? "auto" : "smooth" });
}
