// The text, turn by turn. One word at a time is in the tab order; the arrow keys move it, the audio lights one up.
// Built paragraph by paragraph between other work: two hours are 20,000 words.

import { at, byStart, COLOURS } from "./conversation.js";
import { bringIntoSight, element } from "./elements.js";
import { clock } from "./times.js";

const AT_ONCE = 40; // paragraphs on the page before it is first painted
const SHARE = 8; // milliseconds of building between two chances for the browser to do other things
const EARLY = 0.02; // seconds: a player set to a word's start may stand a hair before it
const LINGER = 0.35; // seconds that a word stays lit after its end, where the next has not begun
const HANDS_OFF = 4000; // milliseconds without scrolling by itself after the person scrolled

export class TranscriptView {
  #root;
  #events;
  #talk = null;
  #names = null;
  #order = [];
  #elements = []; // one a word
  #blocks = []; // one a paragraph: {element, name, time}
  #paragraphOf = []; // the paragraph of each word
  #reach = -1; // the word in the tab order
  #lit = -1;
  #lastTouch = -HANDS_OFF;

  /** `events`: onGo(seconds), onPlay(seconds), onToggle(). */
  constructor(root, events) {
    this.#root = root;
    this.#events = events;
    root.addEventListener("click", (event) => this.#clicked(event));
    root.addEventListener("keydown", (event) => this.#keyed(event));
    for (const name of ["wheel", "touchmove"]) {
      addEventListener(name, () => (this.#lastTouch = performance.now()), { passive: true });
    }
  }

  /** Resolves when the last word is on the page. `names.of(speaker)`: the name shown. */
  async show(talk, names, language) {
    this.#talk = talk;
    this.#names = names;
    this.#order = byStart(talk.words);
    this.#elements = [];
    this.#blocks = [];
    this.#paragraphOf = [];
    this.#reach = this.#lit = -1;
    this.#root.replaceChildren();
    if (language) this.#root.lang = language;
    else this.#root.removeAttribute("lang");
    if (!talk.words.length) return this.#root.append(element("p", "nothing", "Nothing was said in this recording."));
    let since = performance.now();
    for (let number = 0; number < talk.paragraphs.length; number++) {
      this.#root.append(this.#paragraph(talk.paragraphs[number], number));
      if (number >= AT_ONCE && performance.now() - since > SHARE) {
        await new Promise((resolve) => setTimeout(resolve));
        if (this.#talk !== talk) return;
        since = performance.now();
      }
      if (number === 0) this.#reachFor(0);
    }
  }

  /** The speaker of the word at a time, as shown; "" between words of nobody. */
  speakerAt(seconds) {
    const speaker = this.#talk?.words[at(this.#talk.words, this.#order, seconds + EARLY)]?.speaker;
    return speaker ? this.#names.of(speaker) : "";
  }

  /** Lights the word being said; with `follow`, keeps it in sight. */
  move(seconds, follow) {
    if (!this.#talk?.words.length) return;
    const { words } = this.#talk;
    let index = at(words, this.#order, seconds + EARLY);
    if (index >= 0 && seconds > words[index].end + LINGER) index = -1;
    if (index === this.#lit) return;
    this.#light(this.#lit, false);
    this.#lit = index;
    this.#light(index, true);
    if (index < 0) return;
    if (!this.#root.contains(document.activeElement)) this.#reachFor(index);
    if (follow && performance.now() - this.#lastTouch > HANDS_OFF) bringIntoSight(this.#elements[index]);
  }

  /** The names have changed. */
  rename() {
    this.#blocks.forEach((block, number) => this.#label(block, this.#talk.paragraphs[number]));
  }

  /** The person chose a place: follow it, whatever was scrolled before. */
  attend() {
    this.#lastTouch = -HANDS_OFF;
  }

  #paragraph(paragraph, number) {
    const { speaker, first, stop, start, opens } = paragraph;
    const block = element("div", "turn");
    block.setAttribute("role", "group");
    if (speaker) block.classList.add(`speaker-${this.#talk.speakers.indexOf(speaker) % COLOURS}`);
    if (opens) block.classList.add("opens");
    const who = element("p", "who");
    const name = opens && speaker ? element("span", "name") : null;
    const time = element("button", "time", clock(start));
    time.type = "button";
    time.tabIndex = -1; // the words are in the tab order; a screen reader finds this one by reading
    time.setAttribute("aria-label", `${clock(start)}, play from here`);
    if (name) who.append(name, " ");
    who.append(time);
    const speech = element("p", "said");
    speech.dir = "auto";
    for (let index = first; index < stop; index++) {
      const { text, space } = this.#talk.words[index];
      if (space && index > first) speech.append(" ");
      const word = element("span", "word", text);
      word.word = index;
      this.#elements[index] = word;
      this.#paragraphOf[index] = number;
      speech.append(word);
    }
    block.append(who, speech);
    this.#blocks[number] = { element: block, name, time };
    this.#label(this.#blocks[number], paragraph);
    return block;
  }

  #label({ element: block, name }, { speaker, start }) {
    const shown = speaker ? this.#names.of(speaker) : "";
    if (name) name.textContent = shown;
    block.setAttribute("aria-label", shown ? `${shown}, ${clock(start)}` : clock(start));
  }

  #light(index, lit) {
    const word = this.#elements[index];
    if (!word) return;
    word.classList.toggle("lit", lit);
    if (lit) word.setAttribute("aria-current", "true");
    else word.removeAttribute("aria-current");
    this.#blocks[this.#paragraphOf[index]].element.classList.toggle("lit", lit);
  }

  // Only this one is a button: the others stay plain text, to be read as sentences.
  #reachFor(index) {
    const [old, next] = [this.#elements[this.#reach], this.#elements[index]];
    if (!next || old === next) return next;
    for (const name of ["role", "tabindex", "aria-describedby"]) old?.removeAttribute(name);
    next.setAttribute("role", "button");
    next.setAttribute("aria-describedby", "keys");
    next.tabIndex = 0;
    this.#reach = index;
    return next;
  }

  #clicked(event) {
    const word = event.target.closest(".word");
    const time = event.target.closest(".time");
    if (time) {
      const number = this.#blocks.findIndex((block) => block.time === time);
      this.attend();
      this.#events.onPlay(this.#talk.paragraphs[number].start);
    } else if (word && getSelection().isCollapsed) {
      this.#reachFor(word.word).focus({ preventScroll: true });
      this.#events.onGo(this.#talk.words[word.word].start);
    }
  }

  #keyed(event) {
    const from = event.target.word;
    if (from === undefined || event.altKey || event.metaKey) return;
    const { words, paragraphs } = this.#talk;
    const number = this.#paragraphOf[from];
    const { first, stop } = paragraphs[number];
    const all = event.ctrlKey;
    const to = {
      ArrowLeft: from - 1,
      ArrowRight: from + 1,
      ArrowUp: paragraphs[from === first ? number - 1 : number]?.first,
      ArrowDown: paragraphs[number + 1]?.first,
      Home: all ? 0 : first,
      End: all ? words.length - 1 : stop - 1,
    }[event.key];
    if (to !== undefined && this.#elements[to]) {
      this.#lastTouch = performance.now(); // reading elsewhere than where it plays
      const word = this.#reachFor(to);
      word.focus({ preventScroll: true });
      word.scrollIntoView({ block: "nearest", behavior: "auto" });
    } else if (event.key === "Enter") {
      this.attend();
      this.#events.onPlay(words[from].start);
    } else if (event.key === " ") {
      this.#events.onToggle();
    } else if (to === undefined && !["ArrowUp", "ArrowDown"].includes(event.key)) {
      return;
    }
    event.preventDefault();
  }
}
