// A server's answer as what the page shows: speakers, words in order of time, paragraphs. Touches no element.

export const COLOURS = 8; // .speaker-0 ... .speaker-7 in colours.css; then they come round again
const LONG = 70; // words after which a paragraph ends at the next pause or sentence
const LONGEST = 140; // and after which it ends anyway: the browser lays out small blocks only
const PAUSE = 0.6; // seconds

/**
 * `speakers`: the server's names in order of first appearance. `words`: {text, space, start, end, speaker},
 * chunks where the answer has no words. `paragraphs`: {speaker, first, stop, start, opens}: `opens` where
 * somebody else spoke before. `turns`: {speaker, start, end}.
 */
export function conversation(answer) {
  const timed = answer.words?.length ? answer.words : (answer.chunks ?? []);
  const words = timed.map(word).filter((each) => each.text);
  const turns = (answer.speakers ?? [])
    .filter((turn) => turn.speaker && turn.timestamp)
    .map((turn) => ({ speaker: turn.speaker, start: turn.timestamp[0], end: turn.timestamp[1] }));
  if (!turns.length) turns.push(...spokenBy(words));
  const speakers = [...new Set([...turns, ...words].map((each) => each.speaker).filter(Boolean))];
  const last = words.reduce((latest, each) => Math.max(latest, each.end), 0);
  return { words, turns, speakers, paragraphs: paragraphs(words), duration: answer.duration || last };
}

/** The indices of words by their start, to look a time up in. */
export function byStart(words) {
  return words.map((_, index) => index).sort((one, other) => words[one].start - words[other].start || one - other);
}

/** The last of `order` that starts no later than `time`; -1 before the first. */
export function at(words, order, time) {
  let low = 0;
  let high = order.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (words[order[middle]].start <= time) low = middle + 1;
    else high = middle;
  }
  return low ? order[low - 1] : -1;
}

function word(timed) {
  const text = timed.word ?? timed.text ?? "";
  const [start, end] = timed.timestamp ?? [timed.start, timed.end];
  return { text: text.trim(), space: /^\s/.test(text), start, end: end ?? start, speaker: timed.speaker ?? null };
}

function paragraphs(words) {
  const found = [];
  words.forEach((each, index) => {
    const before = words[index - 1];
    const opens = !before || before.speaker !== each.speaker;
    const length = before ? index - found.at(-1).first : 0;
    const rests = before && (each.start - before.end >= PAUSE || /[.!?。！？…]$/.test(before.text));
    if (opens || length >= LONGEST || (length >= LONG && rests)) {
      if (found.length) found.at(-1).stop = index;
      found.push({ speaker: each.speaker, first: index, stop: words.length, start: each.start, opens });
    }
  });
  return found;
}

function spokenBy(words) {
  const turns = [];
  for (const { speaker, start, end } of words) {
    const last = turns.at(-1);
    if (last && last.speaker === speaker && start - last.end < 1) last.end = Math.max(last.end, end);
    else turns.push({ speaker, start, end });
  }
  return turns;
}
