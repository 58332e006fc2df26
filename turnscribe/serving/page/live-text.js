// The text of a live session while it grows: what is finished in a log, which a screen reader reads out, with its
// speakers; below it what is not finished yet.

import { COLOURS } from "./mended/document.js";
import { element } from "./elements.js";
import { clock } from "./times.js";

const TRANSCRIPTION = "conversation.item.input_audio_transcription";
const NEAR_END = 120; // CSS pixels: so close to the end of the page, the page follows the text

export class LiveText {
  #parts;
  #blocks = []; // what is finished, in order: {item, text, speaker, element, name, said}
  #segments = new Map(); // the blocks by the ids of their segments
  #unfinished = new Map(); // of each utterance that is not finished: its pieces {text, end}
  #starts = new Map(); // and where it began, in seconds
  #speakers = []; // in order of first appearance

  /** `parts`: the elements liveLog, liveUnfinished, liveWaiting. */
  constructor(parts) {
    this.#parts = parts;
  }

  clear() {
    this.#blocks = [];
    this.#speakers = [];
    for (const known of [this.#segments, this.#unfinished, this.#starts]) known.clear();
    this.#parts.liveLog.replaceChildren();
    this.#parts.liveLog.removeAttribute("lang");
    this.#showUnfinished();
    this.#parts.liveWaiting.hidden = false;
  }

  /** One of the server's events. The second in which its text ends, where it has further text. */
  hear(event) {
    const page = document.documentElement;
    const follows = scrollY + innerHeight >= page.scrollHeight - NEAR_END;
    const end = this.#heard(event);
    this.#parts.liveWaiting.hidden = this.#blocks.length > 0 || this.#unfinished.size > 0;
    if (follows) scrollTo({ top: page.scrollHeight, behavior: "instant" });
    return end;
  }

  #heard(event) {
    const { type, item_id: item } = event;
    if (type === "input_audio_buffer.speech_started") this.#starts.set(item, event.audio_start_ms / 1000);
    if (type === `${TRANSCRIPTION}.delta`) {
      this.#unfinished.set(item, [...(this.#unfinished.get(item) ?? []), { text: event.delta, end: event.end }]);
      this.#showUnfinished();
      return event.end ?? null;
    }
    if (type === `${TRANSCRIPTION}.segment`) return this.#tellSegment(event);
    if (type === `${TRANSCRIPTION}.completed`) this.#complete(event);
    if (type === `${TRANSCRIPTION}.failed`) this.#giveUp(item);
    return null;
  }

  #tellSegment({ id, item_id: item, text, start, end, speaker }) {
    const known = this.#segments.get(id);
    if (speaker && !this.#speakers.includes(speaker)) this.#speakers.push(speaker);
    if (known) {
      known.speaker = speaker;
      this.#label(known);
      return null;
    }
    const left = (this.#unfinished.get(item) ?? []).filter((piece) => piece.end > end);
    this.#unfinished.set(item, left); // what comes after the segment is not finished yet
    this.#showUnfinished();
    this.#segments.set(id, this.#add({ item, text, start, speaker }));
    return end;
  }

  /** The utterance's text is `transcript`, whatever its segments were. */
  #complete({ item_id: item, transcript, languages }) {
    const blocks = this.#blocks.filter((block) => block.item === item);
    if (bare(blocks.map((block) => block.text).join("")) !== bare(transcript)) {
      const [first, ...others] = blocks;
      for (const block of bare(transcript) ? others : blocks) this.#remove(block);
      if (first) first.said.textContent = first.text = transcript;
      else this.#add({ item, text: transcript, start: this.#starts.get(item) ?? 0, speaker: "" });
    }
    this.#finish(item);
    if (languages?.length) this.#parts.liveLog.lang = languages[0].code;
  }

  /** What was heard of the utterance so far is all there will be. */
  #giveUp(item) {
    const text = written(this.#unfinished.get(item) ?? []).trim();
    if (text) this.#add({ item, text, start: this.#starts.get(item) ?? 0, speaker: "" });
    this.#finish(item);
  }

  #add(told) {
    const [who, said] = [element("p", "who"), element("p", "said", told.text)];
    const name = document.createTextNode("");
    const shown = element("span", "name");
    shown.append(name);
    who.append(shown, " ", element("span", "time", clock(told.start)));
    said.dir = "auto";
    const block = { ...told, element: element("div"), name, said };
    block.element.append(who, said);
    this.#blocks.push(block);
    this.#label(block);
    this.#parts.liveLog.append(block.element);
    return block;
  }

  #remove(block) {
    const place = this.#blocks.indexOf(block);
    this.#blocks.splice(place, 1);
    block.element.remove();
    this.#labelAt(place);
  }

  /** With its speaker, whose name stands where somebody else spoke before. */
  #label(block) {
    const place = this.#blocks.indexOf(block);
    this.#labelAt(place);
    this.#labelAt(place + 1);
  }

  #labelAt(place) {
    const block = this.#blocks[place];
    if (!block) return;
    const { speaker, name } = block;
    const opens = !place || this.#blocks[place - 1].speaker !== speaker;
    const colour = speaker && `speaker-${this.#speakers.indexOf(speaker) % COLOURS}`;
    block.element.className = ["turn", opens && "opens", colour].filter(Boolean).join(" ");
    name.parentNode.hidden = !opens || !speaker;
    name.data = speaker; // new data of an old node: a screen reader does not read it out again
  }

  #finish(item) {
    this.#unfinished.delete(item);
    this.#showUnfinished();
  }

  #showUnfinished() {
    const { liveUnfinished } = this.#parts;
    const text = [...this.#unfinished.values()].map(written).join(" ").trim();
    if (!text) return liveUnfinished.replaceChildren();
    if (!liveUnfinished.hasChildNodes()) {
      const turn = element("div", "turn unfinished");
      const said = element("p", "said");
      said.dir = "auto";
      turn.append(element("p", "who"), said);
      liveUnfinished.append(turn);
    }
    liveUnfinished.querySelector(".said").textContent = text;
  }
}

function written(pieces) {
  return pieces.map((piece) => piece.text).join("");
}

function bare(text) {
  return text.replaceAll(/\s/g, "");
}
