// The button that starts and stops a recording, and says how long it has lasted.

import { microphone, recordingOf, whyNot } from "./recorder.js";
import { clock } from "./times.js";

const TICK = 500; // milliseconds

export class RecordButton {
  #parts;
  #notices;
  #events;
  #recording = null;
  #ticking = null;

  /** `parts`: the elements record, recordLabel, recordNote. `events`: onStart(), onFile(file). */
  constructor(parts, { notices, ...events }) {
    this.#parts = parts;
    this.#notices = notices;
    this.#events = events;
    parts.record.addEventListener("click", () => this.#toggle());
    const reason = whyNot();
    if (!reason) return;
    parts.record.disabled = true;
    parts.recordNote.textContent = reason;
    parts.recordNote.hidden = false;
  }

  get busy() {
    return this.#recording !== null;
  }

  #toggle() {
    return this.#recording ? this.#stop() : this.#start();
  }

  async #start() {
    const { record: button, recordLabel } = this.#parts;
    this.#notices.error = "";
    let recording;
    try {
      button.disabled = true;
      recording = recordingOf(await microphone());
    } catch (error) {
      this.#notices.error = error.message;
      return;
    } finally {
      button.disabled = false;
    }
    this.#recording = recording;
    const began = Date.now();
    const tick = () => (recordLabel.textContent = `Stop, ${clock((Date.now() - began) / 1000)}`);
    this.#ticking = setInterval(tick, TICK);
    recording.ended.then(() => this.#recording === recording && this.#stop());
    tick();
    button.classList.add("on");
    this.#events.onStart();
    this.#notices.say("Recording.");
  }

  async #stop() {
    const recording = this.#recording;
    this.#recording = null;
    clearInterval(this.#ticking);
    this.#parts.record.classList.remove("on");
    this.#parts.recordLabel.textContent = "Record";
    this.#events.onFile(await recording.stop());
  }
}
