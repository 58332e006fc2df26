// The sentences for the person: what is read aloud, and what went wrong.

import { Unheard } from "./recorder.js";
import { Refused, Unreachable } from "./server.js";
import { spokenTime } from "./times.js";

export class Notices {
  #status;
  #error;

  constructor({ status, error }) {
    this.#status = status;
    this.#error = error;
  }

  /** Read aloud by a screen reader, not shown. */
  say(sentence) {
    this.#status.textContent = sentence;
  }

  /** The sentence shown as an error; "" for none. */
  get error() {
    return this.#error.hidden ? "" : this.#error.textContent;
  }

  set error(sentence) {
    this.#error.textContent = sentence;
    this.#error.hidden = !sentence;
  }

  /** The error in words for people; nothing where it is the person who stopped. */
  explain(error) {
    if (error.name === "AbortError") return;
    let sentence = error.message;
    if (error instanceof Refused && error.retryAfter) sentence += ` Try again in ${spokenTime(error.retryAfter)}.`;
    if (![Refused, Unheard, Unreachable].some((expected) => error instanceof expected)) {
      console.error(error);
      sentence = `This page failed: ${error.message}`;
    }
    this.error = sentence;
  }
}
