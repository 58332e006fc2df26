// The audio of a live session in pieces of 100 ms: those to be sent, and those of the last minute that were, in case
// the server did not get them. Touches no element.

import { Resampler } from "./resampler.js";

export const RATE = 16000; // hertz
const PIECE = RATE / 10; // samples
const PIECE_MS = 100;
const KEPT = 600; // pieces that were sent

export class LiveAudio {
  #resampler;
  #piece = new Int16Array(PIECE);
  #filled = 0; // samples of it
  #pieces = [];
  #first = 0; // the number of the first of them
  #sent = 0; // the number of the next one to send

  /** `rate`: of what comes, in hertz. */
  constructor(rate) {
    this.#resampler = new Resampler(Math.round(rate), RATE);
  }

  /** Seconds that came. */
  get seconds() {
    return (this.#first + this.#pieces.length) / 10 + this.#filled / RATE;
  }

  /** Seconds that were sent. */
  get sentSeconds() {
    return this.#sent / 10;
  }

  /** `samples`: between -1 and 1. */
  take(samples) {
    for (const sample of this.#resampler.take(samples)) {
      this.#piece[this.#filled] = Math.max(-32768, Math.min(32767, Math.round(sample * 32768)));
      this.#filled += 1;
      if (this.#filled === PIECE) this.#finishPiece();
    }
  }

  /** No more comes: silence fills the last piece up. */
  end() {
    if (this.#filled) this.#finishPiece();
  }

  /** The next piece to send, 16-bit samples; null where there is none. */
  next() {
    const piece = this.#pieces[this.#sent - this.#first];
    if (!piece) return null;
    this.#sent += 1;
    while (this.#sent - this.#first > KEPT) {
      this.#pieces.shift();
      this.#first += 1;
    }
    return piece;
  }

  /** The server got so much and no more: the rest is to be sent again, as far as it is still here. */
  goBackTo(milliseconds) {
    this.#sent = Math.min(this.#sent, Math.max(this.#first, Math.floor(milliseconds / PIECE_MS)));
  }

  #finishPiece() {
    this.#pieces.push(this.#piece);
    this.#piece = new Int16Array(PIECE);
    this.#filled = 0;
  }
}
