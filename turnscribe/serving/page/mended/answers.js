// From the server's answer to a document, and back. Touches no element.

import { nameOf, textOf } from "./document.js";

const LONG = 70; // words after which a paragraph ends at the next pause or sentence
const LONGEST = 140; // and after which it ends anyway: the browser lays out small blocks only
const PAUSE = 0.6; // seconds

/** The document of an answer: its words, or its chunks where it has no words. */
export function fromAnswer(answer) {
  const timed = Boolean(answer.words?.length);
  const said = (timed ? answer.words : (answer.chunks ?? [])).map(read).filter((each) => each.text);
  if (timed) number(said, answer.chunks ?? []);
  else said.forEach((each, index) => (each.chunk = index));
  const heard = (answer.speakers ?? []).filter((turn) => turn.timestamp).map((turn) => turn.speaker);
  const ids = [...new Set([...heard, ...said.map((each) => each.speaker)].filter(Boolean))];
  const last = said.reduce((latest, each) => Math.max(latest, each.end), 0);
  return {
    paragraphs: paragraphs(said),
    speakers: ids.map((id, colour) => ({ id, name: id, colour })),
    language: answer.language ?? null,
    duration: answer.duration || last,
    timed,
  };
}

/** The answer that the endpoint would give of the document, with the speakers under their names. */
export function toAnswer(doc) {
  const names = new Map(doc.speakers.map(({ id, name }) => [id, name]));
  const chunks = [];
  let before = null;
  for (const paragraph of doc.paragraphs) {
    paragraph.words.forEach((word, index) => {
      const begins = !before || word.chunk !== before.chunk || (!index && (paragraph.opens || word.chunk === null));
      if (begins) chunks.push({ speaker: names.get(paragraph.speaker), words: [] });
      chunks.at(-1).words.push(word);
      before = word;
    });
  }
  const written = chunks.map(({ speaker, words }) => ({
    text: words.map(spelt).join(""),
    timestamp: [words[0].start, words.reduce((latest, word) => Math.max(latest, word.end), 0)],
    ...(speaker && { speaker }),
  }));
  const words = doc.paragraphs.flatMap((paragraph) =>
    paragraph.words.map((word) => ({
      word: spelt(word),
      start: word.start,
      end: word.end,
      ...(word.probability !== null && { probability: word.probability }),
      ...(paragraph.speaker && { speaker: names.get(paragraph.speaker) }),
    })),
  );
  return {
    text: written.map((chunk) => chunk.text).join("").trim(),
    chunks: written,
    speakers: together(written),
    ...(doc.timed && { words }),
    language: doc.language,
    duration: doc.duration,
  };
}

/** The text for people: a line for each turn, with its speaker. */
export function toText(doc, first = 0, stop = doc.paragraphs.length) {
  const lines = [];
  doc.paragraphs.slice(first, stop).forEach(({ speaker, opens, words }, index) => {
    const text = textOf(words);
    if (index && !opens) lines[lines.length - 1] += (words[0].space ? " " : "") + text;
    else lines.push(speaker ? `${nameOf(doc, speaker)}: ${text}` : text);
  });
  return lines.join("\n");
}

function spelt(word) {
  return word.space ? ` ${word.text}` : word.text;
}

function read(told) {
  const text = told.word ?? told.text ?? "";
  const [start, end] = told.timestamp ?? [told.start, told.end];
  return {
    text: text.trim(),
    space: /^\s/.test(text),
    start,
    end: end ?? start,
    probability: told.probability ?? null,
    speaker: told.speaker ?? null,
    chunk: null,
  };
}

/** Tells each word the number of its chunk: the chunks' texts, joined, are the words'. */
function number(said, chunks) {
  let at = 0;
  chunks.forEach(({ text }, chunk) => {
    let left = letters(text);
    while (left > 0 && at < said.length) {
      left -= letters(said[at].text);
      said[at++].chunk = chunk;
    }
  });
}

function letters(text) {
  return text.replaceAll(/\s+/g, "").length;
}

function paragraphs(said) {
  const found = [];
  said.forEach(({ speaker, ...word }, index) => {
    const before = said[index - 1];
    const opens = !before || before.speaker !== speaker;
    const length = found.at(-1)?.words.length ?? 0;
    const rests = before && (word.start - before.end >= PAUSE || /[.!?。！？…]$/.test(before.text));
    if (opens || length >= LONGEST || (length >= LONG && rests)) found.push({ speaker, opens, words: [] });
    found.at(-1).words.push(word);
  });
  return found;
}

function together(chunks) {
  const found = [];
  let before = null;
  for (const { speaker, text, timestamp } of chunks) {
    if (speaker && before === speaker) {
      const last = found.at(-1);
      last.text += text;
      last.timestamp = [last.timestamp[0], Math.max(last.timestamp[1], timestamp[1])];
    } else if (speaker) {
      found.push({ speaker, text, timestamp });
    }
    before = speaker;
  }
  return found.map((part) => ({ ...part, text: part.text.trim() }));
}
