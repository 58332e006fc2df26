// The field that finds text in the transcript: how often it is there, the next one and the one before.

import { occurrences } from "./mended/search.js";

const PAUSE = 150; // milliseconds after the last letter

export class Find {
  #parts;
  #transcript;
  #doc = null;
  #places = [];
  #at = -1;
  #marked = [];
  #timer = null;

  /** `parts`: the elements find, found, findBack, findNext. `transcript`: the view of the text. */
  constructor(parts, transcript) {
    this.#parts = parts;
    this.#transcript = transcript;
    parts.find.addEventListener("input", () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#search(), PAUSE);
    });
    parts.find.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      this.#go(event.shiftKey ? -1 : 1);
    });
    parts.findNext.addEventListener("click", () => this.#go(1));
    parts.findBack.addEventListener("click", () => this.#go(-1));
  }

  /** Another document, or the same one after an edit. */
  show(doc, { anew = false } = {}) {
    this.#doc = doc;
    if (anew) this.#parts.find.value = "";
    this.#search();
  }

  #search() {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#places = this.#doc ? occurrences(this.#doc, this.#parts.find.value) : [];
    this.#at = -1;
    this.#mark();
  }

  #go(step) {
    if (this.#timer) this.#search();
    const count = this.#places.length;
    if (!count) return;
    this.#at = this.#at < 0 && step < 0 ? count - 1 : (this.#at + step + count) % count;
    this.#mark();
    const { paragraph, first } = this.#places[this.#at];
    this.#transcript.reach(paragraph, first);
  }

  #mark() {
    for (const word of this.#marked) word.classList.remove("found", "found-now");
    this.#marked = [];
    this.#places.forEach(({ paragraph, first, stop }, index) => {
      for (const word of this.#transcript.block(paragraph)?.words.slice(first, stop) ?? []) {
        word.classList.add("found");
        word.classList.toggle("found-now", index === this.#at);
        this.#marked.push(word);
      }
    });
    const { find, found, findBack, findNext } = this.#parts;
    const count = this.#places.length;
    findBack.disabled = findNext.disabled = !count;
    if (!find.value.trim()) found.textContent = "";
    else if (this.#at < 0) found.textContent = count === 1 ? "1 place" : `${count || "no"} places`;
    else found.textContent = `${this.#at + 1} of ${count}`;
  }
}
