// One paragraph on the page: who, when, and its words, each an element that knows its place.

import { COLOURS } from "./mended/document.js";
import { element } from "./elements.js";
import { clock } from "./times.js";

const DOUBTS = [0.35, 0.6]; // a word that the model took to be less likely is doubtful, very and a little

export class Block {
  element = element("div", "turn");
  words = []; // their elements
  first = 0; // the number of its first word among all words

  #who = element("p", "who");
  #name = element("span", "name");
  #said = element("p", "said");
  #speaker; // whoever it is stays the same person: another speaker's paragraph is another

  constructor(paragraph, speaker) {
    this.paragraph = paragraph;
    this.element.setAttribute("role", "group");
    const time = element("button", "time", clock(this.start));
    time.type = "button";
    time.tabIndex = -1; // the words are in the tab order; a screen reader finds this one by reading
    time.setAttribute("aria-label", `${clock(this.start)}, play from here`);
    this.#who.append(time);
    this.#said.dir = "auto";
    paragraph.words.forEach((word, index) => this.#add(word, index));
    this.element.append(this.#who, this.#said);
    this.label(speaker);
  }

  get start() {
    return this.paragraph.words[0].start;
  }

  get said() {
    return this.#said;
  }

  /** `speaker`: of the document, null for nobody. Only what differs is touched. */
  label(speaker) {
    if (this.#speaker === speaker) return;
    this.#speaker = speaker;
    const shown = speaker?.name ?? "";
    this.#name.textContent = shown;
    if (this.paragraph.opens) this.element.classList.add("opens");
    if (speaker) this.element.classList.add(`speaker-${speaker.colour % COLOURS}`);
    if (this.paragraph.opens && shown) this.#who.prepend(this.#name, " ");
    this.element.setAttribute("aria-label", shown ? `${shown}, ${clock(this.start)}` : clock(this.start));
  }

  #add({ text, space, probability }, index) {
    if (space && index) this.#said.append(" ");
    const word = element("span", "word", text);
    word.place = { block: this, index };
    const doubt = probability === null ? -1 : DOUBTS.findIndex((limit) => probability < limit);
    if (doubt >= 0) word.classList.add(doubt ? "doubtful" : "very-doubtful");
    this.words.push(word);
    this.#said.append(word);
  }
}
