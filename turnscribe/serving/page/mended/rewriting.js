// New text for old words: those that stay keep their times, new ones share the time of what they replace, or that
// between their neighbours. Touches no element.

const USUAL = 0.4; // seconds that a word takes

/**
 * The words of `text` in the place of `words`; the same array where nothing differs. New words have no probability:
 * a person wrote them. `before`, `after`: seconds, the end of the word before all of them and the start of the next.
 */
export function rewritten(words, text, { before = 0, after = Number.POSITIVE_INFINITY, language = null } = {}) {
  const clean = text.trim().replaceAll(/\s+/g, " ");
  const old = words.flatMap(apart);
  const spaced = old.length < 2 || old.slice(1).filter((word) => word.space).length * 2 >= old.length - 1;
  const atoms = old.flatMap((word, index) => (spaced ? [word.text] : [...word.text]).map((atom) => ({ atom, index })));
  const fresh = spaced ? clean.split(" ").filter(Boolean) : [...clean.replaceAll(" ", "")];
  if (spaced && fresh.join(" ") === atoms.map(({ atom }) => atom).join(" ")) return words;
  if (!spaced && fresh.join("") === atoms.map(({ atom }) => atom).join("")) return words;

  const pairs = common(atoms.map(({ atom }) => atom), fresh);
  const made = [];
  let from = 0; // of `fresh`, the first that has no word yet
  let last = -1; // of `old`, the last that stayed
  const put = (to, stop) => {
    const gap = fresh.slice(from, to);
    if (!gap.length) return;
    const texts = spaced ? gap : segments(gap.join(""), language);
    made.push(...shared(old, last + 1, stop, texts, made, { before, after, spaced }));
  };
  for (const { index, start, stop } of whole(old, atoms, pairs)) {
    put(start, index);
    made.push(old[index]);
    [from, last] = [stop, index];
  }
  put(fresh.length, old.length);
  if (made.length && old.length) made[0] = { ...made[0], space: old[0].space };
  return made;
}

/** A word that is several, as a chunk is where there are no times of words, with its time shared among them. */
function apart(word) {
  const texts = word.text.split(/\s+/).filter(Boolean);
  if (texts.length < 2) return [word];
  return spread(texts, word.start, word.end).map((times, index) => ({
    ...word,
    ...times,
    space: index ? true : word.space,
  }));
}

/** Texts with their share of the time from `start` to `end`, by their length. */
function spread(texts, start, end) {
  const all = texts.reduce((sum, text) => sum + text.length, 0);
  let done = 0;
  return texts.map((text) => {
    const at = (letters) => rounded(start + ((end - start) * letters) / all);
    const times = { text, start: at(done), end: at(done + text.length) };
    done += text.length;
    return times;
  });
}

/** New words in the place of `old` from `first` to `stop`; `made`: those before them. */
function shared(old, first, stop, texts, made, { before, after, spaced }) {
  const gone = old.slice(first, stop);
  const usual = USUAL * texts.length; // at the edges a neighbour may be far away, behind a pause
  const right = old[stop]?.start ?? Math.min(after, (made.at(-1)?.end ?? before) + usual);
  const left = made.at(-1)?.end ?? Math.max(before, right - usual);
  const start = gone[0]?.start ?? left;
  const end = Math.max(start, gone.at(-1)?.end ?? right);
  const chunk = (gone[0] ?? old[first - 1] ?? old[stop])?.chunk ?? null;
  return spread(texts, start, end).map((word) => ({ ...word, space: spaced, probability: null, chunk }));
}

/** The words of which every atom stayed, one beside the other: {index, start, stop} in the new atoms. */
function whole(old, atoms, pairs) {
  const places = new Map(pairs);
  const found = [];
  let first = 0;
  old.forEach((word, index) => {
    let stop = first;
    while (stop < atoms.length && atoms[stop].index === index) stop++;
    const start = places.get(first);
    const stays = stop > first && start !== undefined;
    const all = stays && atoms.slice(first, stop).every((_, step) => places.get(first + step) === start + step);
    if (all) found.push({ index, start, stop: start + stop - first });
    first = stop;
  });
  return found;
}

/** The longest common subsequence, as pairs of places. */
function common(one, other) {
  let head = 0;
  while (head < one.length && head < other.length && one[head] === other[head]) head++;
  let [oneStop, otherStop] = [one.length, other.length];
  while (oneStop > head && otherStop > head && one[oneStop - 1] === other[otherStop - 1]) {
    oneStop--;
    otherStop--;
  }
  const [rows, columns] = [oneStop - head, otherStop - head];
  const best = Array.from({ length: rows + 1 }, () => new Uint32Array(columns + 1));
  for (let row = rows - 1; row >= 0; row--) {
    for (let column = columns - 1; column >= 0; column--) {
      best[row][column] =
        one[head + row] === other[head + column]
          ? best[row + 1][column + 1] + 1
          : Math.max(best[row + 1][column], best[row][column + 1]);
    }
  }
  const pairs = Array.from({ length: head }, (_, place) => [place, place]);
  for (let row = 0, column = 0; row < rows && column < columns; ) {
    if (one[head + row] === other[head + column]) pairs.push([head + row++, head + column++]);
    else if (best[row + 1][column] >= best[row][column + 1]) row++;
    else column++;
  }
  for (let step = 0; oneStop + step < one.length; step++) pairs.push([oneStop + step, otherStop + step]);
  return pairs;
}

/** Words of a text without spaces, punctuation with what stands before it. */
function segments(text, language) {
  const found = [];
  for (const { segment, isWordLike } of segmenter(language).segment(text)) {
    if (isWordLike || !found.length) found.push(segment);
    else found[found.length - 1] += segment;
  }
  return found;
}

function segmenter(language) {
  try {
    return new Intl.Segmenter(language ?? undefined, { granularity: "word" });
  } catch {
    return new Intl.Segmenter(undefined, { granularity: "word" });
  }
}

function rounded(seconds) {
  return Math.round(seconds * 1000) / 1000;
}
