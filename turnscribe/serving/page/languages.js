// Languages by their English names.

const NAMES = new Intl.DisplayNames(["en"], { type: "language", fallback: "code" });

export function languageName(code) {
  try {
    return NAMES.of(code);
  } catch {
    return code; // not a code that the browser knows
  }
}
