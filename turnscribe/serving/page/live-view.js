// The view of a live session: what is heard, for how long, how late the text is, and the button that stops it.

import { clock } from "./times.js";

export class LiveView {
  #parts;
  #frame;
  #notices;
  #onStop = () => {};

  /** `parts`: the elements liveTitle, liveName, liveState, liveDelay, liveNote, liveStop. */
  constructor(parts, { frame, notices }) {
    this.#parts = parts;
    this.#frame = frame;
    this.#notices = notices;
    parts.liveStop.addEventListener("click", () => this.#onStop());
  }

  /** `name`: of what is heard. */
  open(name, onStop) {
    const { liveTitle, liveName, liveState, liveDelay, liveStop } = this.#parts;
    this.#onStop = onStop;
    this.#frame.view = "live";
    this.#frame.title = "Live";
    liveName.textContent = name;
    liveState.textContent = "Connecting …";
    liveDelay.textContent = "";
    liveStop.disabled = false;
    this.note = "";
    liveTitle.focus();
    scrollTo(0, 0);
  }

  /** Seconds that were heard so far. */
  showTime(seconds) {
    const { liveState } = this.#parts;
    const text = `Listening, ${clock(seconds)}`;
    if (liveState.textContent !== text) liveState.textContent = text;
  }

  /** Seconds from the end of what was said until its text was here. */
  showDelay(seconds) {
    this.#parts.liveDelay.textContent = `Text ${Math.max(0, seconds).toFixed(1)} s after speech`;
  }

  /** Nothing more is heard; the last text is on its way. */
  finish() {
    const { liveTitle, liveState, liveStop } = this.#parts;
    liveTitle.focus();
    liveStop.disabled = true;
    liveState.textContent = "Finishing …";
    this.#notices.say("Finishing.");
  }

  /** The sentence shown as something to know; "" for none. */
  set note(sentence) {
    const { liveNote } = this.#parts;
    liveNote.textContent = sentence;
    liveNote.hidden = !sentence;
    if (sentence) this.#notices.say(sentence);
  }
}
