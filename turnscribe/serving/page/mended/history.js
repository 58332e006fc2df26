// The states of a document: what undo goes back to, and redo forward. A value, as the document is. Touches no element.

const MOST = 200; // states to go back to; they share what they have in common

export function begun(doc) {
  return { past: [], present: doc, future: [] };
}

/** `what`: the edit, in words. The same history where the edit changed nothing. */
export function edited(history, doc, what) {
  if (doc === history.present) return history;
  const past = [...history.past, { doc: history.present, what }].slice(-MOST);
  return { past, present: doc, future: [] };
}

export function undone({ past, present, future }) {
  if (!past.length) return null;
  const { doc, what } = past.at(-1);
  return { past: past.slice(0, -1), present: doc, future: [{ doc: present, what }, ...future] };
}

export function redone({ past, present, future }) {
  if (!future.length) return null;
  const [{ doc, what }, ...rest] = future;
  return { past: [...past, { doc: present, what }], present: doc, future: rest };
}
