// The text, turn by turn. One word at a time is in the tab order; the arrow keys move it, the audio lights one up.
// Built paragraph by paragraph between other work: two hours are 20,000 words. Of a mended document only those
// paragraphs are built anew that are others.

import { Block } from "./block.js";
import { bringIntoSight, element } from "./elements.js";
import { nameOf, speakerOf, wordsOf } from "./mended/document.js";
import { at, byStart } from "./places.js";

const AT_ONCE = 40; // paragraphs on the page before it is first painted
const SHARE = 8; // milliseconds of building between two chances for the browser to do other things
const EARLY = 0.02; // seconds: a player set to a word's start may stand a hair before it
const LINGER = 0.35; // seconds that a word stays lit after its end, where the next has not begun
const HANDS_OFF = 4000; // milliseconds without scrolling by itself after the person scrolled

export class TranscriptView {
  #root;
  #sure;
  #events;
  #doc = null;
  #words = [];
  #order = [];
  #blocks = []; // one a paragraph
  #reach = null; // the word in the tab order, an element
  #lit = null;
  #lastTouch = -HANDS_OFF;

  /**
   * `sure`: the element that says how sure the word in the tab order is. `events`: onGo(seconds), onPlay(seconds),
   * onToggle(), onReach() where another word is in the tab order, onEdit(), onSplit().
   */
  constructor(root, sure, events) {
    this.#root = root;
    this.#sure = sure;
    this.#events = events;
    root.addEventListener("click", (event) => this.#clicked(event));
    root.addEventListener("dblclick", (event) => event.target.closest(".word") && events.onEdit());
    root.addEventListener("keydown", (event) => this.#keyed(event));
    root.addEventListener("mouseover", ({ target }) => target.place && (target.title = this.#sureness(target)));
    for (const name of ["wheel", "touchmove"]) {
      addEventListener(name, () => (this.#lastTouch = performance.now()), { passive: true });
    }
  }

  /** A document from its beginning. Resolves when the last word is on the page. */
  async show(doc) {
    this.#blocks = [];
    this.#reach = this.#lit = null;
    this.#take(doc);
    this.#root.replaceChildren();
    if (doc.language) this.#root.lang = doc.language;
    else this.#root.removeAttribute("lang");
    if (!this.#words.length) return this.#root.append(element("p", "nothing", "Nothing was said in this recording."));
    let since = performance.now();
    let first = 0;
    for (let number = 0; number < doc.paragraphs.length; number++) {
      const block = this.#made(doc.paragraphs[number]);
      block.first = first;
      first += block.words.length;
      this.#blocks.push(block);
      this.#root.append(block.element);
      if (number === 0) this.#reachFor(block.words[0]);
      if (number >= AT_ONCE && performance.now() - since > SHARE) {
        await new Promise((resolve) => setTimeout(resolve));
        if (this.#doc !== doc) return;
        since = performance.now();
      }
    }
  }

  /** The document after an edit: what is the same stays on the page as it is. */
  update(doc) {
    if (this.#blocks.length !== this.#doc.paragraphs.length) return this.show(doc); // it was still being built
    const reached = this.#reach && this.#number(this.#reach);
    const focused = this.#reach === document.activeElement || document.activeElement === document.body;
    const known = new Map(this.#blocks.map((block) => [block.paragraph, block]));
    this.#take(doc);
    const blocks = doc.paragraphs.map((paragraph) => known.get(paragraph) ?? this.#made(paragraph));
    const staying = new Set(blocks);
    for (const block of this.#blocks) if (!staying.has(block)) block.element.remove();
    let first = 0;
    let before = null;
    for (const block of blocks) {
      const place = before ? before.nextSibling : this.#root.firstChild;
      if (place !== block.element) this.#root.insertBefore(block.element, place);
      block.label(speakerOf(doc, block.paragraph.speaker));
      block.first = first;
      first += block.words.length;
      before = block.element;
    }
    this.#blocks = blocks;
    if (this.#lit && !this.#lit.isConnected) this.#lit = null;
    if (this.#reach?.isConnected) return null;
    this.#reach = null;
    const next = this.#reachFor(this.#elementOf(Math.min(reached ?? 0, this.#words.length - 1)));
    if (focused) next?.focus({ preventScroll: true });
    return null;
  }

  /** Where the word in the tab order is: {paragraph, word} numbers; null where nothing was said. */
  get place() {
    if (!this.#reach) return null;
    const { block, index } = this.#reach.place;
    return { paragraph: this.#blocks.indexOf(block), word: index };
  }

  block(number) {
    return this.#blocks[number];
  }

  /** Puts a word in the tab order and in sight; `focus` where the keyboard goes on from there. */
  reach(paragraph, index, { focus = false } = {}) {
    const word = this.#reachFor(this.#blocks[paragraph]?.words[index]);
    this.#lastTouch = performance.now();
    if (focus) word?.focus({ preventScroll: true });
    if (word) bringIntoSight(word);
  }

  /** The speaker of the word at a time, as shown; "" between words of nobody. */
  speakerAt(seconds) {
    const block = this.#elementOf(at(this.#words, this.#order, seconds + EARLY))?.place.block;
    return block ? nameOf(this.#doc, block.paragraph.speaker) : "";
  }

  /** Lights the word being said; with `follow`, keeps it in sight. */
  move(seconds, follow) {
    let index = at(this.#words, this.#order, seconds + EARLY);
    if (index >= 0 && seconds > this.#words[index].end + LINGER) index = -1;
    const word = this.#elementOf(index);
    if (word === this.#lit) return;
    this.#light(this.#lit, false);
    this.#lit = word;
    this.#light(word, true);
    if (!word) return;
    if (!document.activeElement?.closest("#reading")) this.#reachFor(word);
    if (follow && performance.now() - this.#lastTouch > HANDS_OFF) bringIntoSight(word);
  }

  /** The person chose a place: follow it, whatever was scrolled before. */
  attend() {
    this.#lastTouch = -HANDS_OFF;
  }

  #take(doc) {
    this.#doc = doc;
    this.#words = wordsOf(doc);
    this.#order = byStart(this.#words);
  }

  #made(paragraph) {
    return new Block(paragraph, speakerOf(this.#doc, paragraph.speaker));
  }

  #number({ place }) {
    return place.block.first + place.index;
  }

  /** The element of a word by its number; null where there is none, or none yet. */
  #elementOf(number) {
    if (number < 0 || !this.#blocks.length) return null;
    let low = 0;
    let high = this.#blocks.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (this.#blocks[middle].first <= number) low = middle;
      else high = middle;
    }
    return this.#blocks[low].words[number - this.#blocks[low].first] ?? null;
  }

  #light(word, lit) {
    if (!word) return;
    word.classList.toggle("lit", lit);
    if (lit) word.setAttribute("aria-current", "true");
    else word.removeAttribute("aria-current");
    word.place.block.element.classList.toggle("lit", lit);
  }

  // Only this one is a button: the others stay plain text, to be read as sentences.
  #reachFor(next) {
    const old = this.#reach;
    if (!next || old === next) return next;
    for (const name of ["role", "tabindex", "aria-describedby"]) old?.removeAttribute(name);
    old?.place.block.element.classList.remove("chosen-turn");
    next.setAttribute("role", "button");
    next.setAttribute("aria-describedby", "sure keys");
    next.tabIndex = 0;
    next.place.block.element.classList.add("chosen-turn");
    this.#sure.textContent = this.#sureness(next);
    this.#reach = next;
    this.#events.onReach();
    return next;
  }

  #sureness({ place }) {
    const { probability } = place.block.paragraph.words[place.index];
    return probability === null ? "" : `${Math.round(probability * 100)} % sure`;
  }

  #clicked(event) {
    const word = event.target.closest(".word");
    if (event.target.closest(".time")) {
      const block = this.#blocks.find(({ element }) => element.contains(event.target));
      this.attend();
      this.#events.onPlay(block.start);
    } else if (word && getSelection().isCollapsed) {
      this.#reachFor(word).focus({ preventScroll: true });
      this.#events.onGo(this.#words[this.#number(word)].start);
    }
  }

  #keyed(event) {
    const { place } = event.target;
    if (!place || event.altKey || event.metaKey) return;
    const number = this.#blocks.indexOf(place.block);
    const [from, { first, words }] = [this.#number(event.target), place.block];
    const all = event.ctrlKey;
    const to = {
      ArrowLeft: from - 1,
      ArrowRight: from + 1,
      ArrowUp: this.#blocks[from === first ? number - 1 : number]?.first,
      ArrowDown: this.#blocks[number + 1]?.first,
      Home: all ? 0 : first,
      End: all ? this.#words.length - 1 : first + words.length - 1,
    }[event.key];
    const next = to === undefined ? null : this.#elementOf(to);
    if (next) {
      this.#lastTouch = performance.now(); // reading elsewhere than where it plays
      this.#reachFor(next).focus({ preventScroll: true });
      next.scrollIntoView({ block: "nearest", behavior: "auto" });
    } else if (event.key === "Enter" && event.ctrlKey) {
      this.#events.onSplit();
    } else if (event.key === "F2") {
      this.#events.onEdit();
    } else if (event.key === "Enter") {
      this.attend();
      this.#events.onPlay(this.#words[from].start);
    } else if (event.key === " ") {
      this.#events.onToggle();
    } else if (to === undefined && !["ArrowUp", "ArrowDown"].includes(event.key)) {
      return;
    }
    event.preventDefault();
  }
}
