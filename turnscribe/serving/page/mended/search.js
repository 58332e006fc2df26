// Where a document has some text. Touches no element.

/** The places of `query`, in order: {paragraph, first, stop}, the words it touches. Case does not count. */
export function occurrences(doc, query) {
  const sought = folded(query.trim().replaceAll(/\s+/g, " "));
  const found = [];
  if (!sought) return found;
  doc.paragraphs.forEach(({ words }, paragraph) => {
    let text = "";
    const starts = words.map((word, index) => {
      if (word.space && index) text += " ";
      const start = text.length;
      text += folded(word.text);
      return start;
    });
    for (let at = text.indexOf(sought); at >= 0; at = text.indexOf(sought, at + sought.length)) {
      found.push({ paragraph, first: wordAt(starts, at), stop: wordAt(starts, at + sought.length - 1) + 1 });
    }
  });
  return found;
}

function folded(text) {
  return text.normalize("NFC").toLowerCase();
}

function wordAt(starts, at) {
  let low = 0;
  let high = starts.length;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (starts[middle] <= at) low = middle;
    else high = middle;
  }
  return low;
}
