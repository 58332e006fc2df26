// The mended transcript: a value that never changes, and the edits, each of which makes a new one of it. Touches no
// element. What an edit leaves alone is the same object in the new value, so that a view repaints what differs.
//
// A document: {paragraphs, speakers, language, duration, timed}. A paragraph: {speaker, opens, words}, where `opens`
// says that a turn begins there. A word: {text, space, start, end, probability, chunk}; `space` stands before it,
// `chunk` is the number of the server's chunk. A speaker: {id, name, colour}. `timed` is false where the server told
// no times of words: then a word is a whole chunk.

import { rewritten } from "./rewriting.js";

export const COLOURS = 8; // .speaker-0 ... .speaker-7 in colours.css; then they come round again
export const LONGEST_NAME = 60; // characters

/** Every word, in order. */
export function wordsOf(doc) {
  return doc.paragraphs.flatMap((paragraph) => paragraph.words);
}

export function speakerOf(doc, id) {
  return doc.speakers.find((speaker) => speaker.id === id) ?? null;
}

export function nameOf(doc, id) {
  return speakerOf(doc, id)?.name ?? "";
}

/** The text of words as it is read. */
export function textOf(words) {
  return words.map((word, index) => (word.space && index ? ` ${word.text}` : word.text)).join("");
}

/** The numbers of the first paragraph of the turn that paragraph `number` is in, and of the one after its last. */
export function turnAround(doc, number) {
  let first = number;
  while (first > 0 && !doc.paragraphs[first].opens) first--;
  let stop = number + 1;
  while (stop < doc.paragraphs.length && !doc.paragraphs[stop].opens) stop++;
  return [first, stop];
}

/** Who speaks when: {speaker, start, end}, a new one after a pause of a second. */
export function turnsOf(doc) {
  const turns = [];
  for (const { speaker, words } of doc.paragraphs) {
    for (const { start, end } of words) {
      const last = turns.at(-1);
      if (last && last.speaker === speaker && start - last.end < 1) last.end = Math.max(last.end, end);
      else turns.push({ speaker, start, end });
    }
  }
  return turns;
}

/** Paragraph `number` reads `text` now; with none it is gone. */
export function rewrite(doc, number, text) {
  const { paragraphs } = doc;
  const paragraph = paragraphs[number];
  const before = paragraphs[number - 1]?.words.at(-1)?.end ?? 0;
  const after = paragraphs[number + 1]?.words[0]?.start ?? doc.duration;
  const words = rewritten(paragraph.words, text, { before, after, language: doc.language });
  if (words === paragraph.words) return doc;
  if (words.length) return replaced(doc, number, number + 1, [{ ...paragraph, words }]);
  const next = paragraphs[number + 1];
  if (!paragraph.opens || !next || next.opens) return pruned(replaced(doc, number, number + 1, []));
  return replaced(doc, number, number + 2, [{ ...next, opens: true }]);
}

/** The turn around a paragraph is spoken by `speaker`, an id or null. */
export function assign(doc, number, speaker) {
  const [first, stop] = turnAround(doc, number);
  if (doc.paragraphs[first].speaker === speaker) return doc;
  const turn = doc.paragraphs.slice(first, stop).map((paragraph) => ({ ...paragraph, speaker }));
  return pruned(replaced(doc, first, stop, turn));
}

/** The turn around a paragraph is spoken by somebody who was not there before. */
export function assignNew(doc, number) {
  const numbers = doc.speakers.map(({ colour }) => colour);
  const colour = Math.max(-1, ...numbers) + 1;
  const taken = new Set(doc.speakers.flatMap(({ id, name }) => [id, name]));
  let count = doc.speakers.length + 1;
  while (taken.has(`Speaker ${count}`)) count++;
  const speaker = { id: `Speaker ${count}`, name: `Speaker ${count}`, colour };
  return assign({ ...doc, speakers: [...doc.speakers, speaker] }, number, speaker.id);
}

/** The speaker's name; where another has that name already, both are one from now on. */
export function rename(doc, id, text) {
  const name = text.trim().replaceAll(/\s+/g, " ").slice(0, LONGEST_NAME) || id;
  if (name === nameOf(doc, id)) return doc;
  const other = doc.speakers.find((speaker) => speaker.name === name && speaker.id !== id);
  if (other) return unite(doc, id, other.id);
  return { ...doc, speakers: doc.speakers.map((each) => (each.id === id ? { ...each, name } : each)) };
}

/** What speaker `one` said, `other` said; turns of both that follow each other are one. */
export function unite(doc, one, other) {
  let before = null;
  const paragraphs = doc.paragraphs.map((paragraph) => {
    const speaker = paragraph.speaker === one ? other : paragraph.speaker;
    const joins = before !== null && speaker === other && before.speaker === other && paragraph.opens;
    const apart = before?.was === paragraph.speaker; // that turn was split by the person
    before = { speaker, was: paragraph.speaker };
    if (speaker === paragraph.speaker && (!joins || apart)) return paragraph;
    return { ...paragraph, speaker, opens: paragraph.opens && (!joins || apart) };
  });
  return { ...doc, paragraphs, speakers: doc.speakers.filter(({ id }) => id !== one) };
}

/** A turn begins at word `place` of paragraph `number`, which is the first of it where `place` is 0. */
export function split(doc, number, place) {
  const paragraph = doc.paragraphs[number];
  if (place === 0) {
    return paragraph.opens ? doc : replaced(doc, number, number + 1, [{ ...paragraph, opens: true }]);
  }
  const first = { ...paragraph, words: paragraph.words.slice(0, place) };
  const second = { ...paragraph, words: paragraph.words.slice(place), opens: true };
  return replaced(doc, number, number + 1, [first, second]);
}

/** The turn around a paragraph goes on with the turn before it, whose speaker says it. */
export function join(doc, number) {
  const [first, stop] = turnAround(doc, number);
  if (first === 0) return doc;
  const { speaker } = doc.paragraphs[first - 1];
  const turn = doc.paragraphs.slice(first, stop).map((paragraph, index) => ({
    ...paragraph,
    speaker,
    opens: index > 0 && paragraph.opens,
  }));
  return pruned(replaced(doc, first, stop, turn));
}

function replaced(doc, first, stop, paragraphs) {
  return { ...doc, paragraphs: [...doc.paragraphs.slice(0, first), ...paragraphs, ...doc.paragraphs.slice(stop)] };
}

// Nobody is in the list of speakers who says nothing any more.
function pruned(doc) {
  const left = new Set(doc.paragraphs.map(({ speaker }) => speaker));
  const speakers = doc.speakers.filter(({ id }) => left.has(id));
  return speakers.length === doc.speakers.length ? doc : { ...doc, speakers };
}
