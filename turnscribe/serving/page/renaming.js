// A rendering with the speakers' new names in the place of the server's. Touches no element.
//
// Each format writes a speaker in its own place. One that has no line in `RENAMINGS` is read as text that has the
// speaker first in a line, as plain text and subtitles have.

const RENAMINGS = {
  vtt: { speaker: /^(<v )([^>]*)(?=>)/gm, write: (name) => escaped(name) },
  tsv: { speaker: /^(\d+\t\d+\t[^\t\n]*\t)([^\t\n]+)/gm, write: (name) => name },
  rttm: { speaker: /^(SPEAKER \S+ 1 \S+ \S+ <NA> <NA> )(\S+)/gm, write: (name) => oneField(name) },
};
const FIRST_IN_LINE = { speaker: /^()(.+?)(?=: )/gm, write: (name) => name };

/** `text` of the server's format `name`; `names` yields pairs of a speaker and the new name. */
export function renamed(text, name, names) {
  const { speaker, write } = RENAMINGS[name] ?? FIRST_IN_LINE;
  const fields = new Map([...names].map((pair) => pair.map(write)));
  return text.replaceAll(speaker, (_, before, field) => before + (fields.get(field) ?? field));
}

/** An answer, or a rendering that is JSON, as the text of a file. */
export function renamedJson(answer, names) {
  const fields = new Map(names);
  const rename = (key, value) => (key === "speaker" ? (fields.get(value) ?? value) : value);
  return `${JSON.stringify(answer, rename, 2)}\n`;
}

function escaped(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

// A field of rttm ends at a space, and some readers take a quote for the start of one that does not.
function oneField(name) {
  return name.split(/[\s"]+/).filter(Boolean).join("_") || "unknown";
}
