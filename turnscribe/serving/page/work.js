// The view while the server works: the phase, and how far it is.

import { described } from "./stages.js";

export class Work {
  #parts;
  #frame;
  #notices;
  #announced = "";

  /** `parts`: the elements workTitle, workName, bar, phase. */
  constructor(parts, { frame, notices }) {
    this.#parts = parts;
    this.#frame = frame;
    this.#notices = notices;
  }

  /** `name`: the file's, "" where it is not known. */
  open(name) {
    this.#frame.view = "work";
    this.#parts.workName.textContent = name;
    this.#parts.workTitle.focus();
    this.#announced = "";
  }

  /** `share`: of this phase, 0 to 1; null where nobody knows. */
  show(phase, share) {
    const { bar, phase: line } = this.#parts;
    if (share === null) bar.removeAttribute("value");
    else bar.value = share;
    const percent = share === null ? "" : `${Math.floor(share * 100)} %`;
    line.textContent = percent ? `${phase}, ${percent}` : `${phase} …`;
    this.#frame.title = percent;
    // Not every percent aloud.
    const sentence = share === null ? phase : `${phase}, ${Math.floor(share * 4) * 25} percent`;
    if (sentence !== this.#announced) this.#notices.say(sentence);
    this.#announced = sentence;
  }

  /** `state`: a job's, as the server says it. */
  showState(state) {
    if (!["queued", "running"].includes(state.status)) return;
    const { phase, share } = described(state);
    this.show(phase, share);
  }
}
